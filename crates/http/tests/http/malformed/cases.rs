//! What is no request. The tests of the whole system send it too.

use Then::{Ends, GoesOn};

/// Each request, its status, and whether the connection goes on.
pub(crate) const CASES: [(&str, u16, Then); 88] = [
    // The request line.
    ("GET\r\n\r\n", 400, Ends),
    ("GET /\r\n\r\n", 400, Ends),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GE T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("G\u{0}T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("(GET) / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("\r\n\r\n", 400, Ends),
    ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", 400, Ends),
    ("hello\r\n\r\n", 400, Ends),
    // Methods.
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Ends),
    ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Ends),
    ("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", 501, Ends),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, GoesOn),
    // Versions.
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, Ends),
    ("PRI * HTTP/2.0\r\n\r\n", 505, Ends),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, Ends),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, Ends),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / HTTP/1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / XTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    // Targets.
    ("GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET /#top HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, Ends),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, GoesOn),
    ("GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /..%5c..%5cx HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /%c0%ae HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /%u0041 HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400, GoesOn),
    ("GET /..%2f..%2fetc HTTP/1.1\r\nHost: a\r\n\r\n", 404, GoesOn),
    // Line ends.
    ("GET / HTTP/1.1\nHost: a\n\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\rHost: a\r\r", 400, Ends),
    // Fields.
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tfolded\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\u{fc}: z\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{0}\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{1b}[2J\r\n\r\n", 400, Ends),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, Ends),
    ("GET http://a/ HTTP/1.1\r\n\r\n", 400, Ends),
    // Where the next request would begin.
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413, Ends),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        Ends,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501, Ends),
    ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Ends),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\n\r\n", 417, Ends),
];

/// Whether the connection goes on after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Yes: it is known where the next request begins.
    GoesOn,
    /// No.
    Ends,
}
