//! Finds the end of a request head, byte by byte.
//!
//! What is decided here is decided at a certain byte, whatever the pieces in which the bytes arrive.

use crate::{MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE, Status};

/// How far a request head was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scanner {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// Lines that ended, without empty ones before the request line.
    lines: usize,
    /// Empty lines before the request line.
    blanks: usize,
    /// The last byte.
    previous: u8,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// No end yet.
    Incomplete,
    /// The head is this many bytes long, with the empty line at its end.
    Complete(usize),
    /// It cannot become a head.
    Refused(Status),
}

impl Scanner {
    /// Looks at what was not there yet. The bytes begin where the request does.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scan {
        for byte in bytes.get(self.seen..).unwrap_or_default() {
            match self.step(*byte) {
                Scan::Incomplete => {}
                decided => return decided,
            }
        }
        Scan::Incomplete
    }

    /// Whether anything of the request has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        self.seen != 0
    }

    fn step(&mut self, byte: u8) -> Scan {
        let previous = core::mem::replace(&mut self.previous, byte);
        self.seen += 1;
        if (previous == b'\r') != (byte == b'\n') {
            // A carriage return alone, or a line feed alone: RFC 9112, section 2.2.
            return Scan::Refused(Status::BadRequest);
        }
        if byte == b'\n' {
            if let Some(decided) = self.end_line() {
                return decided;
            }
        } else if !self.is_allowed(byte) {
            return Scan::Refused(Status::BadRequest);
        }
        // The CR of the line's end is one byte more.
        if self.lines == 0 && self.seen - self.line > MAX_REQUEST_LINE + 1 {
            return Scan::Refused(Status::UriTooLong);
        }
        if self.seen >= MAX_HEAD { Scan::Refused(Status::HeaderFieldsTooLarge) } else { Scan::Incomplete }
    }

    fn end_line(&mut self) -> Option<Scan> {
        let empty = self.seen - self.line == "\r\n".len();
        self.line = self.seen;
        if !empty {
            self.lines += 1;
            return (self.lines > 1 + MAX_FIELDS).then_some(Scan::Refused(Status::HeaderFieldsTooLarge));
        }
        if self.lines != 0 {
            return Some(Scan::Complete(self.seen));
        }
        // Some clients end the body of the previous request with an empty line that is not part of it.
        self.blanks += 1;
        (self.blanks > 1).then_some(Scan::Refused(Status::BadRequest))
    }

    fn is_allowed(&self, byte: u8) -> bool {
        match byte {
            b'\r' | b' '..=b'~' => true,
            b'\t' | 0x80.. => self.lines != 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        assert_eq!(Scanner::default().scan(bytes), Scan::Complete(bytes.len() - 3));
        assert_eq!(Scanner::default().scan(b"\r\nGET / HTTP/1.1\r\n\r\n"), Scan::Complete(20));
        assert_eq!(Scanner::default().scan(&bytes[..26]), Scan::Incomplete);
    }

    #[test]
    fn a_tls_client_on_the_plain_port_is_refused_at_once() {
        assert_eq!(Scanner::default().scan(b"\x16\x03\x01"), Scan::Refused(Status::BadRequest));
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let line = |length: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length - 14));
        assert!(matches!(Scanner::default().scan(line(MAX_REQUEST_LINE).as_bytes()), Scan::Complete(_)));
        let long = line(MAX_REQUEST_LINE + 1);
        assert_eq!(Scanner::default().scan(long.as_bytes()), Scan::Refused(Status::UriTooLong));
        let head = |length: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(length - 23));
        assert_eq!(Scanner::default().scan(head(MAX_HEAD).as_bytes()), Scan::Complete(MAX_HEAD));
        let long = head(MAX_HEAD + 1);
        assert_eq!(Scanner::default().scan(long.as_bytes()), Scan::Refused(Status::HeaderFieldsTooLarge));
        let fields = |number: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(number));
        assert!(matches!(Scanner::default().scan(fields(MAX_FIELDS).as_bytes()), Scan::Complete(_)));
        let many = fields(MAX_FIELDS + 1);
        assert_eq!(Scanner::default().scan(many.as_bytes()), Scan::Refused(Status::HeaderFieldsTooLarge));
    }
}
