//! Where events arrive: the one piece of a subject's state that every CPU may change.

use palisade_abi::layout::{MAX_CPUS, MAX_SUBJECTS};
use palisade_abi::plan::NONE;

use crate::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering, fence};

/// A subject's pending target events, and its wake token.
///
/// An arriving event sets its bit first and the token second. Whether the subject sleeps and whether its token is set is one
/// word, so one of the two CPUs comes first: either the sleeper finds the token and does not sleep, or the raiser finds a sleeper
/// and has it woken. Every change is a read-modify-write, so that it is visible before an interrupt that is sent next.
#[derive(Debug)]
pub struct Mailbox {
    pending: AtomicU64,
    /// [`AWAKE`], [`ASLEEP`] or [`WOKEN`].
    sleep: AtomicU8,
}

/// What an event does to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It wakes a sleeper. One that is awake finds the token when it next wants to sleep.
    Wakes,
    /// It changes the target as well, by an interrupt or a reset, whether that one sleeps or not.
    Changes,
}

impl Mailbox {
    fn new() -> Self {
        Self { pending: AtomicU64::new(0), sleep: AtomicU8::new(AWAKE) }
    }

    /// Makes target event `number` pending and sets the wake token. Tells whether the subject slept and had no token yet.
    pub fn deliver(&self, number: u8) -> bool {
        self.pending.fetch_or(1 << (number & 63), Ordering::AcqRel);
        self.wake()
    }

    /// Sets the wake token alone. Tells whether the subject slept and had no token yet.
    pub fn wake(&self) -> bool {
        self.sleep.swap(WOKEN, Ordering::AcqRel) == ASLEEP
    }

    /// Takes all pending events. Those that set a token which was taken before are among them.
    pub fn take_pending(&self) -> u64 {
        if self.pending.load(Ordering::Relaxed) == 0 { 0 } else { self.pending.swap(0, Ordering::AcqRel) }
    }

    /// Takes the wake token; tells whether it was set. If so, the subject is awake from now on.
    pub fn take_token(&self) -> bool {
        self.sleep.load(Ordering::Acquire) == WOKEN && self.sleep.swap(AWAKE, Ordering::AcqRel) == WOKEN
    }

    /// The subject wants to sleep. Tells whether it does; otherwise its wake token was set, and is taken.
    pub fn fall_asleep(&self) -> bool {
        let before = self.sleep.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        before != Err(WOKEN) || !self.take_token()
    }

    /// The subject sleeps no more, for another reason than its token.
    pub fn rouse(&self) {
        _ = self.sleep.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// The mailboxes of all subjects, and which of them each CPU looks at.
#[derive(Debug)]
pub struct Mailboxes {
    /// By the subjects' identifiers.
    boxes: [Mailbox; MAX_SUBJECTS],
    /// The partition whose subjects' mailboxes a CPU looks at on every exit.
    attended: [AtomicU16; MAX_CPUS],
    /// Whether a CPU may be interrupted for a subject that is awake.
    listening: [AtomicBool; MAX_CPUS],
}

impl Mailboxes {
    /// Empty mailboxes, at which nobody looks yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            boxes: core::array::from_fn(|_| Mailbox::new()),
            attended: core::array::from_fn(|_| AtomicU16::new(NONE)),
            listening: core::array::from_fn(|_| AtomicBool::new(false)),
        }
    }

    /// The mailbox of the subject with this identifier.
    #[must_use]
    pub fn of(&self, subject: usize) -> &Mailbox {
        &self.boxes[subject & (MAX_SUBJECTS - 1)]
    }

    /// `cpu` looks at the mailboxes of `partition` from now on, at once and on every exit, and at no others. It listens.
    pub fn attend(&self, cpu: u16, partition: u16) {
        self.attended(cpu).store(partition, Ordering::Relaxed);
        self.listen(cpu);
    }

    /// Whether `cpu` may be interrupted for a subject that is awake. If not, it has been, since it last listened, or is about to be.
    #[must_use]
    pub fn listens(&self, cpu: u16) -> bool {
        self.listening(cpu).load(Ordering::Relaxed)
    }

    /// `cpu` may be interrupted once for a subject that is awake. It looks at its mailboxes next.
    pub fn listen(&self, cpu: u16) {
        self.listening(cpu).swap(true, Ordering::AcqRel);
        // See `deliver_elsewhere`.
        fence(Ordering::SeqCst);
    }

    /// Delivers event `number` to `subject`, which belongs to `partition` of another CPU. Tells whether that CPU has to be
    /// interrupted to see it: nobody else decides how often that happens, so it must not be often. It has to be
    ///
    /// - if the subject sleeps: once for each sleep, since the token stays set until the next one.
    /// - if the event changes a subject that is awake, and the CPU listens: once for each time that it says so. After that
    ///   it looks by itself before it listens again.
    ///
    /// Whatever the subject does, the CPU is not interrupted while it attends to another partition. It looks at this one when it comes to
    /// it: the event is pending before `attended` and `listening` are read here, and they are set before events are taken there, each
    /// with a fence between the two. So either this CPU finds them set, or that one finds the event.
    #[must_use]
    pub fn deliver_elsewhere(
        &self,
        subject: usize,
        number: u8,
        arrival: Arrival,
        cpu: u16,
        partition: u16,
    ) -> bool {
        let slept = self.of(subject).deliver(number);
        fence(Ordering::SeqCst);
        self.attended(cpu).load(Ordering::Relaxed) == partition
            && (slept || arrival == Arrival::Changes && self.listening(cpu).swap(false, Ordering::AcqRel))
    }

    fn attended(&self, cpu: u16) -> &AtomicU16 {
        &self.attended[usize::from(cpu) & (MAX_CPUS - 1)]
    }

    fn listening(&self, cpu: u16) -> &AtomicBool {
        &self.listening[usize::from(cpu) & (MAX_CPUS - 1)]
    }
}

impl Default for Mailboxes {
    fn default() -> Self {
        Self::new()
    }
}

/// The subject does not sleep, and nothing has come since it last wanted to.
const AWAKE: u8 = 0;
/// It sleeps until its wake token is set.
const ASLEEP: u8 = 1;
/// Its wake token is set. Whether it sleeps still, its own CPU knows.
const WOKEN: u8 = 2;
