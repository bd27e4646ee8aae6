//! What the log is told about things that were refused: each once in a while, and few at a time, because whoever causes them
//! must not fill it.

use std::collections::VecDeque;

use smoltcp::time::{Duration, Instant};

/// Lines to be said.
#[derive(Debug)]
pub(crate) struct Complaints {
    lines: Vec<String>,
    /// What was said lately, and when.
    said: VecDeque<(Instant, String)>,
    unsaid: u64,
    next_summary: Instant,
}

impl Complaints {
    pub(crate) const fn new() -> Self {
        Self { lines: Vec::new(), said: VecDeque::new(), unsaid: 0, next_summary: Instant::ZERO }
    }

    /// Says a line, unless it was said a moment ago or too many others were.
    pub(crate) fn add(&mut self, line: String, now: Instant) {
        while self.said.front().is_some_and(|(when, _)| *when + MEMORY <= now) {
            self.said.pop_front();
        }
        if self.said.iter().any(|(_, said)| *said == line) {
            return;
        }
        if self.said.len() >= MOST_SAID {
            self.unsaid += 1;
            return;
        }
        self.said.push_back((now, line.clone()));
        self.lines.push(line);
    }

    /// The lines to be said now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<String> {
        if self.unsaid > 0 && self.next_summary <= now {
            self.lines.push(format!("{} more refusals", self.unsaid));
            self.unsaid = 0;
            self.next_summary = now + MEMORY;
        }
        std::mem::take(&mut self.lines)
    }
}

/// How long a line is not said again.
const MEMORY: Duration = Duration::from_secs(60);
/// Most lines in that time.
const MOST_SAID: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_once_in_a_while_and_a_flood_is_counted() {
        let mut complaints = Complaints::new();
        let start = Instant::from_secs(100);
        complaints.add("a".into(), start);
        complaints.add("a".into(), start);
        assert_eq!(complaints.take(start), ["a"]);
        (0..1000).for_each(|number| complaints.add(format!("line {number}"), start));
        let lines = complaints.take(start);
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (20, Some("981 more refusals")));
        complaints.add("a".into(), start + MEMORY);
        assert_eq!(complaints.take(start + MEMORY), ["a"]);
    }
}
