//! Several requests on one connection, in whatever pieces.

use std::time::Duration;

use palisade_http::access_log::Line;
use palisade_http::{Connection, MAX_BODY, Next, Service, Stage};
use proptest::prelude::*;

use crate::client::{NOW, Talk, drain, responses, site, talk};

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let requests = ["GET /digits.txt", "HEAD /", "GET /missing", "POST /", "GET /a%20b/"];
    let input: String = requests.iter().map(|line| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let all = responses(&talk(&site(), [input.as_bytes()]).bytes, &["GET", "HEAD", "GET", "POST", "GET"]);
    assert_eq!(all.iter().map(|response| response.status).collect::<Vec<_>>(), [200, 200, 404, 405, 200]);
    assert_eq!(all[4].text(), "<p>in a directory</p>");
}

#[test]
fn a_connection_ends_when_the_client_says_so() {
    for (request, answer, closed) in [
        ("GET /digits.txt HTTP/1.1\r\nHost: a\r\n\r\n", None, false),
        ("GET /digits.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some("close"), true),
        ("GET /digits.txt HTTP/1.0\r\n\r\n", Some("close"), true),
        ("GET /digits.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive"), false),
    ] {
        let talk = talk(&site(), [request.as_bytes()]);
        let all = responses(&talk.bytes, &["GET"]);
        assert_eq!(
            (all[0].status, all[0].field("Connection"), talk.closed),
            (200, answer, closed),
            "{request}"
        );
    }
}

#[test]
fn bodies_are_skipped() {
    let body = "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n";
    let request =
        format!("GET /digits.txt HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let input = format!("{request}{request}\r\nGET /empty.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    let all = responses(&talk(&site(), [input.as_bytes()]).bytes, &[]);
    assert_eq!(all.iter().map(|response| response.body.len()).collect::<Vec<_>>(), [10, 10, 0]);
}

#[test]
fn a_client_that_asks_before_it_sends_gets_its_answer_instead() {
    let request = "GET /digits.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n";
    let talk = talk(&site(), [request.as_bytes(), b"hello"]);
    let all = responses(&talk.bytes, &["GET"]);
    assert_eq!(
        (all.len(), all[0].status, all[0].field("Connection"), talk.closed),
        (1, 200, Some("close"), true)
    );
}

#[test]
fn a_slow_request_is_told_so_and_an_idle_connection_is_not() {
    let mut connection = Connection::new().unwrap();
    assert!(connection.time_out(NOW).is_none());

    let mut connection = Connection::new().unwrap();
    receive(&mut connection, b"GET / HTT");
    assert!(matches!(connection.next(&site(), NOW), Next::Read(Stage::Head)));
    let exchange = connection.time_out(NOW).unwrap();
    assert_eq!((exchange.response.status().code(), exchange.response.closes()), (408, true));
    assert!(matches!(connection.next(&site(), NOW), Next::Close));

    connection.reset();
    receive(&mut connection, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    assert!(matches!(connection.next(&site(), NOW), Next::Answer(_)));
    assert!(matches!(connection.next(&site(), NOW), Next::Read(Stage::Body)));
    assert!(connection.time_out(NOW).is_none(), "the response has been sent already");
}

#[test]
fn a_connection_can_serve_the_next_client() {
    let mut connection = Connection::new().unwrap();
    receive(&mut connection, b"nonsense\r\n\r\nGET / HT");
    let mut first = Talk { bytes: Vec::new(), closed: false, exchanges: Vec::new() };
    assert_eq!(drain(&mut connection, &site(), &mut first), None);
    connection.reset();
    receive(&mut connection, b"GET /digits.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut second = Talk { bytes: Vec::new(), closed: false, exchanges: Vec::new() };
    assert_eq!(drain(&mut connection, &site(), &mut second), Some(Stage::Idle));
    assert_eq!(second.exchanges, [("GET".to_owned(), "/digits.txt".to_owned(), 200, 10)]);
}

#[test]
fn a_line_of_the_log_says_who_asked_for_what() {
    let line = |request: &str| {
        let mut connection = Connection::new().unwrap();
        receive(&mut connection, request.as_bytes());
        let Next::Answer(exchange) = connection.next(&site(), NOW) else { panic!("no answer") };
        Line { peer: "10.0.0.2", exchange: &exchange, duration: Duration::from_micros(1234), complete: true }
            .to_string()
    };
    let get = |target: &str| line(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(get("/digits.txt?x"), "10.0.0.2 GET /digits.txt?x 200 10 1.2ms");
    assert_eq!(line("\u{1b}[2J\r\n\r\n"), "10.0.0.2 - - 400 16 1.2ms");
    let long = get(&format!("/{}", "a".repeat(3000)));
    assert!(long.len() < 200 && long.ends_with("... 404 13 1.2ms"), "{long}");
}

proptest! {
    #[test]
    fn the_pieces_in_which_bytes_arrive_change_nothing(input in conversation(), cuts in prop::collection::vec(1..40_usize, 1..30)) {
        let whole = talk(&site(), [input.as_slice()]);
        let mut cuts = cuts.into_iter().cycle();
        let mut rest = input.as_slice();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let cut = talk(&site(), pieces);
        prop_assert_eq!(&whole.bytes, &cut.bytes);
        prop_assert_eq!((whole.closed, whole.exchanges), (cut.closed, cut.exchanges));
    }

    #[test]
    fn no_response_is_larger_than_what_was_asked_for(input in conversation()) {
        let largest = match site() {
            Service::Site(site) => site.archive.entries().map(|entry| entry.content(palisade_site::Encoding::Identity).unwrap().len()).max().unwrap(),
            Service::Redirect(_) => 0,
        };
        // Text between parts.
        let allowed = largest + 17 * 200;
        for (_, _, _, length) in talk(&site(), [input.as_slice()]).exchanges {
            prop_assert!(length <= allowed);
        }
    }

    #[test]
    fn any_bytes_are_answered_or_waited_for(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = talk(&site(), [input.as_slice()]);
    }
}

/// Requests one after the other, good ones and bad ones, with noise in some of them.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS", "BREW", "get"]);
    let target = prop::sample::select(vec![
        "/",
        "/digits.txt",
        "/a%20b",
        "/missing?x",
        "/../x",
        "*",
        "http://b/",
        "/%zz",
    ]);
    let version = prop::sample::select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/3.0", "x"]);
    let field = prop::sample::select(vec![
        "Host: a\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive\r\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
        "Accept-Encoding: gzip, br;q=0.5\r\n",
        "Range: bytes=1-2,4-5,-1\r\n",
        "Range: bytes=0-,0-,0-\r\n",
        "If-None-Match: *\r\n",
        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "X: \u{fc}\r\n",
        "X : y\r\n",
        "\r\n",
    ]);
    let fields = prop::collection::vec(field, 0..6);
    let request = (method, target, version, fields, any::<bool>()).prop_map(
        |(method, target, version, fields, host)| {
            let host = if host { "Host: a\r\n" } else { "" };
            format!("{method} {target} {version}\r\n{host}{}\r\n", fields.concat()).into_bytes()
        },
    );
    let noise = prop::collection::vec((0..400_usize, any::<u8>()), 0..3);
    (prop::collection::vec(request, 1..5), noise).prop_map(|(requests, noise)| {
        let mut bytes = requests.concat();
        for (at, value) in noise {
            if value < 100
                && let Some(byte) = bytes.get_mut(at)
            {
                *byte = value;
            }
        }
        bytes
    })
}

fn receive(connection: &mut Connection, bytes: &[u8]) {
    assert!(bytes.len() as u64 <= MAX_BODY);
    connection.room()[..bytes.len()].copy_from_slice(bytes);
    connection.received(bytes.len());
}
