//! What a web server reads: its site, and what clients send.

use palisade_http::accept::AcceptEncoding;
use palisade_http::range::{self, Ranges};
use palisade_http::target::{Escaped, normalise};
use palisade_http::{Connection, MAX_RANGES, Next, Redirect, Service, Site};
use palisade_site::{Archive, Encoding};

use crate::samples;

/// A site archive is refused, or everything in it can be found and read.
///
/// The bytes are tried as they are, and with the right checksum.
pub fn site_archive(bytes: &[u8]) {
    use_every_entry(bytes);
    let mut bytes = bytes.to_vec();
    samples::finish_archive(&mut bytes);
    use_every_entry(&bytes);
}

/// Whatever a client sends is answered or waited for, and the pieces in which it arrives change nothing.
///
/// The first byte is the length of the pieces.
pub fn http_request(bytes: &[u8]) {
    let Some((length, input)) = bytes.split_first() else { return };
    let archive = Archive::parse(samples::site()).expect("the sample is an archive");
    for service in [
        Service::Site(Site { archive, hsts: Some(1) }),
        Service::Redirect(Redirect { http: 80, https: 443, https_outside: None }),
    ] {
        let pieces = input.chunks(usize::from(*length).max(1));
        assert_eq!(
            converse(&service, [input].into_iter()),
            converse(&service, pieces),
            "pieces change something"
        );
    }
}

/// A path is refused, or leads to something inside the root, and written as it stands in an address it is the same path.
pub fn http_path(bytes: &[u8]) {
    let Ok(path) = core::str::from_utf8(bytes) else { return };
    let mut buffer = vec![0; path.len()];
    let Ok(normal) = normalise(path, &mut buffer) else { return };
    assert!(normal.starts_with('/') && normal.split('/').all(|segment| segment != ".." && segment != "."));
    let escaped = Escaped(normal).to_string();
    let mut again = vec![0; escaped.len()];
    assert_eq!(normalise(&escaped, &mut again), Ok(normal));
}

/// The ranges of a request are within the content and do not overlap.
///
/// The first two bytes are the length of the content.
pub fn http_range(bytes: &[u8]) {
    let Some((length, value)) = bytes.split_first_chunk::<2>() else { return };
    let (length, Ok(value)) = (usize::from(u16::from_le_bytes(*length)), core::str::from_utf8(value)) else {
        return;
    };
    let Ranges::Some(parts) = range::parse(value, length) else { return };
    assert!((1..=MAX_RANGES).contains(&parts.count()));
    let mut parts: Vec<_> = parts.iter().collect();
    parts.sort_by_key(|range| range.start);
    assert!(parts.iter().all(|range| range.start < range.end && range.end <= length));
    assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
}

/// The encoding of a response is one that is there.
///
/// The first byte says which are.
pub fn accept_encoding(bytes: &[u8]) {
    let Some((there, value)) = bytes.split_first() else { return };
    let is_there =
        |encoding| Encoding::ALL.iter().zip(0..).any(|(one, bit)| *one == encoding && there >> bit & 1 == 1);
    if let Some(encoding) = AcceptEncoding::parse([value].into_iter()).choose(is_there) {
        assert!(is_there(encoding));
    }
}

fn use_every_entry(bytes: &[u8]) {
    let Ok(archive) = Archive::parse(bytes) else { return };
    for entry in archive.entries() {
        let found = archive.lookup(entry.path()).expect("an entry is found by its path");
        assert_eq!(found.content(Encoding::Identity), entry.content(Encoding::Identity));
        assert!(found.content(Encoding::Identity).is_some() && !found.content_type().is_empty());
        let tags = Encoding::ALL.map(|encoding| entry.etag(encoding).as_str().to_owned());
        assert!(tags[0] != tags[1] && tags[1] != tags[2]);
    }
    let _ = (archive.not_found(), archive.index_of("/"));
}

/// What a connection sends when these pieces arrive, and whether it ends.
fn converse<'p>(service: &Service<'static>, pieces: impl Iterator<Item = &'p [u8]>) -> (Vec<u8>, bool) {
    let mut connection = Connection::new().expect("there is memory");
    let mut sent = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = connection.room();
            let count = room.len().min(piece.len());
            assert_ne!(count, 0, "a connection that reads has room");
            room[..count].copy_from_slice(&piece[..count]);
            connection.received(count);
            piece = &piece[count..];
            loop {
                match connection.next(service, 1_800_000_000) {
                    Next::Read(_) => break,
                    Next::Close => return (sent, true),
                    Next::Answer(exchange) => {
                        sent.extend(exchange.response.head());
                        exchange.response.body().for_each(|piece| sent.extend(piece));
                    }
                }
            }
        }
    }
    (sent, false)
}
