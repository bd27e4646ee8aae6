//! What a server is to its clients: its certificate, and the protocols it speaks.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use embedded_io_async::{Read, Write};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CipherSuite, ServerConfig};

use crate::stream::{TlsError, TlsStream};
use crate::tickets::Tickets;

/// The time since 1970-01-01, UTC.
pub type Clock = fn() -> Duration;

/// Accepts TLS connections. Copies are the same acceptor.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
}

impl Acceptor {
    /// An acceptor with a certificate chain, the server's own certificate first, and the private key of that one, both in
    /// PEM: ECDSA (P-256, P-384), Ed25519 or RSA. NUL bytes behind the text are ignored.
    ///
    /// A client that names application protocols (ALPN) must name HTTP/1.1 or HTTP/1.0.
    ///
    /// Sessions are resumed by tickets, which only this acceptor can read. Their keys change every six hours, and are gone
    /// six hours later.
    ///
    /// # Errors
    ///
    /// When the text is not that, certificate and key do not belong together, or there is no randomness for the tickets.
    pub fn new(chain: &[u8], key: &[u8], clock: Clock) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(text(chain))
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::NotPem)?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(text(key)).map_err(|_| CertificateError::NoKey)?;
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| !COSTS_LEAST.contains(&suite.suite()));
        let mut config = ServerConfig::builder_with_details(Arc::new(provider), Arc::new(Time(clock)))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(CertificateError::Refused)?;
        config.ignore_client_order = true;
        // What a client offers must be among these. Some offer only the older version, which servers of the newer one speak.
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        config.ticketer = Arc::new(Tickets::new(clock).ok_or(CertificateError::NoRandomness)?);
        // One is enough for a client that comes back; each costs an encryption and 250 bytes.
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config) })
    }

    /// Completes the handshake on a connection that a client has just opened.
    ///
    /// How long that may take is the caller's business.
    ///
    /// # Errors
    ///
    /// When the stream fails, or the client does not speak TLS as it should. The client is told, if that is possible.
    pub async fn accept<S: Read + Write>(&self, stream: S) -> Result<TlsStream<S>, TlsError<S::Error>> {
        TlsStream::accept(stream, self.config.clone()).await
    }
}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum CertificateError {
    /// The chain is damaged.
    NotPem,
    /// There is no certificate in the chain.
    NoCertificate,
    /// There is no private key where the key should be.
    NoKey,
    /// Certificate and key cannot be read, or do not belong together.
    Refused(rustls::Error),
    /// There are no random numbers, and no secret without them.
    NoRandomness,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem => write!(f, "the certificate chain is not PEM"),
            Self::NoCertificate => write!(f, "there is no certificate"),
            Self::NoKey => write!(f, "there is no private key in PEM"),
            Self::Refused(reason) => write!(f, "certificate and key cannot be used: {reason}"),
            Self::NoRandomness => write!(f, "no TLS without randomness"),
        }
    }
}

impl core::error::Error for CertificateError {}

#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0()))
    }
}

/// What stands before the padding of a data region.
fn text(region: &[u8]) -> &[u8] {
    let end = region.iter().position(|byte| *byte == 0).unwrap_or(region.len());
    region.get(..end).unwrap_or_default()
}

/// What is chosen first. Nobody breaks 128 bits, and browsers prefer them, too; other clients ask for 256 and SHA-384 first,
/// which processors have no instructions for.
const COSTS_LEAST: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
