//! Answers every request over HTTP with a line of text.

#![no_std]
#![no_main]

use unikernel::io::{Read, Write};
use unikernel::{Argument, Error, System, TcpStream, log};

unikernel::unikernel!(main, arguments = [PORT]);

static PORT: Argument<u16> = Argument::new("port", "PORT", "Where it answers.", 80);

async fn main(system: System) -> Result<(), Error> {
    let port = system.argument(&PORT);
    let mut listener = system.network().listen(port)?;
    log::info!("http://{}:{port}/", system.network().address().await);
    loop {
        system.spawn(answer(listener.accept().await));
    }
}

/// Reads to the empty line that ends a request, and answers.
async fn answer(mut stream: TcpStream) {
    let mut end = [0; 4];
    while end != *b"\r\n\r\n" {
        let mut byte = [0];
        let Ok(1) = stream.read(&mut byte).await else { return };
        end.rotate_left(1);
        end[3] = byte[0];
    }
    // If the visitor is gone there is nobody left to answer.
    let _ = stream.write_all(ANSWER).await;
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nHello from NAME.\n";
