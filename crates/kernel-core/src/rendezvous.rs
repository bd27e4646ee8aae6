//! How CPUs meet at boot: they compare their time-stamp counters, and wait for each other before the first frame.
//!
//! After that nobody waits for anybody: each CPU computes its frames from the common start.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, spin_loop};

/// A comparison of the time-stamp counters of two CPUs, by questions and answers.
///
/// An answer's time lies between those of its question and its arrival if the counters agree. What it lies before or
/// after them by is a difference that no delay explains.
#[derive(Debug, Default)]
pub struct Comparison {
    asked: AtomicU64,
    answered: AtomicU64,
    time: AtomicU64,
}

impl Comparison {
    /// Nothing has been asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the other CPU what its counter says, many times. Gives the least number of ticks by which the two differ, or `None` if
    /// there is no answer for `patience` ticks.
    pub fn ask(&self, now: impl Fn() -> u64, patience: u64) -> Option<u64> {
        let mut difference = 0;
        for round in 1..=ROUNDS {
            let before = now();
            self.asked.store(round, Ordering::Release);
            while self.answered.load(Ordering::Acquire) != round {
                if now().saturating_sub(before) > patience {
                    return None;
                }
                spin_loop();
            }
            let theirs = self.time.load(Ordering::Relaxed);
            let after = now();
            difference = difference.max(theirs.saturating_sub(after)).max(before.saturating_sub(theirs));
        }
        Some(difference)
    }

    /// Answers all questions of one comparison. `false` if there is none for `patience` ticks: who asks has given up.
    #[must_use]
    pub fn answer(&self, now: impl Fn() -> u64, patience: u64) -> bool {
        for round in 1..=ROUNDS {
            let before = now();
            while self.asked.load(Ordering::Acquire) != round {
                if now().saturating_sub(before) > patience {
                    return false;
                }
                spin_loop();
            }
            self.time.store(now(), Ordering::Relaxed);
            self.answered.store(round, Ordering::Release);
        }
        true
    }
}

/// Where all CPUs wait until the last one is ready, to begin their first major frames at the same time. They all begin, or none does:
/// a line that was closed before the last one came stays closed.
#[derive(Debug, Default)]
pub struct StartLine {
    /// One bit for each CPU.
    ready: AtomicU32,
    /// When the first frames begin: [`OPEN`] until it is decided, [`CLOSED`] if never.
    start: AtomicU64,
}

/// Why a CPU does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoStart {
    /// The CPU with this number has not come.
    Missing(usize),
    /// The line was closed.
    Closed,
}

impl StartLine {
    /// Nobody is ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The CPUs that have come here, one bit each.
    pub fn ready(&self) -> u32 {
        self.ready.load(Ordering::Acquire)
    }

    /// Closes the line: whoever waits leaves, and whoever comes. Tells whether it is closed; it is not if the CPUs begin, or
    /// have begun, because the last one came before.
    pub fn close(&self) -> bool {
        let closed = self.start.compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        matches!(closed, Ok(_) | Err(CLOSED))
    }

    /// Waits as CPU `number` of `cpus`. The last one to come has all of them begin `delay` ticks later. Gives that time, which has
    /// come then.
    ///
    /// # Errors
    /// The line was closed; CPU 0 closes it if another one is still missing after `patience` ticks.
    pub fn wait(
        &self,
        number: usize,
        cpus: usize,
        now: impl Fn() -> u64,
        delay: u64,
        patience: u64,
    ) -> Result<u64, NoStart> {
        let came = now();
        let all = (1_u32 << (cpus & 31)).wrapping_sub(1);
        let own = 1 << (number & 31);
        if self.ready.fetch_or(own, Ordering::AcqRel) | own == all {
            let start = came.saturating_add(delay).clamp(OPEN + 1, CLOSED - 1);
            // If this changes nothing, the line is closed.
            _ = self.start.compare_exchange(OPEN, start, Ordering::AcqRel, Ordering::Acquire);
        }
        loop {
            let (start, now) = (self.start.load(Ordering::Acquire), now());
            if start == CLOSED {
                return Err(NoStart::Closed);
            }
            if start != OPEN && now >= start {
                return Ok(start);
            }
            if start == OPEN && number == 0 && now.saturating_sub(came) > patience {
                let missing = self.ready().trailing_ones() as usize;
                if missing < cpus && self.close() {
                    return Err(NoStart::Missing(missing));
                }
            }
            spin_loop();
        }
    }
}

const OPEN: u64 = 0;
const CLOSED: u64 = u64::MAX;
const ROUNDS: u64 = 64;
