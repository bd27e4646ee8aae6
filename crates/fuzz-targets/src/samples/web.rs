//! What a web server reads: its site, and what clients send.

use std::sync::LazyLock;

use palisade_site::layout::{CHECKSUM, Header};
use palisade_site::pack::{File, pack_files};
use zerocopy::FromBytes;

/// Archives of sites: one with some files, one without any.
#[must_use]
pub fn site_archives() -> Vec<Vec<u8>> {
    vec![site().to_vec(), pack_files(Vec::new()).bytes]
}

/// Requests. The first byte is the length of the pieces in which they arrive.
#[must_use]
pub fn http_requests() -> Vec<Vec<u8>> {
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br;q=0.5\r\nIf-None-Match: W/\"x\", \"y\"\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: a:80\r\nRange: bytes=0-1,4-,-1\r\nIf-Range: \"x\"\r\n\r\nHEAD / HTTP/1.0\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET * HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET http://a/b/../%61.txt?c HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n\r\n",
    ];
    let cut = |(request, length): (&str, u8)| [&[length], request.as_bytes()].concat();
    requests.into_iter().zip((1..).step_by(9)).map(cut).collect()
}

/// Paths of requests.
#[must_use]
pub fn http_paths() -> Vec<Vec<u8>> {
    ["/", "/a/b.html", "/a%20b/./../c//d", "/%C3%BC/..", "/%2e%2e/%2f"]
        .map(|path| path.as_bytes().to_vec())
        .to_vec()
}

/// Values of `Range`. The first two bytes are the length of the content.
#[must_use]
pub fn http_ranges() -> Vec<Vec<u8>> {
    let ranges = ["bytes=0-0", "bytes=1-", "bytes=-5", "bytes=0-1, 3-4 ,-1", "bytes=99999999999999999999-"];
    ranges.map(|range| [b"\x0a\x00", range.as_bytes()].concat()).to_vec()
}

/// Values of `Accept-Encoding`. The first byte says which variants there are.
#[must_use]
pub fn accept_encodings() -> Vec<Vec<u8>> {
    let values = ["gzip, deflate, br", "gzip;q=0.5, *;q=0", "identity;q=0.001,,x-gzip ; q=1.000"];
    values.map(|value| [b"\x07", value.as_bytes()].concat()).to_vec()
}

/// A small site.
pub(crate) fn site() -> &'static [u8] {
    static SITE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let page = "<p>to and fro</p>".repeat(20);
        let files = [
            ("/index.html", page.as_str()),
            ("/a.txt", "0123456789"),
            ("/b/index.html", "b"),
            ("/404.html", "?"),
        ];
        let file = |(path, content): (&str, &str)| File {
            path: path.into(),
            content: content.into(),
            modified: 784_111_777,
        };
        pack_files(files.map(file).into()).bytes
    });
    &SITE
}

/// Puts the checksum of an archive right, if its index is there.
pub(crate) fn finish_archive(bytes: &mut [u8]) {
    let Ok((header, _)) = Header::read_from_prefix(bytes) else { return };
    let entries = u64::from(header.entries.get()) * size_of::<palisade_site::layout::Record>() as u64;
    let index = size_of::<Header>() as u64 + entries + u64::from(header.text.get());
    let Some(index) = usize::try_from(index).ok().and_then(|index| bytes.get_mut(..index)) else { return };
    index[CHECKSUM..CHECKSUM + 4].fill(0);
    let checksum = index.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    index[CHECKSUM..CHECKSUM + 4].copy_from_slice(&(!checksum).to_le_bytes());
}
