//! What is served.

use std::io::Read;

use palisade_http::{Connection, NO_CLOCK, Next, Service, Site};
use palisade_site::Archive;
use palisade_site::pack::{File, pack_files};

use crate::client::{MODIFIED, ask, ask_of, get, page, responses, site, talk};

#[test]
fn a_page_comes_with_all_that_is_known_of_it() {
    let response = get("/", "");
    assert_eq!((response.status, response.text()), (200, page().as_str()));
    for (name, expected) in [
        ("Date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ("Server", "Palisade"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Last-Modified", MODIFIED),
        ("Cache-Control", "no-cache"),
        ("Vary", "Accept-Encoding"),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "frame-ancestors 'self'"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("Strict-Transport-Security", "max-age=1000"),
    ] {
        assert_eq!(response.field(name), Some(expected));
    }
    assert!(response.field("ETag").unwrap().starts_with('"'));
    assert_eq!((response.field("Connection"), response.field("Content-Encoding")), (None, None));
}

#[test]
fn the_head_is_that_of_the_page() {
    for path in ["/", "/digits.txt", "/a%20b", "/missing", "/%zz"] {
        let request = |method| format!("{method} {path} HTTP/1.1\r\nHost: example.org\r\n\r\n");
        let (get, head) = (ask(&request("GET")), ask(&request("HEAD")));
        assert_eq!((get.status, &get.fields), (head.status, &head.fields), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty());
    }
}

#[test]
fn variants_decode_to_the_page() {
    for (accept, encoding) in [("gzip", "gzip"), ("gzip, deflate, br", "br")] {
        let response = get("/index.html", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!((response.status, response.field("Content-Encoding")), (200, Some(encoding)));
        let mut decoded = String::new();
        match encoding {
            "gzip" => flate2::read::GzDecoder::new(&*response.body).read_to_string(&mut decoded).unwrap(),
            _ => brotli::Decompressor::new(&*response.body, 4096).read_to_string(&mut decoded).unwrap(),
        };
        assert_eq!(decoded, page());
        assert_ne!(response.field("ETag"), get("/index.html", "").field("ETag"));
    }
    assert_eq!(get("/", "Accept-Encoding: identity;q=0, zstd\r\n").status, 406);
    let small = get("/digits.txt", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((small.field("Content-Encoding"), small.field("Vary")), (None, None));
}

#[test]
fn a_copy_that_is_still_good_is_not_sent_again() {
    for accept in ["", "Accept-Encoding: br\r\n"] {
        let first = get("/", accept);
        let again = get("/", &format!("{accept}If-None-Match: \"x\", {}\r\n", first.field("ETag").unwrap()));
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!((again.field("ETag"), again.field("Vary")), (first.field("ETag"), first.field("Vary")));
        assert_eq!((again.field("Content-Length"), again.field("Content-Type")), (None, None));
    }
    assert_eq!(get("/", &format!("If-Modified-Since: {MODIFIED}\r\n")).status, 304);
    assert_eq!(get("/", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n").status, 200);
    assert_eq!(get("/", "If-Match: \"x\"\r\n").status, 412);
    let other_variant = get("/", "").field("ETag").unwrap().to_owned();
    assert_eq!(get("/", &format!("Accept-Encoding: br\r\nIf-None-Match: {other_variant}\r\n")).status, 200);
}

#[test]
fn a_range_is_the_part_it_names() {
    for (range, expected, of) in [
        ("0-0", "0", "bytes 0-0/10"),
        ("2-4", "234", "bytes 2-4/10"),
        ("7-", "789", "bytes 7-9/10"),
        ("-2", "89", "bytes 8-9/10"),
        ("8-100", "89", "bytes 8-9/10"),
        ("0-1,50-60", "01", "bytes 0-1/10"),
    ] {
        let response = get("/digits.txt", &format!("Range: bytes={range}\r\n"));
        assert_eq!((response.status, response.text()), (206, expected));
        assert_eq!(response.field("Content-Range"), Some(of));
        assert_eq!(response.field("Content-Type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn several_ranges_come_in_parts() {
    let response = get("/digits.txt", "Range: bytes=8-9,0-1\r\n");
    assert_eq!(response.status, 206);
    let boundary =
        response.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let kind = "Content-Type: text/plain; charset=utf-8";
    let expected = format!(
        "--{boundary}\r\n{kind}\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n\
         --{boundary}\r\n{kind}\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--{boundary}--\r\n"
    );
    assert_eq!(response.text(), expected);
}

#[test]
fn ranges_that_cannot_be_given_are_refused() {
    let crowd: Vec<String> = (0..17).map(|n| format!("{n}-{n}")).collect();
    for range in ["10-", "20-30", "-0", "0-5,5-9", "0-,0-,0-,0-", &crowd.join(",")] {
        let response = get("/digits.txt", &format!("Range: bytes={range}\r\n"));
        assert_eq!((response.status, response.field("Content-Range")), (416, Some("bytes */10")), "{range}");
    }
}

#[test]
fn ranges_that_mean_nothing_are_ignored() {
    for fields in [
        "Range: bytes=x\r\n",
        "Range: pages=0-1\r\n",
        "Range: bytes=5-2\r\n",
        "Range: bytes=0-1\r\nRange: bytes=2-3\r\n",
        "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n",
    ] {
        assert_eq!(get("/digits.txt", fields).text(), "0123456789");
    }
    let head = ask("HEAD /digits.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("10")));
    assert_eq!(get("/empty.bin", "Range: bytes=0-\r\n").status, 200);
}

#[test]
fn an_interrupted_download_goes_on_if_the_file_is_the_same() {
    let etag = get("/digits.txt", "").field("ETag").unwrap().to_owned();
    assert_eq!(get("/digits.txt", &format!("Range: bytes=6-\r\nIf-Range: {etag}\r\n")).text(), "6789");
    assert_eq!(get("/digits.txt", &format!("Range: bytes=6-\r\nIf-Range: {MODIFIED}\r\n")).text(), "6789");
}

#[test]
fn a_directory_without_its_slash_leads_to_the_one_with_it() {
    let response = get("/a%20b?x=1&y", "");
    assert_eq!((response.status, response.field("Location")), (301, Some("/a%20b/?x=1&y")));
    assert_eq!(get("/a%20b/?x=1&y", "").text(), "<p>in a directory</p>");
    // A second slash at the front would make the first segment a host.
    assert_eq!(get("//a%20b", "").field("Location"), Some("/a%20b/"));
}

#[test]
fn what_does_not_exist_shows_the_page_for_it() {
    for path in ["/missing", "/a%20b/missing", "/index.html/", "/digits.txt%2f", "/Index.html"] {
        let response = get(path, "Range: bytes=0-1\r\nIf-None-Match: *\r\n");
        assert_eq!((response.status, response.text()), (404, "<h1>Lost</h1>"), "{path}");
        assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!((response.field("ETag"), response.field("Cache-Control")), (None, Some("no-cache")));
    }
}

#[test]
fn a_cache_gives_nobody_a_page_in_an_encoding_that_is_not_accepted() {
    let content = "<p>There is nothing here.</p>".repeat(100).into_bytes();
    let page = |path: &str| File { path: path.into(), content: content.clone(), modified: 0 };
    let packed = pack_files(vec![page("/404.html"), page("/index.html")]).bytes;
    let archive = Archive::parse(packed.leak()).unwrap();
    let service = Service::Site(Site { archive, hsts: None });
    for (path, status) in [("/", 200), ("/missing", 404)] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        let response = ask_of(&service, &request);
        assert_eq!((response.status, response.field("Content-Encoding")), (status, Some("gzip")));
        assert_eq!(response.field("Vary"), Some("Accept-Encoding"), "{path}");
    }
}

#[test]
fn a_server_without_a_clock_says_no_date_of_its_own() {
    let mut connection = Connection::new().unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.room()[..request.len()].copy_from_slice(request);
    connection.received(request.len());
    let site = site();
    let Next::Answer(exchange) = connection.next(&site, NO_CLOCK) else { panic!("there is an answer") };
    let head = std::str::from_utf8(exchange.response.head()).unwrap();
    assert!(
        head.contains(&format!("\r\nLast-Modified: {MODIFIED}\r\n")) && !head.contains("\r\nDate:"),
        "{head}"
    );
}

#[test]
fn paths_are_understood_however_they_are_written() {
    for path in [
        "/gr%C3%BCn.txt",
        "/gr%c3%bcn.txt",
        "/./x/../gr%C3%BCn.txt",
        "//gr%C3%BCn.txt",
        "/%67r%C3%BCn.txt?q#",
    ] {
        let expected = if path.contains('#') { 400 } else { 200 };
        assert_eq!(get(path, "").status, expected, "{path}");
    }
}

#[test]
fn browsers_are_not_told_to_remember_local_names() {
    let with_host = |host: &str| ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in ["localhost:4433", "127.0.0.1", "[::1]", "app.localhost", ""] {
        assert_eq!(with_host(host).field("Strict-Transport-Security"), None, "{host}");
    }
}

#[test]
fn methods_that_are_not_served_are_named() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let response = ask(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
        assert_eq!(response.field("Connection"), None);
    }
    for target in ["/", "*", "/missing"] {
        let response = ask(&format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, response.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    }
    assert_eq!(ask("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n").status, 405);
}

#[test]
fn nothing_of_a_site_is_sent_in_a_response_that_says_no() {
    let bytes = talk(&site(), [&b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"[..]]).bytes;
    let all = responses(&bytes, &["GET"]);
    assert_eq!((all[0].status, all[0].text()), (400, "400 Bad Request\n"));
}
