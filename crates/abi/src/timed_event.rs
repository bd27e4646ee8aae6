//! Timed event: the page in which a subject asks the kernel to raise one of its source events at a time.

#![forbid(unsafe_code)]

use crate::layout::MAX_EVENTS;
use crate::volatile::{Memory, Shared};

/// The page, as its subject writes it and the kernel reads it.
#[derive(Debug, Clone, Copy)]
pub struct TimedEvent<'a>(pub Shared<'a>);

impl TimedEvent<'_> {
    /// Subject: asks for the source event `event` at time `at`. It replaces what was asked for before.
    pub fn set(&self, at: u64, event: u8) -> Option<()> {
        self.cancel()?;
        self.0.store(EVENT, u64::from(event))?;
        self.0.store(AT, at)
    }

    /// Subject: asks for nothing any more. Kernel: the event was raised.
    pub fn cancel(&self) -> Option<()> {
        self.0.store(AT, NEVER)
    }

    /// Kernel: when the event is to be raised.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.0.load(AT).unwrap_or(NEVER)
    }

    /// Kernel: the number of the event; `None` if the subject asked for one that cannot be.
    #[must_use]
    pub fn event(&self) -> Option<u8> {
        let [number, ..] = self.0.load(EVENT)?.to_le_bytes();
        if usize::from(number) < MAX_EVENTS { Some(number) } else { None }
    }
}

/// Offset of the time.
pub const AT: usize = 0;
/// Offset of the event's number: the first byte of a 64-bit cell. The others mean nothing.
pub const EVENT: usize = 8;
/// The time that never comes.
pub const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn the_kernel_sees_what_the_subject_asked_for() {
        let words = [const { AtomicU64::new(NEVER) }; 2];
        let page = TimedEvent(Shared::from(words.as_slice()));
        assert_eq!(page.at(), NEVER);
        assert_eq!(page.set(500, 63), Some(()));
        assert_eq!((page.at(), page.event()), (500, Some(63)));
        assert_eq!(page.cancel(), Some(()));
        assert_eq!(page.at(), NEVER);
    }

    #[test]
    fn a_subject_may_write_a_single_byte_as_number() {
        let words = [AtomicU64::new(500), AtomicU64::new(0xffff_ffff_ffff_ff05)];
        assert_eq!(TimedEvent(Shared::from(words.as_slice())).event(), Some(5));
    }

    #[test]
    fn an_event_that_cannot_be_is_none() {
        let words = [const { AtomicU64::new(64) }; 2];
        assert_eq!(TimedEvent(Shared::from(words.as_slice())).event(), None);
    }
}
