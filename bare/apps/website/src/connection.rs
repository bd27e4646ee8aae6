//! A connection, from its first request to its end.

use core::net::IpAddr;

use palisade_http::access_log::Line;
use palisade_http::{Connection, Exchange, Next, Service, Stage};
use unikernel::io::{Read, Write};
use unikernel::time::{self, Duration, Instant, with_deadline, with_timeout};
use unikernel::{Argument, System, log};

use crate::figures::FIGURES;
use crate::{IDLE_TIME, REQUEST_TIME, SEND_TIME, send};

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// To begin a request.
    pub idle: Duration,
    /// To complete it.
    pub request: Duration,
    /// To take in the response, besides what its length allows.
    pub send: Duration,
}

impl Limits {
    pub(crate) fn of(system: &System) -> Self {
        let seconds = |argument: &Argument<u32>| Duration::from_secs(system.argument(argument).into());
        Self { idle: seconds(&IDLE_TIME), request: seconds(&REQUEST_TIME), send: seconds(&SEND_TIME) }
    }
}

/// Answers the requests of a client until one of both sides ends the connection.
pub(crate) async fn serve<S: Read + Write>(
    stream: &mut S,
    peer: IpAddr,
    service: &Service<'static>,
    limits: &Limits,
) {
    FIGURES.connection();
    let Ok(mut connection) = Connection::new() else {
        log::warn!("{peer}: there is no memory for the connection");
        return;
    };
    let mut waiting: Option<(Stage, Instant)> = None;
    loop {
        let stage = match connection.next(service, now()) {
            Next::Close => return,
            Next::Answer(exchange) => {
                waiting = None;
                if answer(stream, peer, &exchange, limits).await.is_err() {
                    return;
                }
                continue;
            }
            Next::Read(stage) => stage,
        };
        // The time for a stage begins with it, and not anew with every byte.
        let deadline = match waiting {
            Some((same, deadline)) if same == stage => deadline,
            _ => Instant::now() + if stage == Stage::Idle { limits.idle } else { limits.request },
        };
        waiting = Some((stage, deadline));
        match with_deadline(deadline, stream.read(connection.room())).await {
            Ok(Ok(count @ 1..)) => connection.received(count),
            Ok(Ok(0) | Err(_)) => return,
            Err(time::TimeoutError) => {
                if let Some(exchange) = connection.time_out(now()) {
                    let _ = answer(stream, peer, &exchange, limits).await;
                }
                return;
            }
        }
    }
}

/// The client does not take in a response.
struct Gone;

async fn answer<S: Write>(
    stream: &mut S,
    peer: IpAddr,
    exchange: &Exchange<'_>,
    limits: &Limits,
) -> Result<(), Gone> {
    let begun = Instant::now();
    let length = exchange.response.body_length() as u64;
    let limit = limits.send + Duration::from_secs(length / SLOWEST);
    let sent = with_timeout(limit, send::response(stream, &exchange.response)).await;
    let complete = matches!(sent, Ok(Ok(())));
    FIGURES.request(length);
    let duration = core::time::Duration::from_micros(begun.elapsed().as_micros());
    log::info!(target: "access", "{}", Line { peer, exchange, duration, complete });
    if complete { Ok(()) } else { Err(Gone) }
}

/// Seconds since 1970-01-01 00:00 UTC.
fn now() -> u64 {
    time::wall().unwrap_or(0) / 1_000_000_000
}

/// Bytes in a second that a client must take in, on average.
const SLOWEST: u64 = 4096;
