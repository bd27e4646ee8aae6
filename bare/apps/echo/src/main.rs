//! Sends back what it gets.

#![no_std]
#![no_main]

use unikernel::io::{Read, Write};
use unikernel::{Argument, Error, System, TcpStream, UdpSocket};

unikernel::unikernel!(main, arguments = [PORT]);

static PORT: Argument<u16> = Argument::new("port", "PORT", "Where it answers, over TCP and UDP.", 7);

async fn main(system: System) -> Result<(), Error> {
    let port = system.argument(&PORT);
    let mut listener = system.network().listen(port)?;
    system.spawn(echo_datagrams(system.network().bind_udp(port)?));
    loop {
        system.spawn(echo(listener.accept().await));
    }
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn echo_datagrams(mut socket: UdpSocket) {
    let mut buffer = [0; 1500];
    loop {
        if let Ok((length, sender)) = socket.receive(&mut buffer).await {
            let _ = socket.send(&buffer[..length], sender).await;
        }
    }
}
