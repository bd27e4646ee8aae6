//! Where events arrive: the one piece of subject state that every CPU may change.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use palisade_abi::layout::MAX_SUBJECTS;

/// A subject's pending target events and its wake token.
///
/// An arriving event sets its bit first and the token second; `sleep` takes the token first. So whichever order the two
/// CPUs run in, either the sleeper finds the token and does not sleep, or it sleeps and the token wakes it. The token is set
/// by a swap and not a store, so that it is visible before the interrupt that is sent to the sleeper's CPU next.
#[derive(Debug)]
pub struct Mailbox {
    pending: AtomicU64,
    token: AtomicBool,
}

impl Mailbox {
    /// An empty mailbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: AtomicU64::new(0), token: AtomicBool::new(false) }
    }

    /// Makes target event `number` pending and sets the wake token.
    pub fn deliver(&self, number: u8) {
        self.pending.fetch_or(1 << (number & 63), Ordering::AcqRel);
        self.token.swap(true, Ordering::AcqRel);
    }

    /// Sets the wake token alone.
    pub fn wake(&self) {
        self.token.swap(true, Ordering::AcqRel);
    }

    /// Takes all pending events.
    pub fn take_pending(&self) -> u64 {
        if self.pending.load(Ordering::Relaxed) == 0 { 0 } else { self.pending.swap(0, Ordering::AcqRel) }
    }

    /// Takes the wake token; tells whether it was set.
    pub fn take_token(&self) -> bool {
        self.token.load(Ordering::Acquire) && self.token.swap(false, Ordering::AcqRel)
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

/// The mailboxes of all subjects, by identifier.
pub type Mailboxes = [Mailbox; MAX_SUBJECTS];

/// Empty mailboxes for all subjects.
#[must_use]
pub const fn mailboxes() -> Mailboxes {
    [const { Mailbox::new() }; MAX_SUBJECTS]
}
