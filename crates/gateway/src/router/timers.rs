//! When connections have something to do by themselves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smoltcp::time::Instant;

use crate::poll::Key;

/// Times at which connections are to be looked at. A connection whose time moves back is looked at too early rather than
/// found and moved: nearly every segment moves it. One whose time moves forward has the old one here as well; it is told
/// with its time, so that who no longer waits for it is left alone.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Key)>>);

impl Timers {
    pub(super) fn set(&mut self, due: Instant, key: Key) {
        self.0.push(Reverse((due, key)));
    }

    /// The next that is to be looked at now.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(Instant, Key)> {
        if self.due()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(timer)| timer)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }
}
