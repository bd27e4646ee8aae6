//! Where events arrive: the one piece of a subject's state that every CPU may change.

use palisade_abi::layout::{MAX_CPUS, MAX_SUBJECTS};
use palisade_abi::plan::NONE;

use crate::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering, fence};

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
    fn new() -> Self {
        Self { pending: AtomicU64::new(0), token: AtomicBool::new(false) }
    }

    /// Makes target event `number` pending and sets the wake token. Tells whether no event was pending before.
    pub fn deliver(&self, number: u8) -> bool {
        let before = self.pending.fetch_or(1 << (number & 63), Ordering::AcqRel);
        self.token.swap(true, Ordering::AcqRel);
        before == 0
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

/// The mailboxes of all subjects, and which of them each CPU looks at.
#[derive(Debug)]
pub struct Mailboxes {
    /// By the subjects' identifiers.
    boxes: [Mailbox; MAX_SUBJECTS],
    /// The partition whose subjects' mailboxes a CPU looks at on every exit.
    attended: [AtomicU16; MAX_CPUS],
}

impl Mailboxes {
    /// Empty mailboxes, at which nobody looks yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            boxes: core::array::from_fn(|_| Mailbox::new()),
            attended: core::array::from_fn(|_| AtomicU16::new(NONE)),
        }
    }

    /// The mailbox of the subject with this identifier.
    #[must_use]
    pub fn of(&self, subject: usize) -> &Mailbox {
        &self.boxes[subject & (MAX_SUBJECTS - 1)]
    }

    /// `cpu` looks at the mailboxes of `partition` from now on, at once and on every exit, and at no others.
    pub fn attend(&self, cpu: u16, partition: u16) {
        self.attended(cpu).store(partition, Ordering::Relaxed);
        // See `deliver_elsewhere`.
        fence(Ordering::SeqCst);
    }

    /// Delivers event `number` to `subject`, which belongs to `partition` of another CPU. Tells whether that CPU has to be
    /// interrupted to see it. It does not if it is certain to look:
    ///
    /// - An event is pending already. Who brought that one has interrupted the CPU, or does so next.
    /// - The CPU attends to another partition. It looks at this one when it comes to it: the event is pending before the
    ///   partition is read here, and the partition is attended to before events are taken there, each with a fence between
    ///   the two. So either this CPU finds the partition attended to, or that one finds the event.
    #[must_use]
    pub fn deliver_elsewhere(&self, subject: usize, number: u8, cpu: u16, partition: u16) -> bool {
        let first = self.of(subject).deliver(number);
        fence(Ordering::SeqCst);
        first && self.attended(cpu).load(Ordering::Relaxed) == partition
    }

    fn attended(&self, cpu: u16) -> &AtomicU16 {
        &self.attended[usize::from(cpu) & (MAX_CPUS - 1)]
    }
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self::new()
    }
}
