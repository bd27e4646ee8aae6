//! Asks for names, and asks an echo server over TCP, with many connections at once, and over UDP; compares what comes back,
//! and ends the system.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use core::cell::Cell;
use core::net::{IpAddr, SocketAddr};

use unikernel::io::{Read, Write};
use unikernel::net::ResolveError;
use unikernel::time::{Duration, Instant, Timer, with_timeout};
use unikernel::{Argument, Error, Network, System, TcpStream, log, memory};

unikernel::unikernel!(main, arguments = [NAMES, TO, PORT, CALLERS, BYTES, ROUNDS]);

static NAMES: Argument<String> =
    Argument::new("names", "NAME,...", "Whose addresses are looked up.", String::new());
static TO: Argument<String> = Argument::new("to", "HOST", "Who is asked, by address or name.", String::new());
static PORT: Argument<u16> = Argument::new("port", "PORT", "The server's port.", 7);
static CALLERS: Argument<usize> = Argument::new("callers", "NUMBER", "Connections at once.", 1);
static BYTES: Argument<usize> = Argument::new("bytes", "NUMBER", "Bytes sent over each.", 1000);
static ROUNDS: Argument<usize> = Argument::new("rounds", "NUMBER", "How often all is done.", 1);

async fn main(system: System) -> Result<(), Error> {
    if let Err(error) = ask(&system).await {
        log::warn!("{error}");
    }
    // The log gets its share first.
    Timer::after_millis(100).await;
    if let Some(event) = solo5::Event::named("system_power_off") {
        event.raise();
    }
    Ok(())
}

async fn ask(system: &System) -> Result<(), Error> {
    log::info!("this is {}", system.network().address().await);
    for name in system.argument(&NAMES).split(',').filter(|name| !name.is_empty()) {
        match system.network().resolve(name).await {
            Ok(addresses) => log::info!("{name} is {addresses:?}"),
            Err(error) => log::warn!("{name}: {error}"),
        }
    }
    let to = system.argument(&TO);
    let server = SocketAddr::new(find(system.network(), &to).await?, system.argument(&PORT));
    let bytes = system.argument(&BYTES);
    for round in 1..=system.argument(&ROUNDS) {
        let begun = Instant::now();
        let callers = system.argument(&CALLERS);
        let (done, heard) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for caller in 0..callers {
            let (network, done, heard) = (system.network().clone(), done.clone(), heard.clone());
            system.spawn(async move {
                match with_timeout(PATIENCE, call(&network, server, caller as u8, bytes)).await {
                    Ok(Ok(())) => heard.set(heard.get() + 1),
                    Ok(Err(error)) => log::warn!("caller {caller}: {error}"),
                    Err(_) => log::warn!("caller {caller}: no answer"),
                }
                done.set(done.get() + 1);
            });
        }
        while done.get() < callers {
            Timer::after_millis(10).await;
        }
        log::info!("round {round}: {} of {callers} heard their echo", heard.get());
        log::info!("{} ms, {} bytes of memory", begun.elapsed().as_millis(), memory::figures().peak);
    }
    let mut socket = system.network().bind_udp(1024)?;
    let mut buffer = [0; 100];
    socket.send(b"datagram", server).await.map_err(|_| Error::other("cannot send"))?;
    match with_timeout(PATIENCE, socket.receive(&mut buffer)).await {
        Ok(Ok((8, from))) if from == server && buffer.starts_with(b"datagram") => {
            log::info!("datagram heard")
        }
        other => log::warn!("datagram: {other:?}"),
    }
    Ok(())
}

/// The first address of a host.
async fn find(network: &Network, host: &str) -> Result<IpAddr, Error> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let unknown = |reason| Error::other(format_args!("{host}: {reason}"));
    let addresses = network.resolve(host).await.map_err(unknown)?;
    addresses.first().copied().ok_or_else(|| unknown(ResolveError::NoAddress))
}

async fn call(network: &Network, server: SocketAddr, first: u8, bytes: usize) -> Result<(), Error> {
    let mut stream = TcpStream::connect(network, server).await.map_err(Error::other)?;
    let mut left = bytes;
    let mut next = first;
    while left != 0 {
        let sent: alloc::vec::Vec<u8> = (0..left.min(4000)).map(|i| next.wrapping_add(i as u8)).collect();
        stream.write_all(&sent).await.map_err(Error::other)?;
        let mut heard = vec![0; sent.len()];
        stream.read_exact(&mut heard).await.map_err(|_| Error::other("the echo ended early"))?;
        if heard != sent {
            return Err(Error::other("the echo is another"));
        }
        next = next.wrapping_add(sent.len() as u8);
        left -= sent.len();
    }
    stream.finish();
    match stream.read(&mut [0; 1]).await {
        Ok(0) => Ok(()),
        _ => Err(Error::other("the echo does not end")),
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
