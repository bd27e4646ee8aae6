//! Status page: what a subject says about itself. It alone writes the page; the supervisor reads it.

#![forbid(unsafe_code)]

use crate::volatile::{Memory, Shared};

/// The page.
#[derive(Debug, Clone, Copy)]
pub struct StatusPage<'a>(pub Shared<'a>);

/// What a subject says about how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It runs, or was stopped before it could say more.
    Running,
    /// It ended with this exit status.
    Exited(i32),
    /// Its own exception handler ended it.
    Aborted(Abort),
}

/// The exception that ended a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// Vector of the exception.
    pub vector: u32,
    /// Error code of the exception, or 0.
    pub error_code: u32,
    /// Where it happened.
    pub rip: u64,
    /// The address concerned, if it was a page fault.
    pub fault_address: u64,
}

impl StatusPage<'_> {
    /// Subject: says that it runs, in this generation. The counters keep their values.
    pub fn begin(&self, generation: u64) -> Option<()> {
        self.0.store_u32(STATE, RUNNING)?;
        self.0.store(GENERATION, generation)?;
        self.0.store(MAGIC_OFFSET, MAGIC)
    }

    /// Subject: says that it ends with this exit status.
    pub fn exit(&self, status: i32) -> Option<()> {
        self.0.store_u32(EXIT_STATUS, status.cast_unsigned())?;
        self.0.store_u32(STATE, EXITED)
    }

    /// Subject: says that an exception ends it.
    pub fn abort(&self, abort: &Abort) -> Option<()> {
        self.0.store_u32(VECTOR, abort.vector)?;
        self.0.store_u32(ERROR_CODE, abort.error_code)?;
        self.0.store(RIP, abort.rip)?;
        self.0.store(FAULT_ADDRESS, abort.fault_address)?;
        self.0.store_u32(STATE, ABORTED)
    }

    /// Subject: sets one of its progress counters; what they count is its own business.
    pub fn set_counter(&self, index: usize, value: u64) -> Option<()> {
        self.0.store(counter(index)?, value)
    }

    /// What the subject says; `None` if it has said nothing, or nothing that makes sense.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.0.load(MAGIC_OFFSET).filter(|m| *m == MAGIC)?;
        Some(match self.0.load_u32(STATE)? {
            RUNNING => Status::Running,
            EXITED => Status::Exited(self.0.load_u32(EXIT_STATUS)?.cast_signed()),
            ABORTED => Status::Aborted(Abort {
                vector: self.0.load_u32(VECTOR)?,
                error_code: self.0.load_u32(ERROR_CODE)?,
                rip: self.0.load(RIP)?,
                fault_address: self.0.load(FAULT_ADDRESS)?,
            }),
            _ => return None,
        })
    }

    /// The generation in which the subject last said that it runs.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.0.load(GENERATION)
    }

    /// One of the subject's progress counters.
    #[must_use]
    pub fn counter(&self, index: usize) -> Option<u64> {
        self.0.load(counter(index)?)
    }
}

fn counter(index: usize) -> Option<usize> {
    if index < COUNTERS { Some(COUNTER_0 + index * 8) } else { None }
}

/// First eight bytes of a status page in use: `PALSTAT1`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PALSTAT1");
/// Number of progress counters.
pub const COUNTERS: usize = 8;
/// The counter that programs with network devices keep themselves: frames that were sent to them and lost.
pub const LOST_FRAMES: usize = COUNTERS - 1;

/// Offset of the magic number.
pub const MAGIC_OFFSET: usize = 0;
/// Offset of the state, a `u32`: [`RUNNING`], [`EXITED`] or [`ABORTED`].
pub const STATE: usize = 8;
/// Offset of the exit status, an `i32`.
pub const EXIT_STATUS: usize = 12;
/// Offset of the generation seen.
pub const GENERATION: usize = 16;
/// Offset of the first progress counter.
pub const COUNTER_0: usize = 24;
/// Offset of the exception's vector, a `u32`.
pub const VECTOR: usize = 88;
/// Offset of the exception's error code, a `u32`.
pub const ERROR_CODE: usize = 92;
/// Offset of the exception's instruction pointer.
pub const RIP: usize = 96;
/// Offset of the exception's fault address.
pub const FAULT_ADDRESS: usize = 104;

/// State: the subject runs.
pub const RUNNING: u32 = 0;
/// State: the subject ended with an exit status.
pub const EXITED: u32 = 1;
/// State: the subject's own exception handler ended it.
pub const ABORTED: u32 = 2;

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_supervisor_reads_how_a_subject_ended() {
        let words = [const { AtomicU64::new(0) }; 14];
        let page = StatusPage(Shared::from(words.as_slice()));
        assert_eq!(page.status(), None);
        assert_eq!(page.begin(3), Some(()));
        assert_eq!((page.status(), page.generation()), (Some(Status::Running), Some(3)));
        assert_eq!(page.exit(-7), Some(()));
        assert_eq!(page.status(), Some(Status::Exited(-7)));
        let abort = Abort { vector: 14, error_code: 2, rip: 0x20_0100, fault_address: 8 };
        assert_eq!(page.abort(&abort), Some(()));
        assert_eq!(page.status(), Some(Status::Aborted(abort)));
        words[1].store(3, Ordering::Relaxed);
        assert_eq!(page.status(), None, "a state that does not exist");
    }

    #[test]
    fn counters_do_not_touch_their_neighbours() {
        let words = [const { AtomicU64::new(0) }; 14];
        let page = StatusPage(Shared::from(words.as_slice()));
        for index in 0..COUNTERS {
            assert_eq!(page.set_counter(index, index as u64 + 1), Some(()));
        }
        assert_eq!(page.set_counter(COUNTERS, 9), None);
        assert_eq!((page.counter(0), page.counter(7), page.counter(8)), (Some(1), Some(8), None));
        let words = words.map(AtomicU64::into_inner);
        assert_eq!(words, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0]);
    }
}
