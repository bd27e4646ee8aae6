//! A TLS connection as a stream of bytes.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};

use crate::outgoing::Outgoing;

/// The server's side of a TLS connection over the stream `S`.
///
/// A read or write that is given up, for example because its time is over, loses nothing: the next one goes on.
pub struct TlsStream<S> {
    stream: S,
    connection: UnbufferedServerConnection,
    /// Received and not yet understood.
    incoming: Vec<u8>,
    /// How much of `incoming` that is.
    received: usize,
    /// Encrypted and not yet sent.
    outgoing: Outgoing,
    /// Decrypted and not yet read: from `read` on.
    plain: Vec<u8>,
    read: usize,
    /// Whether the client has said that it sends nothing more.
    ended: bool,
    /// Why the connection does not go on.
    failure: Option<rustls::Error>,
}

/// Why a TLS connection does not go on.
#[derive(Debug)]
pub enum TlsError<E> {
    /// The stream below has failed.
    Stream(E),
    /// One side does not keep to the protocol, or they have nothing in common.
    Protocol(rustls::Error),
    /// The stream below ended without a word: something may be missing.
    Truncated,
    /// The client sends a message that is too long.
    TooLong,
}

impl<S: Read + Write> TlsStream<S> {
    pub(crate) async fn accept(stream: S, config: Arc<ServerConfig>) -> Result<Self, TlsError<S::Error>> {
        let mut accepted = Self {
            stream,
            connection: UnbufferedServerConnection::new(config).map_err(TlsError::Protocol)?,
            incoming: vec![0; RECORD],
            received: 0,
            outgoing: Outgoing::with_capacity(RECORD),
            plain: Vec::new(),
            read: 0,
            ended: false,
            failure: None,
        };
        while accepted.work().await? == Need::More {
            accepted.receive().await?;
        }
        accepted.send().await?;
        Ok(accepted)
    }

    /// Says goodbye to the client. What was written before is complete for it; nothing can be written any more.
    ///
    /// # Errors
    ///
    /// The stream has failed.
    pub async fn close(&mut self) -> Result<(), TlsError<S::Error>> {
        self.work().await?;
        self.seal(&[], |writer, _, room| writer.queue_close_notify(room))?;
        self.send().await
    }

    /// The stream below. What it carries is encrypted.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Ends TLS without a word and gives the stream back.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// The version of the protocol: TLS 1.3 or 1.2.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// Whether the client has resumed an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The application protocol that both sides chose by ALPN.
    #[must_use]
    pub fn application_protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Lets the connection do what it can with what is there. After an error the client is told, and that was it.
    async fn work(&mut self) -> Result<Need, TlsError<S::Error>> {
        if let Some(error) = &self.failure {
            return Err(TlsError::Protocol(error.clone()));
        }
        match self.advance() {
            Ok(need) => Ok(need),
            Err(error) => {
                self.failure = Some(error.clone());
                self.encode_last_words();
                // What matters is the error, not whether the client learns of it.
                let _ = self.send().await;
                Err(TlsError::Protocol(error))
            }
        }
    }

    /// Encodes what lies ready after an error: an alert. What was received stays where it is, and is not looked at again:
    /// pieces of an incomplete message are remembered by their places in it.
    fn encode_last_words(&mut self) {
        while self.connection.wants_write() {
            let incoming = self.incoming.get_mut(..self.received).unwrap_or_default();
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(incoming);
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            encode(data, &mut self.outgoing);
        }
    }

    fn advance(&mut self) -> Result<Need, rustls::Error> {
        loop {
            let incoming = self.incoming.get_mut(..self.received).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(incoming);
            let need = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        // No more than that, lest the memory grows in steps beyond what it is for.
                        self.plain.reserve_exact(record.payload.len());
                        self.plain.extend_from_slice(record.payload);
                    }
                    None
                }
                // Not offered, and so not accepted.
                Ok(ConnectionState::ReadEarlyData(_)) => None,
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing);
                    None
                }
                // It lies in `outgoing`, which is sent before anything is waited for.
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    None
                }
                Ok(ConnectionState::Closed) => {
                    self.ended = true;
                    Some(Need::Nothing)
                }
                Ok(ConnectionState::WriteTraffic(_)) => Some(Need::Nothing),
                Ok(_) => Some(Need::More),
                Err(error) => {
                    self.discard(discard);
                    return Err(error);
                }
            };
            self.discard(discard);
            if let Some(need) = need {
                return Ok(need);
            }
        }
    }

    fn discard(&mut self, bytes: usize) {
        let bytes = bytes.min(self.received);
        self.incoming.copy_within(bytes..self.received, 0);
        self.received -= bytes;
    }

    /// Encrypts into `outgoing`.
    fn seal(
        &mut self,
        bytes: &[u8],
        action: impl Fn(&mut Writer<'_>, &[u8], &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError<S::Error>> {
        let incoming = self.incoming.get_mut(..self.received).unwrap_or_default();
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(incoming);
        let Ok(ConnectionState::WriteTraffic(mut writer)) = state else {
            // It was the state after `work`, which has done everything else; otherwise the connection is over.
            return Err(TlsError::Protocol(rustls::Error::General("the connection is closed".into())));
        };
        let mut size = bytes.len() + OVERHEAD;
        loop {
            match action(&mut writer, bytes, self.outgoing.room(size)) {
                Ok(written) => {
                    self.outgoing.used(written);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(needed)) if needed.required_size > size => {
                    size = needed.required_size;
                }
                Err(_) => return Err(TlsError::Protocol(rustls::Error::EncryptError)),
            }
        }
    }

    /// Sends what lies in `outgoing`.
    async fn send(&mut self) -> Result<(), TlsError<S::Error>> {
        while !self.outgoing.rest().is_empty() {
            let count = self.stream.write(self.outgoing.rest()).await.map_err(TlsError::Stream)?;
            self.outgoing.sent(count);
        }
        Ok(())
    }

    /// Waits for more from the client, after everything for it has been sent.
    async fn receive(&mut self) -> Result<(), TlsError<S::Error>> {
        self.send().await?;
        let room = self.incoming.get_mut(self.received..).unwrap_or_default();
        if room.is_empty() {
            return Err(TlsError::TooLong);
        }
        match self.stream.read(room).await.map_err(TlsError::Stream)? {
            0 => Err(TlsError::Truncated),
            length => {
                self.received += length;
                Ok(())
            }
        }
    }

    /// Gives out what was decrypted; `None` if there is nothing.
    fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let rest = self.plain.get(self.read..).filter(|rest| !rest.is_empty())?;
        let length = rest.len().min(buffer.len());
        buffer.get_mut(..length)?.copy_from_slice(rest.get(..length)?);
        self.read += length;
        if self.read == self.plain.len() {
            self.plain.clear();
            self.read = 0;
        }
        Some(length)
    }
}

impl<S: ErrorType> ErrorType for TlsStream<S> {
    type Error = TlsError<S::Error>;
}

impl<S: Read + Write> Read for TlsStream<S> {
    /// Reads what the client has sent: 0 bytes after it has said goodbye.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error> {
        loop {
            if let Some(length) = self.take(buffer) {
                return Ok(length);
            }
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            self.work().await?;
            if self.plain.is_empty() && !self.ended {
                self.receive().await?;
            }
        }
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    /// Sends at most one record, of up to 16 KiB: what is written at once costs least.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        // Of a write that was given up.
        self.send().await?;
        self.work().await?;
        let bytes = bytes.get(..FRAGMENT).unwrap_or(bytes);
        if !bytes.is_empty() {
            self.seal(bytes, |writer, bytes, room| writer.encrypt(bytes, room))?;
        }
        self.send().await?;
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Self::Error> {
        self.send().await?;
        self.stream.flush().await.map_err(TlsError::Stream)
    }
}

impl<E: fmt::Display> fmt::Display for TlsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Truncated => write!(f, "the connection ended without a close_notify"),
            Self::TooLong => write!(f, "a message of the client is too long"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for TlsError<E> {}

impl<E: embedded_io_async::Error + fmt::Display> embedded_io_async::Error for TlsError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stream(error) => error.kind(),
            Self::Protocol(_) | Self::TooLong => ErrorKind::InvalidData,
            Self::Truncated => ErrorKind::ConnectionReset,
        }
    }
}

type Writer<'c> = rustls::unbuffered::WriteTraffic<'c, ServerConnectionData>;

/// Appends what a connection has to say.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, to: &mut Outgoing) {
    let mut size = 0;
    loop {
        match data.encode(to.room(size)) {
            Ok(written) => return to.used(written),
            Err(EncodeError::InsufficientSize(needed)) => size = needed.required_size,
            Err(EncodeError::AlreadyEncoded) => return,
        }
    }
}

/// What a connection needs before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Something from the client, to complete the handshake.
    More,
    /// Nothing.
    Nothing,
}

/// Bytes that a connection holds at most: three records (received, decrypted, to be sent), and the session with its keys.
pub const MOST_MEMORY: usize = 3 * RECORD + (12 << 10);

/// The most that a record carries (RFC 8446, 5.1).
const FRAGMENT: usize = 16 << 10;
/// Room for a record with all that encryption adds (RFC 8446, 5.2; RFC 5246, 6.2.3), and so for the longest message of a
/// handshake: what is longer is refused.
const RECORD: usize = 18 << 10;
/// What encryption adds to a record: header, explicit nonce, type and tag.
const OVERHEAD: usize = 64;
