//! Source events: how a program signals others, and asks its kernel for something.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch;

/// A source event of this subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event(u8);

impl Event {
    /// The source event with this name, if the policy gives the subject one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        arch::subject_info()?.event(name).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Raises it. What happens then is the policy's choice.
    pub fn raise(self) {
        raise_number(u64::from(self.0));
    }

    /// Has it raised later: at the latest when the program sleeps, yields or ends. Any number of times counts once.
    pub(crate) fn postpone(self) {
        POSTPONED.fetch_or(self.bit(), Ordering::Relaxed);
    }

    /// Raises it if that was postponed.
    pub(crate) fn raise_if_postponed(self) {
        if POSTPONED.fetch_and(!self.bit(), Ordering::Relaxed) & self.bit() != 0 {
            self.raise();
        }
    }

    fn bit(self) -> u64 {
        1 << (self.0 & 63)
    }
}

/// Raises all events that were postponed.
pub(crate) fn raise_postponed() {
    let mut events = POSTPONED.swap(0, Ordering::Relaxed);
    while events != 0 {
        raise_number(u64::from(events.trailing_zeros()));
        events &= events - 1;
    }
}

/// Raises the source event with this number. Numbers that the policy does not define do nothing.
pub fn raise_number(number: u64) {
    arch::hypercall(number);
}

/// Numbers of the events to raise, one bit each.
static POSTPONED: AtomicU64 = AtomicU64::new(0);
