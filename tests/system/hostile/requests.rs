//! Requests that are none, are too large, or are too many.

#[path = "../../../crates/http/tests/http/malformed/cases.rs"]
mod cases;

use std::io::{Read, Write};

use self::cases::CASES;
use self::cases::Then::{Ends, GoesOn};
use super::target::Target;
use crate::harness::{Place, in_every_place};
use crate::running::PAGE;

in_every_place!(
    what_is_malformed_is_answered_through_the_network_as_without_it,
    what_is_too_large_is_refused_and_what_is_too_much_is_answered,
);

fn what_is_malformed_is_answered_through_the_network_as_without_it(place: Place) {
    let target = Target::start(place);
    for (request, status, then) in CASES {
        let expected = if then == GoesOn { vec![status, 200] } else { vec![status] };
        assert_eq!(answers(target.connect(), request), expected, "{request:?}");
        // Without TLS there is no site, only the way to it.
        if then == Ends && status != 411 {
            assert_eq!(answers(target.connect_plain(), request), [status], "{request:?}");
        }
    }
    target.still_answers("malformed requests");
    target.assert_unharmed();
}

fn what_is_too_large_is_refused_and_what_is_too_much_is_answered(place: Place) {
    let target = Target::start(place);
    let (letters, fields) = ("a".repeat(1 << 20), "X: y\r\n".repeat(1 << 17));
    for (request, status) in [
        (format!("GET /{letters} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (letters.clone(), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {letters}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{letters}", 1_u64 << 40), 413),
        (
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n{letters}"),
            405,
        ),
    ] {
        let shown = &request[..40];
        assert_eq!(answers(target.connect_plain(), &request), [status], "{shown}");
        assert_eq!(answers(target.connect(), &request), [status], "{shown}");
        target.still_answers(shown);
    }

    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(PIPELINED);
    let mut client = target.connect();
    for _ in 0..10_000 / PIPELINED {
        client.write_all(requests.as_bytes()).expect("the server listens");
        let (mut text, mut buffer) = (String::new(), [0; 0x4000]);
        while text.matches("HTTP/1.1 200 OK\r\n").count() < PIPELINED || !text.ends_with(PAGE) {
            let count = client.read(&mut buffer).expect("the server answers");
            text += &String::from_utf8_lossy(&buffer[..count]);
        }
    }
    drop(client);
    target.still_answers("10,000 requests on one connection");
    target.assert_unharmed();
}

/// Sends something and a good request behind it, and gives the status of each answer until the server ends the connection.
fn answers(mut client: impl Read + Write, request: &str) -> Vec<u16> {
    const GOOD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // The server may have ended the connection before all of it is sent.
    let _ = client.write_all(format!("{request}{GOOD}").as_bytes());
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer[..3].parse().ok()).collect()
}

/// Requests that are sent before the first answer is read.
const PIPELINED: usize = 1000;
