//! A client that writes bytes and reads responses.

use std::sync::LazyLock;

use palisade_http::{Connection, Next, Redirect, Service, Site, Stage};
use palisade_site::Archive;
use palisade_site::pack::{File, pack_files};

/// The time at which everything happens: 2027-01-15 08:00 UTC.
pub(crate) const NOW: u64 = 1_800_000_000;
/// When all files were changed.
pub(crate) const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// All that a connection sent, and whether it was closed then.
pub(crate) struct Talk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) closed: bool,
    /// Method, target, status and length of the body of each response.
    pub(crate) exchanges: Vec<(String, String, u16, usize)>,
}

/// Sends pieces, one after the other, and collects the responses.
pub(crate) fn talk<'p>(service: &Service<'static>, pieces: impl IntoIterator<Item = &'p [u8]>) -> Talk {
    let mut connection = Connection::new().unwrap();
    let mut talk = Talk { bytes: Vec::new(), closed: false, exchanges: Vec::new() };
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = connection.room();
            assert!(!room.is_empty(), "a connection that wants to read has room");
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
            connection.received(count);
            piece = &piece[count..];
            if drain(&mut connection, service, &mut talk).is_none() {
                talk.closed = true;
                return talk;
            }
        }
    }
    talk
}

/// Takes all responses that there are. None if the connection was closed.
pub(crate) fn drain(
    connection: &mut Connection,
    service: &Service<'static>,
    talk: &mut Talk,
) -> Option<Stage> {
    loop {
        match connection.next(service, NOW) {
            Next::Read(stage) => return Some(stage),
            Next::Close => return None,
            Next::Answer(exchange) => {
                let response = exchange.response;
                talk.bytes.extend(response.head());
                response.body().for_each(|piece| talk.bytes.extend(piece));
                let (status, length) = (response.status().code(), response.body_length());
                talk.exchanges.push((exchange.method.to_owned(), exchange.target.to_owned(), status, length));
            }
        }
    }
}

/// A response taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Takes responses apart; `methods` are those of the requests, which decide whether there is a body.
pub(crate) fn responses(mut bytes: &[u8], methods: &[&str]) -> Vec<Received> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let fields: Vec<(String, String)> = lines
            .map(|line| {
                line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()
            })
            .collect();
        let mut received = Received { status, fields, body: Vec::new() };
        bytes = &bytes[end + 4..];
        let without = methods.get(all.len()) == Some(&"HEAD") || matches!(status, 204 | 304);
        if !without {
            let length = received.field("Content-Length").expect("a length").parse().unwrap();
            received.body = bytes[..length].to_vec();
            bytes = &bytes[length..];
        }
        all.push(received);
    }
    all
}

/// The only response to a request.
pub(crate) fn ask(request: &str) -> Received {
    ask_of(&site(), request)
}

pub(crate) fn ask_of(service: &Service<'static>, request: &str) -> Received {
    let method = request.split(' ').next().unwrap();
    let mut all = responses(&talk(service, [request.as_bytes()]).bytes, &[method]);
    assert_eq!(all.len(), 1, "{request}");
    all.remove(0)
}

/// The response to a GET with these fields.
pub(crate) fn get(path: &str, fields: &str) -> Received {
    ask(&format!("GET {path} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n"))
}

/// A site over TLS.
pub(crate) fn site() -> Service<'static> {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let files = [
            ("/index.html", page().into_bytes()),
            ("/404.html", b"<h1>Lost</h1>".to_vec()),
            ("/digits.txt", b"0123456789".to_vec()),
            ("/empty.bin", Vec::new()),
            ("/a b/index.html", b"<p>in a directory</p>".to_vec()),
            ("/gr\u{fc}n.txt", b"green".to_vec()),
        ];
        let file =
            |(path, content): (&str, _)| File { path: path.to_owned(), content, modified: 784_111_777 };
        pack_files(files.into_iter().map(file).collect()).bytes
    });
    Service::Site(Site { archive: Archive::parse(&BYTES).unwrap(), hsts: Some(1000) })
}

pub(crate) fn plain() -> Service<'static> {
    Service::Redirect(Redirect { http: 80, https: 443, https_outside: Some(4433) })
}

/// A page that is worth compressing.
pub(crate) fn page() -> String {
    "<p>All work and no play makes a dull page.</p>\n".repeat(50)
}
