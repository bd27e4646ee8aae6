//! Which minor frame it is, on one CPU.

use core::num::NonZeroU64;

use palisade_abi::plan::{self, Frame, Plan};

use crate::clock::Clock;

/// The position of a CPU in its major frame. All CPUs count from the same start, so their frames stay in step without
/// talking to each other.
#[derive(Debug)]
pub(crate) struct Schedule<'p> {
    frames: &'p [Frame],
    clock: Clock,
    major_ticks: NonZeroU64,
    major_start: u64,
    current: usize,
    start: u64,
    end: u64,
}

impl<'p> Schedule<'p> {
    /// The schedule of `cpu`, whose first major frame begins at TSC value `start`.
    pub(crate) fn new(plan: &Plan<'p>, cpu: u16, clock: Clock, start: u64) -> Self {
        let frames = plan
            .cpus
            .get(usize::from(cpu))
            .map_or(&[][..], |c| plan::slice(plan.frames, c.first_frame, c.frames));
        let major_ticks =
            NonZeroU64::new(clock.ticks(u64::from(plan.header.major_frame_us))).unwrap_or(NonZeroU64::MIN);
        // Frame `usize::MAX` does not exist, so the first call of `advance` changes the frame.
        Self { frames, clock, major_ticks, major_start: start, current: usize::MAX, start, end: start }
    }

    /// Moves on to the minor frame that contains `now`. Tells whether that is another one than before.
    ///
    /// A CPU that was held up for longer than a frame skips what it missed.
    pub(crate) fn advance(&mut self, now: u64) -> bool {
        if now < self.end {
            return false;
        }
        let missed = now.saturating_sub(self.major_start) / self.major_ticks;
        self.major_start += missed * self.major_ticks.get();
        let mut start = self.major_start;
        for (number, frame) in self.frames.iter().enumerate() {
            let end = self.major_start + self.clock.ticks(u64::from(frame.end_us));
            if now < end {
                self.current = number;
                self.start = start;
                self.end = end;
                return true;
            }
            start = end;
        }
        // Rounding can leave the last ticks of a major frame to no frame: they begin the next one.
        self.major_start += self.major_ticks.get();
        self.current = 0;
        self.start = self.major_start;
        self.end = self.major_start
            + self.frames.first().map_or(self.major_ticks.get(), |f| self.clock.ticks(u64::from(f.end_us)));
        true
    }

    /// Partition of the current minor frame.
    pub(crate) fn partition(&self) -> u16 {
        self.frames.get(self.current).map_or(0, |f| f.partition)
    }

    /// First and end TSC value of the current minor frame.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        (self.start, self.end)
    }
}
