//! The machine's clock: TSC ticks, and how they relate to microseconds and to the times that subjects see.

use palisade_abi::time_info::clock_shift;

/// The calibrated time-stamp counter.
///
/// Subjects compute a 32-bit (1e9 << 32) / frequency, which wraps at or below 1 GHz. On a slower counter all times shown to them
/// are therefore shifted left by [`Clock::shift`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    khz: u64,
    shift: u32,
}

impl Clock {
    /// A counter with `khz` thousand ticks a second (at least 1).
    #[must_use]
    pub const fn new(khz: u64) -> Self {
        let khz = if khz == 0 { 1 } else { khz };
        Self { khz, shift: clock_shift(khz * 1000) }
    }

    /// Thousand ticks a second of the real counter.
    #[must_use]
    pub const fn khz(&self) -> u64 {
        self.khz
    }

    /// How far the times that subjects see are shifted.
    #[must_use]
    pub const fn shift(&self) -> u32 {
        self.shift
    }

    /// Thousand ticks a second as subjects see them.
    #[must_use]
    pub const fn shown_khz(&self) -> u64 {
        self.khz << self.shift
    }

    /// A real counter value as subjects see it.
    #[must_use]
    pub const fn shown(&self, ticks: u64) -> u64 {
        ticks << self.shift
    }

    /// The real counter value of a time that a subject asked for. "Never" stays never.
    #[must_use]
    pub const fn real(&self, shown: u64) -> u64 {
        if shown == u64::MAX { u64::MAX } else { shown >> self.shift }
    }

    /// Microseconds in ticks of the real counter.
    #[must_use]
    pub const fn ticks(&self, microseconds: u64) -> u64 {
        microseconds.saturating_mul(self.khz) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_counter_is_shown_as_it_is() {
        let clock = Clock::new(2_400_000);
        assert_eq!((clock.shift(), clock.shown_khz(), clock.shown(5)), (0, 2_400_000, 5));
    }

    #[test]
    fn a_counter_at_or_below_one_gigahertz_is_shown_faster_than_that() {
        for khz in [1, 999_998, 1_000_000] {
            assert!(Clock::new(khz).shown_khz() > 1_000_000, "{khz} kHz");
        }
        assert_eq!(Clock::new(1_000_000).shift(), 1);
        assert_eq!(Clock::new(1_000_001).shift(), 0);
    }

    #[test]
    fn times_asked_for_come_back_as_real_ones() {
        let clock = Clock::new(500_000);
        assert_eq!(clock.real(clock.shown(12345)), 12345);
        assert_eq!(clock.real(u64::MAX), u64::MAX);
        assert_eq!(clock.ticks(1000), 500_000);
    }
}
