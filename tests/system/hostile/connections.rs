//! Clients that take places and time: silent, slow, deaf, or gone again at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::target::{CONNECTIONS, Target};
use crate::harness::{Place, in_every_place};

in_every_place!(
    clients_that_say_nothing_keep_nobody_out_for_long,
    slow_and_deaf_clients_delay_nobody_else,
    connections_that_come_and_go_leave_nothing_behind,
);

fn clients_that_say_nothing_keep_nobody_out_for_long(place: Place) {
    let target = Target::start(place);
    for (port, connect) in [
        ("without TLS", &(|| target.connect_plain()) as &dyn Fn() -> TcpStream),
        ("for TLS", &|| target.connect_raw()),
    ] {
        let silent: Vec<_> = (0..CONNECTIONS + 10)
            .map(|_| {
                thread::sleep(PAUSE);
                connect()
            })
            .collect();
        let begun = Instant::now();
        target.still_answers("more silent connections than there are places");
        println!("answers {} ms after all places {port} were taken", begun.elapsed().as_millis());
        drop(silent);
    }
    let run = target.assert_unharmed();
    assert!(
        run.lines("website").iter().any(|line| line.ends_with("no TLS: it gives way to others")),
        "{run}"
    );
}

fn slow_and_deaf_clients_delay_nobody_else(place: Place) {
    let target = Target::start_impatient(place);
    let heads = (0..5).map(|_| slow(target.connect_plain(), &b"GET / HTTP/1.1\r\nHost: a\r\n"[..]));
    let bodies = (0..5)
        .map(|_| slow(target.connect_plain(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"));
    let hellos = (0..5).map(|_| slow(target.connect_raw(), &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]));
    let secret_heads = (0..5).map(|_| slow(target.connect(), b"GET / HTTP/1.1\r\nHost: a\r\n"));
    let mut all: Vec<_> = heads.chain(bodies).chain(hellos).chain(secret_heads).collect();
    let mut deaf: Vec<_> = (0..5).map(|_| target.connect()).collect();
    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    for client in &mut deaf {
        client.write_all(requests.as_bytes()).expect("the server listens");
    }
    let begun = Instant::now();
    while begun.elapsed() < SLOWNESS {
        // The server ends them one after the other: their time is up.
        all.retain_mut(|(client, letter)| client.write_all(letter).and_then(|()| client.flush()).is_ok());
        thread::sleep(Duration::from_millis(100));
        target.still_answers("a byte of each slow client");
    }
    drop((all, deaf));

    let mut slow = target.connect_plain();
    slow.write_all(b"GET / HT").expect("the server listens");
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    target.assert_unharmed();
}

fn connections_that_come_and_go_leave_nothing_behind(place: Place) {
    let target = Target::start(place);
    for number in 0..CONNECTS {
        let mut client = if number % 2 == 0 { target.connect_raw() } else { target.connect_plain() };
        // Some say something first; what is not read yet when they go makes it a reset.
        if number % 3 == 0 {
            let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        thread::sleep(PAUSE);
    }
    target.still_answers("connections that come and go");
    for _ in 0..20 {
        // With TLS, they leave in the middle of an answer.
        let mut client: StreamOwned<ClientConnection, TcpStream> = target.connect();
        client.write_all(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100)).expect("the server listens");
        let _ = client.read(&mut [0; 10]);
    }
    target.still_answers("clients that leave in the middle of an answer");
    target.assert_unharmed();
}

/// A client that has begun to say something, and how it goes on.
fn slow(mut client: impl Write + 'static, begin: &[u8]) -> (Box<dyn Write>, &'static [u8]) {
    client.write_all(begin).and_then(|()| client.flush()).expect("the server listens");
    (Box::new(client), b"X")
}

/// How long slow clients go on.
const SLOWNESS: Duration = Duration::from_secs(4);
/// Between connections: the emulator listens for one at a time, and whoever comes too early comes again a second later.
const PAUSE: Duration = Duration::from_millis(5);
/// Connections that come and go; many more do behind the emulator's back, see the tests of frames.
const CONNECTS: usize = 200;
