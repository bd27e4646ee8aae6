//! The server's side against a client of another make: rustls' own, with std.

use std::convert::Infallible;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use embedded_io_async::{ErrorType, Read, Write};
use palisade_unikernel_tls::{Acceptor, CertificateError, TlsError, TlsStream};
use rcgen::{CertifiedKey, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

#[test]
fn a_client_of_either_version_gets_what_was_written() {
    for version in [&TLS12, &TLS13] {
        let mut stream = accept(client(&config(version))).unwrap();
        assert_eq!(stream.version(), Some(version.version));
        assert_eq!(stream.application_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(ask(&mut stream, b"ping"), b"ping");
        ready(stream.write_all(&vec![7; 100_000])).unwrap();
        ready(stream.flush()).unwrap();
        ready(stream.close()).unwrap();
        let peer = stream.into_stream();
        assert_eq!(peer.received, vec![7; 100_000]);
        assert!(peer.closed);
    }
}

#[test]
fn more_than_a_record_arrives_in_pieces_of_any_size() {
    let mut stream = accept(client(&config(&TLS13))).unwrap();
    let sent: Vec<u8> = (0..50_000u32).map(|i| i as u8).collect();
    stream.stream().client.writer().write_all(&sent).unwrap();
    let (mut received, mut buffer) = (Vec::new(), [0; 999]);
    while received.len() < sent.len() {
        let length = ready(stream.read(&mut buffer)).unwrap();
        received.extend_from_slice(&buffer[..length]);
    }
    assert!(received == sent);
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    for version in [&TLS12, &TLS13] {
        let config = config(version);
        let mut first = accept(client(&config)).unwrap();
        assert!(!first.is_resumed());
        // TLS 1.3 sends its ticket after the handshake; the client must read it.
        ready(first.write_all(b"x")).unwrap();
        let second = accept(client(&config)).unwrap();
        assert!(second.is_resumed(), "{version:?}");
    }
}

#[test]
fn the_end_that_a_client_announces_is_told_from_the_one_it_does_not() {
    let mut stream = accept(client(&config(&TLS13))).unwrap();
    stream.stream().client.send_close_notify();
    assert_eq!(ready(stream.read(&mut [0; 8])).unwrap(), 0);
    let mut stream = accept(client(&config(&TLS13))).unwrap();
    assert!(matches!(ready(stream.read(&mut [0; 8])), Err(TlsError::Truncated)));
}

#[test]
fn what_is_not_tls_is_refused_with_an_alert() {
    for garbage in
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0x16, 3, 1, 0xff, 0xff], vec![0x16; 30_000]]
    {
        let mut peer = Garbage { to_send: garbage.clone(), received: Vec::new() };
        let refused = ready(ACCEPTOR.accept(&mut peer)).err().expect("it is not TLS");
        assert!(matches!(refused, TlsError::Protocol(_)), "{refused:?}");
        assert_eq!(peer.received.first(), Some(&21), "an alert record, after {:?}", &garbage[..5]);
    }
}

#[test]
fn what_goes_wrong_after_a_piece_of_a_message_is_refused() {
    let piece = [22, 3, 1, 0, 6, 1, 0, 1, 0, 3, 3];
    let too_long = [&[22, 3, 1, 0x3f, 0xf4, 1, 0xff, 0xff, 0xff][..], &[3; 0x3ff0]].concat();
    let data: &[u8] = &[23, 3, 3, 0, 1, 7];
    for (begin, end) in [(&piece[..], data), (&piece, &[0xff; 9]), (&too_long, data), (&too_long, &too_long)]
    {
        let mut peer = Garbage { to_send: [begin, end].concat(), received: Vec::new() };
        let refused = ready(ACCEPTOR.accept(&mut peer)).err().expect("it is not TLS");
        assert!(matches!(refused, TlsError::Protocol(_)), "{refused:?}");
        // Not every mistake is worth an alert.
        assert!(matches!(peer.received.first(), Some(&21) | None), "an alert record");
    }
}

#[test]
fn a_connection_that_has_failed_stays_so_and_its_client_is_told_once() {
    let mut stream = accept(client(&config(&TLS13))).unwrap();
    let sealed = |kind, byte| [&[kind, 3, 3, 0, 30][..], &[byte; 30]].concat();
    stream.stream().forged = [sealed(23, 1), sealed(23, 2)].concat();
    for _ in 0..3 {
        let failed = ready(stream.read(&mut [0; 8])).expect_err("nobody can decrypt that");
        assert!(matches!(failed, TlsError::Protocol(rustls::Error::DecryptError)), "{failed:?}");
    }
    assert!(ready(stream.write(b"x")).is_err() && ready(stream.close()).is_err());
    assert_eq!(stream.stream().writes, 1);
}

#[test]
fn a_handshake_that_never_ends_is_cut_off() {
    // A handshake message of 64,000 bytes, of which ever more arrives: type 1, in records of 1,000 bytes.
    let mut to_send = Vec::new();
    let message: Vec<u8> = [1, 0, 0xfa, 0].into_iter().chain([3, 3]).chain([0; 63_994]).collect();
    for part in message.chunks(1000) {
        to_send.extend([22, 3, 1, (part.len() >> 8) as u8, part.len() as u8]);
        to_send.extend(part);
    }
    let refused =
        ready(ACCEPTOR.accept(Garbage { to_send, received: Vec::new() })).err().expect("it is too long");
    assert!(matches!(refused, TlsError::TooLong | TlsError::Protocol(_)), "{refused:?}");
}

#[test]
fn a_client_that_speaks_only_the_older_http_is_served() {
    let mut config = Arc::unwrap_or_clone(config(&TLS13));
    config.alpn_protocols = vec![b"http/1.0".to_vec()];
    let stream = accept(client(&Arc::new(config))).unwrap();
    assert_eq!(stream.application_protocol(), Some(b"http/1.0".as_slice()));
}

#[test]
fn a_client_that_does_not_trust_the_certificate_ends_the_handshake() {
    let config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let refused = accept(client(&Arc::new(config))).err().expect("nobody trusts it");
    assert!(matches!(refused, TlsError::Protocol(rustls::Error::AlertReceived(_))), "{refused:?}");
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_named() {
    let refused =
        |chain: &str, key: &str| Acceptor::new(chain.as_bytes(), key.as_bytes(), now).err().unwrap();
    let (chain, key) = (CERTIFIED.cert.pem(), CERTIFIED.signing_key.serialize_pem());
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(matches!(refused("", &key), CertificateError::NoCertificate));
    assert!(matches!(refused("-----BEGIN CERTIFICATE-----\n!\n", &key), CertificateError::NotPem));
    assert!(matches!(refused(&chain, &chain), CertificateError::NoKey));
    assert!(matches!(refused(&chain, &other), CertificateError::Refused(_)));
    // The rest of a data region's last page is zeros.
    let padded = |text: &str| [text.as_bytes(), &[0; 100]].concat();
    assert!(Acceptor::new(&padded(&chain), &padded(&key), now).is_ok());
}

static CERTIFIED: LazyLock<CertifiedKey<KeyPair>> =
    LazyLock::new(|| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());

static ACCEPTOR: LazyLock<Acceptor> = LazyLock::new(|| {
    let (chain, key) = (CERTIFIED.cert.pem(), CERTIFIED.signing_key.serialize_pem());
    Acceptor::new(chain.as_bytes(), key.as_bytes(), now).unwrap()
});

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CERTIFIED.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

fn client(config: &Arc<ClientConfig>) -> Client {
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(config.clone(), name).unwrap();
    Client { client, received: Vec::new(), closed: false, forged: Vec::new(), writes: 0 }
}

fn accept(client: Client) -> Result<TlsStream<Client>, TlsError<Infallible>> {
    ready(ACCEPTOR.accept(client))
}

/// What the server reads when the client writes `bytes`.
fn ask(stream: &mut TlsStream<Client>, bytes: &[u8]) -> Vec<u8> {
    stream.stream().client.writer().write_all(bytes).unwrap();
    let mut buffer = [0; 100];
    let length = ready(stream.read(&mut buffer)).unwrap();
    buffer[..length].to_vec()
}

/// A client behind a stream that never makes anybody wait: what the server writes, the client has read.
struct Client {
    client: ClientConnection,
    received: Vec<u8>,
    closed: bool,
    /// What somebody else sends in the client's name, before the client's own.
    forged: Vec<u8>,
    /// How often the server has written since then.
    writes: usize,
}

impl ErrorType for Client {
    type Error = Infallible;
}

impl Read for Client {
    async fn read(&mut self, mut buffer: &mut [u8]) -> Result<usize, Infallible> {
        // In small pieces: a network cuts as it likes.
        let room = buffer.len().min(700);
        buffer = &mut buffer[..room];
        if !self.forged.is_empty() {
            let length = room.min(self.forged.len());
            buffer[..length].copy_from_slice(&self.forged[..length]);
            self.forged.drain(..length);
            self.writes = 0;
            return Ok(length);
        }
        Ok(if self.client.wants_write() { self.client.write_tls(&mut buffer).unwrap() } else { 0 })
    }
}

impl Write for Client {
    async fn write(&mut self, mut bytes: &[u8]) -> Result<usize, Infallible> {
        let length = self.client.read_tls(&mut bytes).unwrap();
        self.writes += 1;
        // After an error the client has an alert to send; the server finds it there.
        if let Ok(state) = self.client.process_new_packets() {
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut plain).unwrap();
            self.received.extend(plain);
            self.closed |= state.peer_has_closed();
        }
        Ok(length)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A client that sends what it likes.
struct Garbage {
    to_send: Vec<u8>,
    received: Vec<u8>,
}

impl ErrorType for Garbage {
    type Error = Infallible;
}

impl Read for Garbage {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let length = buffer.len().min(self.to_send.len());
        buffer[..length].copy_from_slice(&self.to_send[..length]);
        self.to_send.drain(..length);
        Ok(length)
    }
}

impl Write for Garbage {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.received.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Runs a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nobody is there to wait for"),
    }
}
