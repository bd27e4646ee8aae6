//! TLS on the server's side.

use core::fmt;
use core::time::Duration as CoreDuration;

use embedded_io_async::{Read, Write};
use palisade_unikernel_tls::Acceptor;

use crate::time::{self, Duration, with_timeout};
use crate::{Error, random};

pub use palisade_unikernel_tls::{TlsError, TlsStream};

/// Accepts TLS 1.3 and 1.2 with one certificate, from clients that speak HTTP/1 or do not say what they speak. Copies are
/// the same acceptor.
#[derive(Clone)]
pub struct TlsAcceptor(Acceptor);

impl TlsAcceptor {
    /// An acceptor with a certificate chain, the server's own certificate first, and its private key, both in PEM, as the
    /// data regions `certificate` and `key` hold them.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntropy`] if there is no randomness; else what is wrong with certificate or key.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        random::fill(&mut [0; 32])?;
        Acceptor::new(chain, key, clock).map(Self).map_err(Error::other)
    }

    /// Completes the handshake on a connection that a client has just opened. It may take ten seconds.
    ///
    /// # Errors
    ///
    /// When the client is too slow, does not speak TLS as it should, or goes away.
    pub async fn accept<S: Read + Write>(&self, stream: S) -> Result<TlsStream<S>, HandshakeError<S::Error>> {
        match with_timeout(HANDSHAKE_TIME, self.0.accept(stream)).await {
            Ok(accepted) => accepted.map_err(HandshakeError::Failed),
            Err(time::TimeoutError) => Err(HandshakeError::TooSlow),
        }
    }
}

/// Why a client and this server do not come together.
#[derive(Debug)]
pub enum HandshakeError<E> {
    /// The client has not completed the handshake in time.
    TooSlow,
    /// The handshake has failed.
    Failed(TlsError<E>),
}

impl<E: fmt::Display> fmt::Display for HandshakeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => f.write_str("the handshake took too long"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for HandshakeError<E> {}

/// The time of day. Where there is none, the age of tickets can be measured by any clock that goes on.
fn clock() -> CoreDuration {
    CoreDuration::from_nanos(time::wall().unwrap_or_else(solo5::clock::monotonic))
}

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
