//! A connection, from its first request to its end.

use core::fmt;
use core::net::IpAddr;
use core::pin::pin;

use palisade_http::access_log::Line;
use palisade_http::{Connection, Exchange, NO_CLOCK, Next, Service, Stage};
use unikernel::io::{Read, Write};
use unikernel::net::TcpError;
use unikernel::time::{self, Duration, Instant, TimeoutError, with_deadline, with_timeout};
use unikernel::tls::HandshakeError;
use unikernel::{Network, TcpStream, TlsAcceptor, TlsStream, log};

use crate::figures::FIGURES;
use crate::send;

/// What a port serves, and how. Copies are the same server.
#[derive(Clone)]
pub(crate) struct Server {
    pub service: Service<'static>,
    pub limits: Limits,
    pub network: Network,
}

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// To begin a request.
    pub idle: Duration,
    /// To complete it.
    pub request: Duration,
    /// To take in the response, besides what its length allows, and to take in any of it.
    pub send: Duration,
}

impl Server {
    /// Completes the handshake with a client that has just come. If it has not after some seconds, and others need a
    /// connection, that is not waited for any longer.
    pub(crate) async fn accept(
        &self,
        acceptor: &TlsAcceptor,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NoTls> {
        let mut handshake = pin!(acceptor.accept(stream));
        loop {
            match with_timeout(HANDSHAKE_PATIENCE, handshake.as_mut()).await {
                Ok(accepted) => return accepted.map_err(NoTls::Failed),
                Err(TimeoutError) if self.is_crowded() => return Err(NoTls::GivesWay),
                Err(TimeoutError) => {}
            }
        }
    }

    /// Answers the requests of a client until one of both sides ends the connection.
    pub(crate) async fn serve<S: Read + Write>(&self, stream: &mut S, peer: IpAddr) {
        FIGURES.connection();
        let Ok(mut connection) = Connection::new() else {
            log::warn!("{peer}: there is no memory for the connection");
            return;
        };
        let mut waiting: Option<(Stage, Instant)> = None;
        loop {
            let stage = match connection.next(&self.service, now()) {
                Next::Close => return,
                Next::Answer(exchange) => {
                    waiting = None;
                    if self.answer(stream, peer, &exchange).await.is_err() {
                        return;
                    }
                    continue;
                }
                Next::Read(stage) => stage,
            };
            // The time for a stage begins with it, and not anew with every byte.
            let since = match waiting {
                Some((same, since)) if same == stage => since,
                _ => Instant::now(),
            };
            waiting = Some((stage, since));
            match self.read(stream, &mut connection, stage, since).await {
                Ok(count @ 1..) => connection.received(count),
                Ok(0) | Err(Over::Gone) => return,
                Err(Over::TimeIsUp) => {
                    if let Some(exchange) = connection.time_out(now()) {
                        let _ = self.answer(stream, peer, &exchange).await;
                    }
                    return;
                }
            }
        }
    }

    /// Reads what comes next in a stage that began at `since`.
    async fn read<S: Read>(
        &self,
        stream: &mut S,
        connection: &mut Connection,
        stage: Stage,
        since: Instant,
    ) -> Result<usize, Over> {
        let idle = stage == Stage::Idle;
        let end = since + if idle { self.limits.idle } else { self.limits.request };
        loop {
            let deadline = if idle { end.min(Instant::now() + PATIENCE) } else { end };
            match with_deadline(deadline, stream.read(connection.room())).await {
                Ok(read) => return read.map_err(|_| Over::Gone),
                Err(TimeoutError) if deadline == end || self.is_crowded() => return Err(Over::TimeIsUp),
                Err(TimeoutError) => {}
            }
        }
    }

    /// Sends a response, and writes a line about it into the log.
    async fn answer<S: Write>(
        &self,
        stream: &mut S,
        peer: IpAddr,
        exchange: &Exchange<'_>,
    ) -> Result<(), Over> {
        let begun = Instant::now();
        let length = exchange.response.body_length() as u64;
        let limit = self.limits.send + Duration::from_secs(length / SLOWEST);
        let sent = with_timeout(limit, send::response(stream, &exchange.response, self.limits.send)).await;
        let complete = matches!(sent, Ok(Ok(())));
        FIGURES.request(length);
        let duration = core::time::Duration::from_micros(begun.elapsed().as_micros());
        log::info!(target: "access", "{}", Line { peer, exchange, duration, complete });
        if complete { Ok(()) } else { Err(Over::Gone) }
    }

    /// Whether few connections are left for those who come next.
    fn is_crowded(&self) -> bool {
        self.network.open_connections() >= self.network.most_connections() / 4 * 3
    }
}

/// Why a connection is none over TLS.
pub(crate) enum NoTls {
    /// The handshake has failed, or took longer than any may take.
    Failed(HandshakeError<TcpError>),
    /// It took long while others needed a connection.
    GivesWay,
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::GivesWay => f.write_str("it gives way to others"),
        }
    }
}

/// Why a connection does not go on.
enum Over {
    /// The client has gone, or does not take in what it gets.
    Gone,
    /// It takes too long, or does nothing with its connection while others need one.
    TimeIsUp,
}

/// Seconds since 1970-01-01 00:00 UTC.
fn now() -> u64 {
    time::wall().map_or(NO_CLOCK, |nanoseconds| nanoseconds / 1_000_000_000)
}

/// How long a connection may be idle when others need it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a handshake may take then: two ways there and back of a slow network, and a segment that has to be repeated.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(4);
/// Bytes in a second that a client must take in, on average.
const SLOWEST: u64 = 4096;
