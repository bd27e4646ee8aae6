//! Asking a website whether it is there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned,
};

use crate::published::{Published, Service};

/// Asks for the start page once, and gives the status of the answer. Gives up after `patience`, or soon after `stop`
/// says so.
pub(crate) fn ask(published: &Published, patience: Duration, stop: &dyn Fn() -> bool) -> io::Result<u16> {
    let deadline = Instant::now() + patience;
    let socket = connect(published.local(), patience)?;
    let is_over = || stop() || Instant::now() >= deadline;
    let request = format!(
        "HEAD / HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: palisade\r\nConnection: close\r\n\r\n",
        published.host(),
        published.forward.host.port()
    );
    match &published.service {
        Service::Https(certificate) => {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let connection =
                ClientConnection::new(Arc::new(client(certificate)?), name).map_err(io::Error::other)?;
            converse(&mut StreamOwned::new(connection, socket), &request, &is_over)
        }
        Service::Http | Service::Redirect | Service::Unknown => converse(&mut { socket }, &request, &is_over),
    }
}

/// A connection whose reads and writes wait for a moment only.
fn connect(address: SocketAddrV4, patience: Duration) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address.into(), patience)?;
    socket.set_read_timeout(Some(MOMENT))?;
    socket.set_write_timeout(Some(MOMENT))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn converse(stream: &mut (impl Read + Write), request: &str, is_over: &dyn Fn() -> bool) -> io::Result<u16> {
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        let written = patiently(is_over, || stream.write(rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    patiently(is_over, || stream.flush())?;
    let mut answer = Vec::new();
    while answer.len() < STATUS_LINE {
        let mut buffer = [0; 512];
        match patiently(is_over, || stream.read(&mut buffer))? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    status(&answer).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Does it again as long as it only took too long.
fn patiently<T>(is_over: &dyn Fn() -> bool, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if is_over() {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            result => return result,
        }
    }
}

/// The number in `HTTP/1.1 200`.
fn status(answer: &[u8]) -> Option<u16> {
    let (version, number) = answer.get(..STATUS_LINE)?.split_at_checked(STATUS_LINE - 3)?;
    let is_version = matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ");
    is_version.then(|| str::from_utf8(number).ok()?.parse().ok())?
}

/// A client that believes this certificate only.
fn client(certificate: &CertificateDer<'static>) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Exactly { certificate: certificate.clone(), provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// Believes whoever has the key of one certificate. Names and times are not asked about: the certificate is known, and
/// this computer is not where its names lead.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// How long a read or write may keep this from looking whether it is over.
const MOMENT: Duration = Duration::from_millis(50);
/// Bytes up to the status: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;
    use std::time::SystemTime;

    use palisade_machine::{Forward, Protocol};
    use palisade_trust::{Authority, Directory, Issued, server_certificate};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    #[test]
    fn a_website_that_shows_its_certificate_answers() {
        let issued = issue();
        let (port, server) = serve(https(&issued, "HTTP/1.1 404 Not Found\r\n\r\n"));
        let certificate = server_certificate(issued.certificate.as_bytes()).expect("there is one");
        let status = ask(&published(port, Service::Https(certificate)), PATIENCE, &|| false);
        assert_eq!(status.expect("it answers"), 404);
        assert!(server.join().expect("it serves").starts_with("HEAD / HTTP/1.1\r\nHost: localhost:"));
    }

    #[test]
    fn a_website_that_shows_another_certificate_does_not_count() {
        let (port, _server) = serve(https(&issue(), "HTTP/1.1 200 OK\r\n\r\n"));
        let certificate = server_certificate(issue().certificate.as_bytes()).expect("there is one");
        ask(&published(port, Service::Https(certificate)), PATIENCE, &|| false)
            .expect_err("it is another one");
    }

    #[test]
    fn only_the_start_of_an_http_answer_is_an_answer() {
        for (answer, status) in [
            ("HTTP/1.1 301 Moved Permanently\r\n", Some(301)),
            ("HTTP/1.0 200\r\n", Some(200)),
            ("HTTP/1.1 2", None),
            ("HTTP/2.0 200\r\n", None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("", None),
        ] {
            let (port, _server) = serve(move |mut socket| {
                let request = receive(&mut socket);
                socket.write_all(answer.as_bytes()).expect("it is read");
                request
            });
            assert_eq!(ask(&published(port, Service::Http), PATIENCE, &|| false).ok(), status, "{answer:?}");
        }
    }

    #[test]
    fn who_says_nothing_is_not_waited_for_longer_than_patience_lasts() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let error = ask(&published(port, Service::Http), Duration::from_millis(10), &|| false);
        assert_eq!(error.expect_err("nobody answers").kind(), ErrorKind::TimedOut);
        let began = Instant::now();
        ask(&published(port, Service::Http), PATIENCE, &|| true).expect_err("it is over");
        assert!(began.elapsed() < PATIENCE / 2);
    }

    /// Serves one connection; gives what the client said.
    fn serve(act: impl FnOnce(TcpStream) -> String + Send + 'static) -> (u16, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let accept = move || act(listener.accept().expect("somebody comes").0);
        (port, thread::spawn(accept))
    }

    fn https(issued: &Issued, answer: &'static str) -> impl FnOnce(TcpStream) -> String + Send + use<> {
        let certificate = server_certificate(issued.certificate.as_bytes()).expect("there is one");
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("there is one");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        move |socket| {
            let connection = ServerConnection::new(Arc::new(config)).expect("it is complete");
            let mut stream = StreamOwned::new(connection, socket);
            let request = receive(&mut stream);
            // A client that has seen enough may be gone.
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
            request
        }
    }

    fn receive(stream: &mut impl Read) -> String {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap_or_default();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    fn issue() -> Issued {
        let home = tempfile::tempdir().expect("temporary directories can be made");
        let directory = Directory::open(home.path()).expect("it can be opened");
        let now = SystemTime::now();
        let authority = Authority::open(directory, now).expect("it can be made");
        authority.issue(&[], now).expect("it can be issued")
    }

    fn published(port: u16, service: Service) -> Published {
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let guest = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 443);
        let forward = Forward { protocol: Protocol::Tcp, host, guest };
        Published { forward, subject: "website".into(), service }
    }

    /// Enough for a loaded computer.
    const PATIENCE: Duration = Duration::from_secs(120);
}
