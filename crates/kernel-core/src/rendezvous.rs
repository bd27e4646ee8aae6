//! How CPUs meet at boot: they compare their time-stamp counters, and wait for each other before the first frame.
//!
//! After that nobody waits for anybody: each CPU computes its frames from the common start.

use core::hint::spin_loop;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};

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
    pub const fn new() -> Self {
        Self { asked: AtomicU64::new(0), answered: AtomicU64::new(0), time: AtomicU64::new(0) }
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

    /// Answers all questions of one comparison. Without questions it never returns.
    pub fn answer(&self, now: impl Fn() -> u64) {
        for round in 1..=ROUNDS {
            while self.asked.load(Ordering::Acquire) != round {
                spin_loop();
            }
            self.time.store(now(), Ordering::Relaxed);
            self.answered.store(round, Ordering::Release);
        }
    }
}

/// Where all CPUs wait until the last one is ready, to begin their first major frames at the same time.
#[derive(Debug, Default)]
pub struct StartLine {
    /// One bit for each CPU.
    ready: AtomicU32,
    /// When the first frames begin; 0 as long as that is open.
    start: AtomicU64,
}

impl StartLine {
    /// Nobody is ready.
    #[must_use]
    pub const fn new() -> Self {
        Self { ready: AtomicU32::new(0), start: AtomicU64::new(0) }
    }

    /// The CPUs that have come here, one bit each.
    pub fn ready(&self) -> u32 {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits as CPU `number` of `cpus`. The last one to come has all of them begin `delay` ticks later. Gives that time, which has
    /// come then.
    ///
    /// # Errors
    /// After `patience` ticks some CPU was still missing: its number.
    pub fn wait(
        &self,
        number: usize,
        cpus: usize,
        now: impl Fn() -> u64,
        delay: u64,
        patience: u64,
    ) -> Result<u64, usize> {
        let came = now();
        let all = (1_u32 << (cpus & 31)).wrapping_sub(1);
        let own = 1 << (number & 31);
        if self.ready.fetch_or(own, Ordering::AcqRel) | own == all {
            self.start.store(came.saturating_add(delay).max(1), Ordering::Release);
        }
        loop {
            let (start, now) = (self.start.load(Ordering::Acquire), now());
            if start != 0 && now >= start {
                return Ok(start);
            }
            if start == 0 && now.saturating_sub(came) > patience {
                return Err(self.ready().trailing_ones() as usize);
            }
            spin_loop();
        }
    }
}

const ROUNDS: u64 = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread;

    use super::*;

    /// A clock that moves on by one whenever somebody looks at it.
    fn clock(ticks: &AtomicU64) -> impl Fn() -> u64 {
        || ticks.fetch_add(1, Ordering::SeqCst)
    }

    fn compare(offset: impl Fn(u64) -> u64 + Sync) -> Option<u64> {
        let (ticks, comparison) = (AtomicU64::new(1_000_000), Comparison::new());
        thread::scope(|scope| {
            scope.spawn(|| comparison.answer(|| offset(clock(&ticks)())));
            comparison.ask(clock(&ticks), u64::MAX)
        })
    }

    #[test]
    fn counters_that_agree_are_found_to_agree_however_long_an_answer_takes() {
        assert_eq!(compare(|now| now), Some(0));
    }

    #[test]
    fn a_counter_that_is_ahead_or_behind_is_noticed() {
        // How long an answer takes hides some of the difference.
        assert!(matches!(compare(|now| now + 500_000), Some(1..=500_000)));
        assert!(matches!(compare(|now| now - 500_000), Some(1..=500_000)));
        let huge = compare(|now| now + (1 << 40)).unwrap();
        assert!(huge <= 1 << 40 && huge > 1 << 39, "{huge}");
    }

    #[test]
    fn a_cpu_that_does_not_answer_is_noticed() {
        let ticks = AtomicU64::new(0);
        assert_eq!(Comparison::new().ask(clock(&ticks), 1000), None);
    }

    #[test]
    fn one_comparison_follows_another() {
        let (ticks, comparison) = (AtomicU64::new(0), Comparison::new());
        for _ in 0..3 {
            thread::scope(|scope| {
                scope.spawn(|| comparison.answer(clock(&ticks)));
                assert_eq!(comparison.ask(clock(&ticks), u64::MAX), Some(0));
            });
        }
    }

    #[test]
    fn all_cpus_start_at_the_same_time_and_nobody_before_it() {
        let (ticks, line) = (AtomicU64::new(0), StartLine::new());
        let starts: Vec<_> = thread::scope(|scope| {
            let wait = |number| {
                let start = line.wait(number, 3, clock(&ticks), 50, u64::MAX).unwrap();
                assert!(ticks.load(Ordering::SeqCst) > start);
                start
            };
            let cpus = [0, 1, 2].map(|number| scope.spawn(move || wait(number)));
            cpus.into_iter().map(|cpu| cpu.join().unwrap()).collect()
        });
        assert!(starts.iter().all(|start| *start == starts[0] && *start >= 50), "{starts:?}");
    }

    #[test]
    fn a_cpu_that_does_not_come_is_named() {
        let (ticks, line) = (AtomicU64::new(0), StartLine::new());
        assert_eq!(line.wait(0, 3, clock(&ticks), 50, 1000), Err(1));
        assert_eq!(line.wait(1, 3, clock(&ticks), 50, 1000), Err(2));
        assert_eq!(line.ready(), 0b11);
    }

    #[test]
    fn a_single_cpu_waits_for_nobody() {
        let ticks = AtomicU64::new(7);
        assert_eq!(StartLine::new().wait(0, 1, clock(&ticks), 50, 0), Ok(57));
    }
}
