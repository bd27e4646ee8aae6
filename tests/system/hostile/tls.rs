//! What is no TLS, or too much of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::target::Target;
use crate::harness::{Place, in_every_place};

in_every_place!(
    what_is_no_tls_is_refused_and_the_site_still_answers,
    a_hello_that_is_cut_or_damaged_anywhere_is_refused_and_a_slow_one_is_not,
    what_tls_allows_only_sometimes_is_not_allowed_without_end,
);

fn what_is_no_tls_is_refused_and_the_site_still_answers(place: Place) {
    let target = Target::start(place);
    let warning = record(21, 3, &[1, 90]);
    let garbage: &[(&str, Vec<u8>)] = &[
        ("nothing", Vec::new()),
        ("zeroes", vec![0; 100_000]),
        ("ones", vec![0xff; 100_000]),
        ("HTTP without TLS", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("a hello of SSL 2", [&[0x80, 0x2e, 1, 0, 2][..], &[0; 41]].concat()),
        ("a record of no bytes", record(22, 3, &[])),
        ("records of no bytes", record(22, 3, &[]).repeat(1000)),
        ("a record that is too long", record(22, 3, &vec![1; 0x4900])),
        ("the longest record", record(22, 3, &vec![1; 0xffff])),
        ("a record that never comes", vec![22, 3, 1, 0xff, 0xff]),
        (
            "a message of 16 MiB",
            record(22, 3, &[&[1, 0xff, 0xff, 0xff][..], &[3; 0x3ff0]].concat()).repeat(20),
        ),
        ("a message in pieces of a byte", [1, 0, 1, 0, 3, 3].map(|byte| record(22, 3, &[byte])).concat()),
        ("another version", record(22, 0x7f, &[1, 0, 0, 2, 3, 3])),
        ("warnings without end", warning.repeat(5000)),
        ("a fatal alert", record(21, 3, &[2, 40])),
        ("a farewell", record(21, 3, &[1, 0])),
        ("alerts that are none", record(21, 3, &[9, 9, 9]).repeat(100)),
        ("changes of cipher without end", record(20, 3, &[1]).repeat(5000)),
        ("data before the handshake", record(23, 3, &[7; 500]).repeat(50)),
        ("heartbeats", record(24, 3, &[1, 0xff, 0xff]).repeat(100)),
    ];
    for (what, bytes) in garbage {
        say(target.connect_raw(), bytes);
        target.still_answers(what);
    }
    for kind in (0..=255).step_by(5) {
        say(target.connect_raw(), &record(kind, 3, &[kind; 300]));
    }
    target.still_answers("records of every kind");
    target.assert_unharmed();
}

fn a_hello_that_is_cut_or_damaged_anywhere_is_refused_and_a_slow_one_is_not(place: Place) {
    let target = Target::start(place);
    let hello = hello(&target);
    for end in (0..hello.len()).step_by(hello.len() / SAMPLES) {
        say(target.connect_raw(), &hello[..end]);
    }
    target.still_answers("hellos that are cut");
    for at in (0..hello.len()).step_by(hello.len() / SAMPLES) {
        for value in [0xff, hello[at] ^ 1] {
            let mut damaged = hello.clone();
            damaged[at] = value;
            say(target.connect_raw(), &damaged);
        }
    }
    target.still_answers("hellos that are damaged");
    say(target.connect_raw(), &hello.repeat(30));
    target.still_answers("hello again and again");

    let mut socket = target.connect_raw();
    socket.set_nodelay(true).expect("small segments can be sent");
    for byte in &hello {
        socket.write_all(&[*byte]).expect("the server listens");
        thread::sleep(Duration::from_micros(200));
    }
    let mut answer = [0; 3];
    socket.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, [22, 3, 3], "that is a handshake record");
    drop(socket);
    target.assert_unharmed();
}

fn what_tls_allows_only_sometimes_is_not_allowed_without_end(place: Place) {
    let target = Target::start(place);
    let mut client = target.connect();
    for _ in 0..1000 {
        if client.conn.refresh_traffic_keys().is_err() || client.flush().is_err() {
            break;
        }
    }
    let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(client);
    target.still_answers("new keys without end");

    // Of TLS 1.2: the letter R at the start of a line asks for another handshake.
    let mut renegotiating = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect"])
        .arg(target.address().trim_start_matches("https://"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need openssl");
    let mut keys = renegotiating.stdin.take().expect("it is piped");
    for _ in 0..50 {
        // It ends when the server has refused.
        let _ = keys.write_all(b"R\n");
        thread::sleep(Duration::from_millis(5));
    }
    drop(keys);
    let _ = (renegotiating.kill(), renegotiating.wait());
    target.still_answers("handshakes without end");
    target.assert_unharmed();
}

/// Says something and then nothing more, and waits until the server ends the connection.
fn say(mut socket: TcpStream, bytes: &[u8]) {
    // The server may have ended it before all is sent.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let _ = socket.read_to_end(&mut Vec::new());
}

/// A record of TLS, of any length.
fn record(kind: u8, version: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a record is short");
    [&[kind, version, 1][..], &length.to_be_bytes(), content].concat()
}

/// What a client says first.
fn hello(target: &Target) -> Vec<u8> {
    let mut bytes = Vec::new();
    target.tls_client().write_tls(&mut bytes).expect("there is memory");
    bytes
}

/// Places at which a hello is cut or damaged.
const SAMPLES: usize = 30;
