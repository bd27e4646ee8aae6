//! A website over HTTPS, from an isolated unikernel behind the emulated card.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::harness::{Place, Run, System, in_every_place};
use crate::running::{PAGE, Running, TlsClient, certificate, one_page, website};

in_every_place!(
    the_example_site_is_served_over_both_versions_of_tls,
    visitors_without_tls_are_sent_to_the_port_that_they_can_reach,
    a_directory_that_is_published_over_http_alone_is_served_without_tls,
    what_a_client_has_or_can_decode_decides_what_it_gets,
    certificates_with_keys_of_both_kinds_are_served,
    a_client_that_comes_back_resumes_its_session,
    a_large_file_arrives_whole,
    two_hundred_connections_are_served_at_once,
    ten_thousand_requests_leave_the_memory_as_it_was,
    whatever_clients_do_the_site_still_answers,
);

fn the_example_site_is_served_over_both_versions_of_tls(place: Place) {
    let site = System::from_file("systems/website.toml").at(place).start(None);
    for (file, content_type) in [
        ("index.html", "text/html; charset=utf-8"),
        ("how/index.html", "text/html; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("script.js", "text/javascript; charset=utf-8"),
        ("wall.svg", "image/svg+xml"),
        ("404.html", "text/html; charset=utf-8"),
    ] {
        for version in [["--tlsv1.3", "--tls-max", "1.3"], ["--tlsv1.2", "--tls-max", "1.2"]] {
            let reply = site.get(&format!("/{file}"), &version);
            assert_eq!((reply.status, reply.field("content-type")), (200, Some(content_type)), "{file}");
            assert!(reply.body == example(file), "{file} is another one");
        }
    }
    assert_eq!(site.get("/", &[]).body, example("index.html"));
    let missing = site.get("/missing", &[]);
    assert_eq!((missing.status, missing.body), (404, example("404.html")));
    assert_eq!(site.get("/how", &[]).field("location"), Some("/how/"));
    ended(site);
}

fn visitors_without_tls_are_sent_to_the_port_that_they_can_reach(place: Place) {
    let directory = place.directory("redirected");
    let site = serving(&directory, "--https-outside=4499").at(place).start(None);
    let reply = site.get_plain("/a/b?c=d");
    assert_eq!((reply.status, reply.field("location")), (301, Some("https://localhost:4499/a/b?c=d")));
    ended(site);
}

fn a_directory_that_is_published_over_http_alone_is_served_without_tls(place: Place) {
    let directory = place.directory("plain");
    let site = System::from_arguments(&["--site".into(), one_page(&directory)]).at(place);
    let site = site.argument("--publish").argument("0:80").start_published(1, None);
    let reply = site.get_plain("/");
    assert_eq!((reply.status, reply.body.as_slice()), (200, PAGE.as_bytes()));
    let run = site.stop();
    run.assert_exit(143);
    run.assert_in_order("website", &["[info] website: http://192.168.254.10:80/ has 1 files"]);
}

#[test]
fn options_for_the_emulators_network_are_taken_from_the_environment() {
    let directory = Place::Machine.directory("forwarded");
    // This port is free, and the emulator takes it soon.
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
    let site = serving(&directory, "")
        .environment("QEMU_NETDEV_EXTRA_OPTS", format!("hostfwd=tcp:127.0.0.1:{port}-192.168.254.10:80"))
        .start(None);
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the emulator listens");
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it takes a request");
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).expect("it answers");
    assert!(reply.starts_with(b"HTTP/1.1 301 "), "{}", String::from_utf8_lossy(&reply));
    ended(site);
}

fn what_a_client_has_or_can_decode_decides_what_it_gets(place: Place) {
    let site = System::from_file("systems/website.toml").at(place).start(None);
    let whole = site.get("/style.css", &[]);
    let etag = whole.field("etag").expect("there is a tag").to_owned();
    let again = site.get("/style.css", &["--header", &format!("If-None-Match: {etag}")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    let since = format!("If-Modified-Since: {}", whole.field("last-modified").expect("there is a date"));
    assert_eq!(site.get("/style.css", &["--header", &since]).status, 304);

    let part = site.get("/style.css", &["--range", "10-29"]);
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[10..30]));
    let parts = site.get("/style.css", &["--range", "0-3,10-29"]);
    let separated = parts.field("content-type").is_some_and(|kind| kind.starts_with("multipart/byteranges"));
    assert!(parts.status == 206 && separated && contains(&parts.body, &whole.body[10..30]));
    assert_eq!(site.get("/style.css", &["--range", "999999-"]).status, 416);

    for (encoding, decoder) in [("gzip", gunzip as fn(&[u8]) -> Vec<u8>), ("br", unbrotli)] {
        let encoded = site.get("/style.css", &["--header", &format!("Accept-Encoding: {encoding}")]);
        assert_eq!(encoded.field("content-encoding"), Some(encoding));
        assert!(decoder(&encoded.body) == whole.body && encoded.body.len() < whole.body.len());
    }
    ended(site);
}

fn certificates_with_keys_of_both_kinds_are_served(place: Place) {
    for (name, key) in
        [("ecdsa", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..]), ("rsa", &["rsa:2048"][..])]
    {
        let directory = place.directory(name);
        fs::create_dir_all(directory.join("site")).expect("a directory can be made");
        fs::write(directory.join("site/index.html"), name).expect("a file can be written");
        let [certificate, private] = certificate(&directory, key);
        let arguments = [
            "--site".into(),
            directory.join("site"),
            "--cert".into(),
            certificate.clone(),
            "--key".into(),
            private,
        ];
        let site = System::from_arguments(&arguments).at(place).start(Some(&certificate));
        for version in [["--tlsv1.3", "--tls-max", "1.3"], ["--tlsv1.2", "--tls-max", "1.2"]] {
            assert_eq!(site.get("/", &version).body, name.as_bytes());
        }
        ended(site);
    }
}

fn a_client_that_comes_back_resumes_its_session(place: Place) {
    let directory = place.directory("resumed");
    let site = serving(&directory, "--logs=website:debug").at(place).start(None);
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = directory.join(version);
        let session = session.to_string_lossy();
        let visit = |keep| {
            let said = site.openssl_says(&[option, keep, &session]);
            assert!(said.contains("Verify return code: 0 (ok)") && said.contains(PAGE), "{said}");
            said
        };
        let (first, second) = (visit("-sess_out"), visit("-sess_in"));
        assert!(first.contains(&format!("New, {version}, ")), "{first}");
        assert!(second.contains(&format!("Reused, {version}, ")), "{second}");
    }
    let run = ended(site);
    run.assert_in_order(
        "website",
        &["TLSv1_2), new", "TLSv1_2), resumed", "TLSv1_3), new", "TLSv1_3), resumed"]
            .map(|session| format!("[debug] website: 192.168.254.1: Some({session} session"))
            .each_ref()
            .map(String::as_str),
    );
}

fn a_large_file_arrives_whole(place: Place) {
    let directory = place.directory("large");
    let content: Vec<u8> =
        (0..50_u32 << 18).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    fs::create_dir_all(directory.join("site")).expect("a directory can be made");
    fs::write(directory.join("site/large.bin"), &content).expect("a file can be written");
    let site = serving(&directory, "").at(place).start(None);
    let reply = site.get("/large.bin", &[]);
    assert!(reply.status == 200 && reply.body == content, "{} bytes", reply.body.len());
    ended(site);
}

fn two_hundred_connections_are_served_at_once(place: Place) {
    let site = System::from_file("systems/website.toml").at(place).start(None);
    let mut clients: Vec<TlsClient> = (0..200).map(|_| site.connect()).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| ask(client, "/robots.txt"));
        clients.iter_mut().for_each(|client| assert!(ends_with(client, &example("robots.txt"))));
    }
    ended(site);
}

fn ten_thousand_requests_leave_the_memory_as_it_was(place: Place) {
    let directory = place.directory("memory");
    let mut site = serving(&directory, "--logs=access:warning,website:debug").at(place).start(None);
    let visit = |site: &Running, number| {
        let requests: Vec<String> =
            (0..number).map(|n| format!("url = \"{{https}}/?{n}\"\noutput = /dev/null\n")).collect();
        let list = directory.join("requests");
        fs::write(&list, requests.concat().replace("{https}", site.address()))
            .expect("a file can be written");
        site.curl_says(&["--config", &list.to_string_lossy()]);
    };
    // What has served a connection is kept for the next one, and the last one may not be over when that comes.
    drop((0..10).map(|_| site.connect()).collect::<Vec<_>>());
    visit(&site, 100);
    let before = site.memory_after(1 + 10 + 1);
    visit(&site, 10_000);
    site.assert_memory_is_back(before, |site| assert_eq!(site.get("/", &[]).status, 200));
    ended(site);
}

fn whatever_clients_do_the_site_still_answers(place: Place) {
    let directory = place.directory("hostile");
    let site = serving(&directory, "--request-time=2 --idle-time=60 --send-time=2").at(place).start(None);
    let still_answers = |what: &str| assert_eq!(site.get("/", &[]).status, 200, "after {what}");

    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1], &[0; 70_000], b"\xff"]
    {
        let mut socket = site.connect_raw();
        // The server may have ended the connection before all is written.
        let _ = socket.write_all(garbage);
        let _ = socket.read(&mut [0; 1000]);
        still_answers("garbage on the port for TLS");
    }
    let half_open: Vec<_> = (0..50).map(|_| (site.connect_raw(), site.connect_plain())).collect();
    still_answers("connections that say nothing");
    drop(half_open);

    let mut slow = site.connect_plain();
    slow.write_all(b"GET / HT").expect("the server listens");
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    still_answers("a request that never ends");

    let mut deaf = site.connect();
    for _ in 0..500 {
        if deaf.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
            break;
        }
    }
    thread::sleep(Duration::from_secs(1));
    still_answers("a client that takes nothing in");

    for malformed in [
        "GET / HTTP/1.1\n\n",
        "GET /../x HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\n\r\n",
        "BREW / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = site.connect();
        client.write_all(malformed.as_bytes()).expect("the server listens");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("there is an answer");
        assert!(answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"), "{malformed:?}");
        still_answers("malformed requests");
    }
    ended(site);
}

/// The system of `DIRECTORY/site`, which has one page at least, with more arguments for the unikernel.
fn serving(directory: &Path, arguments: &str) -> System {
    System::described(&website(one_page(directory), arguments))
}

/// Ends a system; nothing in it may have gone wrong.
fn ended(site: Running) -> Run {
    let run = site.stop();
    // 143 is what is left of SIGTERM.
    run.assert_exit(143);
    run.assert_in_order("website", &["[info] website: https://192.168.254.10:443/ has "]);
    run
}

fn ask(client: &mut TlsClient, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).expect("the server listens");
}

/// Reads until this is the end of what came; false if the connection ends before.
fn ends_with(client: &mut TlsClient, end: &[u8]) -> bool {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while !all.ends_with(end) {
        match client.read(&mut buffer) {
            Ok(count @ 1..) => all.extend(&buffer[..count]),
            _ => return false,
        }
    }
    true
}

fn example(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems/website").join(file);
    fs::read(path).expect("the example has this file")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded).expect("it is gzip");
    decoded
}

fn unbrotli(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded).expect("it is Brotli");
    decoded
}
