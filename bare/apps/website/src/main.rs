//! Serves a directory of files over HTTP and HTTPS.
//!
//! The site is data, not code: the region `site`, an archive that the builder has made of the directory. With the regions
//! `certificate` and `key` it is served over TLS, and what comes without TLS is sent there; without them, or without a port
//! for TLS, it is served as it is.

#![no_std]
#![no_main]

mod connection;
mod figures;
mod send;

use palisade_http::{Redirect, Service, Site};
use palisade_site::Archive;
use unikernel::time::{Duration, with_timeout};
use unikernel::tls::TlsAcceptor;
use unikernel::{Argument, Error, System, TcpListener, log, memory};

use self::connection::{Limits, Server};

unikernel::unikernel!(
    main,
    arguments = [HTTP, HTTPS, HTTPS_OUTSIDE, HSTS, IDLE_TIME, REQUEST_TIME, SEND_TIME]
);

static HTTP: Argument<u16> =
    Argument::new("http", "PORT", "Where it answers without TLS; 0 for nowhere.", 80);
static HTTPS: Argument<u16> =
    Argument::new("https", "PORT", "Where it answers over TLS; 0 for nowhere: then without TLS.", 443);
static HTTPS_OUTSIDE: Argument<Option<u16>> = Argument::new(
    "https-outside",
    "PORT",
    "Where visitors reach it over TLS, if that port is mapped to another.",
    None,
);
static HSTS: Argument<u64> = Argument::new(
    "hsts",
    "SECONDS",
    "How long browsers must not visit it without TLS; 0 to leave it to them. Never said of localhost and addresses.",
    30 * 24 * 60 * 60,
);
static IDLE_TIME: Argument<u32> =
    Argument::new("idle-time", "SECONDS", "How long a connection may be unused between requests.", 30);
static REQUEST_TIME: Argument<u32> =
    Argument::new("request-time", "SECONDS", "How long a request may take to arrive.", 10);
static SEND_TIME: Argument<u32> = Argument::new(
    "send-time",
    "SECONDS",
    "How long a response may take, besides a second for every 4 KiB, and how long each 16 KiB of it.",
    30,
);

async fn main(system: System) -> Result<(), Error> {
    let archive = site(&system)?;
    let (http, https) = (system.argument(&HTTP), system.argument(&HTTPS));
    let acceptor = if https == 0 { None } else { acceptor(&system)? };
    let over_tls = acceptor.is_some();
    if let Some(acceptor) = acceptor {
        let hsts = Some(system.argument(&HSTS)).filter(|seconds| *seconds != 0);
        let listener = system.network().listen(https)?;
        system.spawn(serve_tls(
            system.clone(),
            listener,
            acceptor,
            server(&system, Service::Site(Site { archive, hsts })),
        ));
    } else if http == 0 {
        return Err(Error::other("the site would be served nowhere: neither over TLS nor without"));
    } else {
        log::warn!("the site is served without TLS");
    }
    if http != 0 {
        let service = if over_tls {
            Service::Redirect(Redirect { http, https, https_outside: system.argument(&HTTPS_OUTSIDE) })
        } else {
            Service::Site(Site { archive, hsts: None })
        };
        let listener = system.network().listen(http)?;
        system.spawn(serve_plain(system.clone(), listener, server(&system, service)));
    }
    let address = system.network().address().await;
    let (scheme, port) = if over_tls { ("https", https) } else { ("http", http) };
    let most = system.network().most_connections();
    log::info!(
        "{scheme}://{address}:{port}/ has {} files, for {most} connections at once",
        archive.entries().len()
    );
    core::future::pending().await
}

fn site(system: &System) -> Result<Archive<'static>, Error> {
    let bytes = system
        .data("site")
        .ok_or_else(|| Error::other("the system has no data region 'site' for this subject"))?;
    Archive::parse(bytes).map_err(Error::other)
}

/// What accepts TLS, if there is a certificate.
fn acceptor(system: &System) -> Result<Option<TlsAcceptor>, Error> {
    match (system.data("certificate"), system.data("key")) {
        (Some(certificate), Some(key)) => TlsAcceptor::new(certificate, key).map(Some),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::other("there is a data region 'certificate', but none 'key'")),
        (None, Some(_)) => Err(Error::other("there is a data region 'key', but none 'certificate'")),
    }
}

fn server(system: &System, service: Service<'static>) -> Server {
    let seconds = |argument: &Argument<u32>| Duration::from_secs(system.argument(argument).into());
    let limits =
        Limits { idle: seconds(&IDLE_TIME), request: seconds(&REQUEST_TIME), send: seconds(&SEND_TIME) };
    Server { service, limits, network: system.network().clone() }
}

async fn serve_plain(system: System, mut listener: TcpListener, server: Server) {
    loop {
        let mut stream = listener.accept().await;
        let server = server.clone();
        system.spawn(async move {
            if let Some(peer) = stream.peer() {
                server.serve(&mut stream, peer.ip()).await;
            }
        });
    }
}

async fn serve_tls(system: System, mut listener: TcpListener, acceptor: TlsAcceptor, server: Server) {
    loop {
        let stream = listener.accept().await;
        let (server, acceptor) = (server.clone(), acceptor.clone());
        system.spawn(async move {
            let Some(peer) = stream.peer() else { return };
            match server.accept(&acceptor, stream).await {
                Ok(mut stream) => {
                    let session = if stream.is_resumed() { "resumed" } else { "new" };
                    log::debug!("{}: {:?}, {session} session", peer.ip(), stream.version());
                    server.serve(&mut stream, peer.ip()).await;
                    // The client is told that it has everything; if it does not listen any more, nobody needs to be.
                    let _ = with_timeout(server.limits.request, stream.close()).await;
                }
                Err(error) => log::debug!("{}: no TLS: {error}", peer.ip()),
            }
            log::debug!("{} bytes of memory are in use", memory::figures().used);
        });
    }
}
