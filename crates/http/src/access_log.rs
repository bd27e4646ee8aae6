//! One line for each request.

use core::fmt;
use core::time::Duration;

use crate::Exchange;

/// A line of the log: who asked, for what, with which result, how many bytes of body, and how long it took.
///
/// `192.168.254.2 GET /index.html 200 612 0.4ms`
#[derive(Debug, Clone, Copy)]
pub struct Line<'a, P> {
    /// Who asked.
    pub peer: P,
    /// What was asked and answered.
    pub exchange: &'a Exchange<'a>,
    /// From the end of the request's head to the end of the response.
    pub duration: Duration,
    /// Whether the client has taken in all of the response.
    pub complete: bool,
}

impl<P: fmt::Display> fmt::Display for Line<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exchange { method, target, response } = self.exchange;
        let cut = |text| Cut(if str::is_empty(text) { "-" } else { text });
        write!(f, "{} {} {}", self.peer, cut(method), cut(target))?;
        write!(f, " {} {}", response.status().code(), response.body_length())?;
        let tenths = self.duration.as_micros() / 100;
        write!(f, " {}.{}ms", tenths / 10, tenths % 10)?;
        f.write_str(if self.complete { "" } else { " incomplete" })
    }
}

/// Text that is not much longer than what one wants to read.
struct Cut<'a>(&'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..LONGEST) {
            Some(start) if start.len() < self.0.len() => write!(f, "{start}..."),
            _ => f.write_str(self.0),
        }
    }
}

/// Characters of a target that are shown, so that a line stays one line of the log.
const LONGEST: usize = 120;
