//! What is no request, and how that is answered.

mod cases;

use palisade_http::{MAX_BODY, MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE};

use self::cases::CASES;
use self::cases::Then::{self, Ends, GoesOn};
use crate::client::{plain, responses, site, talk};

#[test]
fn what_is_malformed_is_answered_and_ends_the_connection_where_the_next_request_is_in_doubt() {
    for (request, status, then) in CASES {
        check(request, status, then);
    }
}

#[test]
fn what_is_too_large_is_answered_with_what_is_too_large() {
    let target = "a".repeat(MAX_REQUEST_LINE);
    check(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n"), 414, Ends);
    check(&format!("{target}{target}"), 414, Ends);
    let fields = "X: y\r\n".repeat(MAX_FIELDS);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431, Ends);
    let cookie = "c".repeat(MAX_HEAD);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"), 431, Ends);
    let (largest, larger) = (MAX_BODY, MAX_BODY + 1);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {larger}\r\n\r\n"), 413, Ends);
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {larger}\r\n\r\n"), 405, Ends);
    let body = "b".repeat(usize::try_from(largest).unwrap());
    check(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {largest}\r\n\r\n{body}"), 405, GoesOn);
}

#[test]
fn what_is_malformed_is_malformed_on_the_plain_port_too() {
    for (request, status, _) in CASES.iter().filter(|(_, status, then)| *then == Ends && *status != 411) {
        let all = responses(&talk(&plain(), [request.as_bytes()]).bytes, &["GET"]);
        assert_eq!(all[0].status, *status, "{request:?}");
    }
}

/// Sends a request and a good one behind it.
fn check(request: &str, status: u16, then: Then) {
    let good = "GET /digits.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    let talk = talk(&site(), [request.as_bytes(), good.as_bytes()]);
    let all = responses(&talk.bytes, &[]);
    let (shown, count) = (request.get(..200).unwrap_or(request), all.len());
    assert_eq!(all[0].status, status, "{shown:?}");
    let says_so = all[0].field("Connection") == Some("close");
    assert_eq!(says_so, then == Ends, "{shown:?}");
    match then {
        GoesOn => assert!(count == 2 && all[1].text() == "0123456789", "{shown:?}"),
        Ends => assert!(count == 1 && talk.closed, "{shown:?}"),
    }
}
