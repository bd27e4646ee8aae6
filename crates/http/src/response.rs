//! Responses: a head, and pieces of contents with text between them.

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Range;

use crate::date::HttpDate;
use crate::{MAX_RANGES, NO_CLOCK, OutOfMemory, Status};

/// A response, ready to be sent: first [`Response::head`], then each piece of [`Response::body`].
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    status: Status,
    /// The head, and the text between pieces.
    text: &'a [u8],
    head: usize,
    body: Body<'a>,
    close: bool,
}

impl<'a> Response<'a> {
    /// Status line and fields, with the empty line at their end.
    #[must_use]
    pub fn head(&self) -> &'a [u8] {
        self.text.get(..self.head).unwrap_or_default()
    }

    /// The pieces of the body. None of them is empty.
    pub fn body(&self) -> impl Iterator<Item = &'a [u8]> {
        let text = self.text;
        let pieces = self.body.pieces.into_iter().take(self.body.count).map(move |piece| match piece {
            Piece::Text(start, end) => text.get(start..end).unwrap_or_default(),
            Piece::Content(content) => content,
        });
        pieces.filter(|piece| !piece.is_empty())
    }

    /// Length of the body in bytes.
    #[must_use]
    pub fn body_length(&self) -> usize {
        self.body().map(<[u8]>::len).sum()
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether the connection ends with this response.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.close
    }
}

/// The pieces of a body, without the text that they refer to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'s> {
    pieces: [Piece<'s>; MAX_PIECES],
    count: usize,
}

#[derive(Debug, Clone, Copy)]
enum Piece<'s> {
    /// From here to there in the text.
    Text(usize, usize),
    Content(&'s [u8]),
}

impl<'s> Body<'s> {
    pub(crate) const EMPTY: Self = Self { pieces: [Piece::Text(0, 0); MAX_PIECES], count: 0 };

    pub(crate) fn content(content: &'s [u8]) -> Self {
        let mut body = Self::EMPTY;
        body.push(Piece::Content(content));
        body
    }

    pub(crate) fn push_content(&mut self, content: &'s [u8]) {
        self.push(Piece::Content(content));
    }

    pub(crate) fn push_text(&mut self, range: Range<usize>) {
        self.push(Piece::Text(range.start, range.end));
    }

    fn push(&mut self, piece: Piece<'s>) {
        if let Some(place) = self.pieces.get_mut(self.count) {
            *place = piece;
            self.count += 1;
        }
    }
}

/// Writes a response into the memory that a connection has for it.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    text: &'a mut Text,
    status: Status,
    close: bool,
}

impl<'a> Writer<'a> {
    /// Begins a response. `stay` is what to say about the connection: nothing where staying is the rule.
    pub(crate) fn begin(text: &'a mut Text, status: Status, connection: Connection, now: u64) -> Self {
        text.bytes.clear();
        text.overflow = false;
        let mut writer = Self { text, status, close: connection == Connection::Close };
        let _ = write!(writer.text, "HTTP/1.1 {} {}\r\n", status.code(), status.reason());
        // RFC 9110, section 6.6.1: no date of a server without a clock.
        if now != NO_CLOCK {
            writer.field("Date", HttpDate(now));
        }
        writer.field("Server", "Palisade");
        match connection {
            Connection::Close => writer.field("Connection", "close"),
            Connection::KeepAlive => writer.field("Connection", "keep-alive"),
            Connection::Stay => {}
        }
        writer
    }

    /// Adds a field.
    pub(crate) fn field(&mut self, name: &str, value: impl fmt::Display) {
        let _ = write!(self.text, "{name}: {value}\r\n");
    }

    /// Ends a response without a body, and without a length.
    pub(crate) fn end(self) -> Response<'a> {
        self.finish(Body::EMPTY, true)
    }

    /// Ends a response with a content as its body; of which only the length is told if `with_body` is not set.
    pub(crate) fn content(mut self, content: &'a [u8], with_body: bool) -> Response<'a> {
        self.field("Content-Length", content.len());
        self.finish(Body::content(content), with_body)
    }

    /// Ends a response with a line that says what its status is.
    pub(crate) fn explanation(mut self, with_body: bool) -> Response<'a> {
        self.field("Content-Type", "text/plain; charset=utf-8");
        let (code, reason) = (self.status.code(), self.status.reason());
        // Three digits, a blank, a line feed.
        self.field("Content-Length", reason.len() + 5);
        let _ = write!(self.text, "\r\n");
        let head = self.text.bytes.len();
        let _ = writeln!(self.text, "{code} {reason}");
        let mut body = Body::EMPTY;
        body.push_text(head..self.text.bytes.len());
        self.respond(head, body, with_body)
    }

    /// Ends a response with text and contents: `parts` gives, one after the other, what stands before a content and the
    /// content. What it writes is written twice, once to learn its length.
    pub(crate) fn parts(
        mut self,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        write: impl Fn(&mut dyn Write, Option<usize>) -> fmt::Result,
    ) -> Response<'a> {
        let mut length = Counter(0);
        for (number, content) in parts.clone().enumerate() {
            let _ = write(&mut length, Some(number));
            length.0 += content.len();
        }
        let _ = write(&mut length, None);
        self.field("Content-Length", length.0);
        let _ = write!(self.text, "\r\n");
        let head = self.text.bytes.len();
        let mut body = Body::EMPTY;
        let mut start = head;
        for (number, content) in parts.enumerate() {
            let _ = write(self.text, Some(number));
            body.push_text(start..self.text.bytes.len());
            body.push_content(content);
            start = self.text.bytes.len();
        }
        let _ = write(self.text, None);
        body.push_text(start..self.text.bytes.len());
        self.respond(head, body, true)
    }

    fn finish(self, body: Body<'a>, with_body: bool) -> Response<'a> {
        let _ = write!(self.text, "\r\n");
        let head = self.text.bytes.len();
        self.respond(head, body, with_body)
    }

    fn respond(self, head: usize, body: Body<'a>, with_body: bool) -> Response<'a> {
        let Self { text, status, close } = self;
        if text.overflow {
            // No response needs more than a connection has. Should one do so, half of it must not be taken for the whole.
            let (text, status) = (FALLBACK, Status::InternalServerError);
            return Response { status, text, head: text.len(), body: Body::EMPTY, close: true };
        }
        let body = if with_body { body } else { Body::EMPTY };
        Response { status, text: &text.bytes, head, body, close }
    }
}

/// What a response says about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It stays, as is the rule in HTTP/1.1.
    Stay,
    /// It stays, which a client of HTTP/1.0 has to be told.
    KeepAlive,
    /// It ends.
    Close,
}

/// Text of bounded length.
#[derive(Debug)]
pub(crate) struct Text {
    bytes: Vec<u8>,
    /// Something did not fit.
    overflow: bool,
}

impl Text {
    pub(crate) fn new(capacity: usize) -> Result<Self, OutOfMemory> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(capacity).map_err(|_| OutOfMemory)?;
        Ok(Self { bytes, overflow: false })
    }

    /// All of its memory, for something else than a response.
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        self.bytes.resize(self.bytes.capacity(), 0);
        &mut self.bytes
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.bytes.capacity() - self.bytes.len() < text.len() {
            self.overflow = true;
            return Err(fmt::Error);
        }
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

struct Counter(usize);

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Text before each content, the contents, and text at the end.
const MAX_PIECES: usize = 2 * MAX_RANGES + 1;

/// The response in place of one that does not fit.
const FALLBACK: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_becomes_an_error_and_never_half_a_response() {
        for capacity in 0..200 {
            let mut text = Text::new(capacity).unwrap();
            let capacity = text.bytes.capacity();
            let response = Writer::begin(&mut text, Status::Ok, Connection::Stay, 0).explanation(true);
            let fits = response.head().len() + response.body_length() <= capacity;
            match response.status() {
                Status::Ok => assert!(fits && !response.closes()),
                status => assert_eq!((status, response.closes()), (Status::InternalServerError, true)),
            }
            assert!(response.head().ends_with(b"\r\n\r\n"));
        }
    }
}
