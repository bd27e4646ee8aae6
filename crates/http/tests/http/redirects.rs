//! From HTTP to HTTPS.

use palisade_http::{Redirect, Service};

use crate::client::{ask_of, plain};

#[test]
fn visitors_are_sent_to_the_same_page_over_tls() {
    for (host, target, location) in [
        ("example.org", "/", "https://example.org/"),
        ("example.org:80", "/a/b?c=d&e", "https://example.org/a/b?c=d&e"),
        ("localhost:8080", "/", "https://localhost:4433/"),
        ("127.0.0.1:8080", "/a%20b/", "https://127.0.0.1:4433/a%20b/"),
        ("[::1]:8080", "/", "https://[::1]:4433/"),
        ("other", "http://example.org:80/x", "https://example.org/x"),
        ("example.org", "//evil.example/", "https://example.org//evil.example/"),
    ] {
        let response = ask_of(&plain(), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!((response.status, response.field("Location")), (301, Some(location)));
        assert_eq!(response.field("Strict-Transport-Security"), None, "it means nothing here");
        assert_eq!(response.field("Cache-Control"), Some("no-cache"), "it is not kept for ever");
    }
}

#[test]
fn ports_of_the_server_s_own_are_kept() {
    let service = Service::Redirect(Redirect { http: 8000, https: 8443, https_outside: None });
    let response = ask_of(&service, "GET /x HTTP/1.1\r\nHost: example.org:8000\r\n\r\n");
    assert_eq!(response.field("Location"), Some("https://example.org:8443/x"));
}

#[test]
fn nobody_is_sent_to_a_host_that_is_not_named_or_a_path_that_is_none() {
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /../x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(ask_of(&plain(), request).status, 400, "{request}");
    }
    assert_eq!(ask_of(&plain(), "POST / HTTP/1.1\r\nHost: a\r\n\r\n").status, 405);
}

#[test]
fn the_longest_address_fits() {
    let target = format!("/{}", "a".repeat(7900));
    let host = "h".repeat(255);
    let response = ask_of(&plain(), &format!("GET {target} HTTP/1.1\r\nHost: {host}:8080\r\n\r\n"));
    assert_eq!(response.field("Location"), Some(format!("https://{host}:4433{target}").as_str()));
}
