//! A connection: bytes in, responses out.

use alloc::vec::Vec;
use core::fmt;

use crate::request::{Body, Request};
use crate::response::{self, Text, Writer};
use crate::scan::{Scan, Scanner};
use crate::{MAX_HEAD, MAX_REQUEST_LINE, Response, Service, Status};

/// The state of a connection.
///
/// ```text
/// loop {
///     match connection.next(&service, now) {
///         Next::Read(_) => receive into connection.room(), then connection.received(count)
///         Next::Answer(exchange) => send exchange.response
///         Next::Close => return
///     }
/// }
/// ```
///
/// The result does not depend on the pieces in which the bytes arrive.
#[derive(Debug)]
pub struct Connection {
    /// What has arrived: of `MAX_HEAD` bytes those from `start` to `end`.
    input: Vec<u8>,
    start: usize,
    end: usize,
    scanner: Scanner,
    /// Bytes of a request's body that are still to come and to be thrown away.
    skip: u64,
    /// The last response was the last one.
    closed: bool,
    output: Text,
}

/// What to do next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and nothing here allocates")]
pub enum Next<'a> {
    /// Wait for more bytes.
    Read(Stage),
    /// Send a response. If it [closes](Response::closes), the connection ends after it.
    Answer(Exchange<'a>),
    /// End the connection.
    Close,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A request, of which nothing is there yet. The client may keep the connection for later.
    Idle,
    /// The rest of a request.
    Head,
    /// The rest of a body.
    Body,
}

/// A request and its response.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The method as it was sent; empty if the request could not be read.
    pub method: &'a str,
    /// The target as it was sent, in visible ASCII; empty if the request could not be read.
    pub target: &'a str,
    /// The answer.
    pub response: Response<'a>,
}

/// There is no memory for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl Connection {
    /// A new connection, with all the memory that it will ever use.
    ///
    /// # Errors
    /// If there is not as much.
    pub fn new() -> Result<Self, OutOfMemory> {
        let mut input = Vec::new();
        input.try_reserve_exact(MAX_HEAD).map_err(|_| OutOfMemory)?;
        input.resize(MAX_HEAD, 0);
        let output = Text::new(OUTPUT)?;
        Ok(Self { input, start: 0, end: 0, scanner: Scanner::default(), skip: 0, closed: false, output })
    }

    /// Forgets everything, for the next client.
    pub fn reset(&mut self) {
        (self.start, self.end, self.scanner) = (0, 0, Scanner::default());
        (self.skip, self.closed) = (0, false);
    }

    /// Where the next bytes go. Never empty after [`Next::Read`].
    pub fn room(&mut self) -> &mut [u8] {
        if self.start != 0 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.input.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes are in [`Connection::room`].
    pub fn received(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.input.len());
    }

    /// Decides what to do next. `now` are seconds since 1970-01-01 00:00 UTC, or [`NO_CLOCK`](crate::NO_CLOCK).
    pub fn next<'a>(&'a mut self, service: &Service<'a>, now: u64) -> Next<'a> {
        if self.closed {
            return Next::Close;
        }
        if !self.skip_body() {
            return Next::Read(Stage::Body);
        }
        let arrived = self.input.get(self.start..self.end).unwrap_or_default();
        let length = match self.scanner.scan(arrived) {
            Scan::Incomplete if self.scanner.has_begun() => return Next::Read(Stage::Head),
            Scan::Incomplete => return Next::Read(Stage::Idle),
            Scan::Refused(status) => {
                return Next::Answer(refuse(&mut self.closed, &mut self.output, status, now));
            }
            Scan::Complete(length) => length,
        };
        let head = arrived.get(..length).unwrap_or_default();
        let request = match Request::parse(head) {
            Ok(request) => request,
            Err(status) => return Next::Answer(refuse(&mut self.closed, &mut self.output, status, now)),
        };
        self.start += length;
        self.scanner = Scanner::default();
        let response = service.answer(&request, now, &mut self.output);
        self.closed = response.closes();
        if let Body::Length(length) = request.body {
            self.skip = length;
        }
        Next::Answer(Exchange { method: request.method_text, target: request.target_text, response })
    }

    /// What to send to a client that takes too long for its request: nothing if it has not begun one. The connection ends.
    pub fn time_out(&mut self, now: u64) -> Option<Exchange<'_>> {
        let begun = !self.closed && self.skip == 0 && self.scanner.has_begun();
        self.closed = true;
        begun.then(|| refuse(&mut self.closed, &mut self.output, Status::RequestTimeout, now))
    }

    /// Throws away what has arrived of a body. Whether that was all of it.
    fn skip_body(&mut self) -> bool {
        let arrived = self.end - self.start;
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(arrived);
        self.start += skipped;
        self.skip -= skipped as u64;
        self.skip == 0
    }
}

/// Ends a connection because of what the client sent, or did not send.
fn refuse<'a>(closed: &mut bool, output: &'a mut Text, status: Status, now: u64) -> Exchange<'a> {
    *closed = true;
    let writer = Writer::begin(output, status, response::Connection::Close, now);
    Exchange { method: "", target: "", response: writer.explanation(true) }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no memory for another connection")
    }
}

impl core::error::Error for OutOfMemory {}

/// Bytes for a response without its contents: an address that a visitor is sent to, or the text between many ranges, and
/// the other fields.
const OUTPUT: usize = MAX_REQUEST_LINE + 0x1000;
