//! Time info: the page from which every subject takes the time of day.

#![forbid(unsafe_code)]

use crate::volatile::{Memory, Shared};

/// The time of day, in relation to the (shifted) time-stamp counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeInfo {
    /// Microseconds from 1970-01-01 to the moment at which the counter was 0; not 0.
    pub base: u64,
    /// Ticks of the counter per second; above 1,000,000,000.
    pub ticks_per_second: u64,
    /// Local time minus universal time, in microseconds.
    pub time_zone: i64,
}

/// The page, as the time subject writes it and all others read it.
#[derive(Debug, Clone, Copy)]
pub struct TimePage<'a>(pub Shared<'a>);

impl TimePage<'_> {
    /// The time of day, as soon as it is published.
    #[must_use]
    pub fn read(&self) -> Option<TimeInfo> {
        let base = self.0.load(BASE).filter(|b| *b != 0)?;
        let ticks_per_second = self.0.load(TICKS_PER_SECOND)?;
        let time_zone = self.0.load(TIME_ZONE)?.cast_signed();
        Some(TimeInfo { base, ticks_per_second, time_zone })
    }

    /// Publishes the time of day. Readers wait for a base that is not 0, so it is written last.
    pub fn publish(&self, time: &TimeInfo) -> Option<()> {
        self.0.store(TICKS_PER_SECOND, time.ticks_per_second)?;
        self.0.store(TIME_ZONE, time.time_zone.cast_unsigned())?;
        self.0.store(BASE, time.base)
    }
}

/// Number of bits by which a time-stamp counter of this frequency is shifted left to tick more than a thousand million
/// times a second.
///
/// Unikernels compute with the 32-bit value (1e9 << 32) / frequency, which wraps at lower frequencies: their clock would
/// stand still. So all published times are shifted.
#[must_use]
pub const fn clock_shift(tsc_hz: u64) -> u32 {
    let mut shift = 0;
    while tsc_hz != 0 && tsc_hz << shift <= SLOWEST_CLOCK {
        shift += 1;
    }
    shift
}

/// Offset of [`TimeInfo::base`].
pub const BASE: usize = 0;
/// Offset of [`TimeInfo::ticks_per_second`].
pub const TICKS_PER_SECOND: usize = 8;
/// Offset of [`TimeInfo::time_zone`].
pub const TIME_ZONE: usize = 16;

const SLOWEST_CLOCK: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn time_is_seen_once_it_is_published() {
        let words = [const { AtomicU64::new(0) }; 3];
        let page = TimePage(Shared::from(words.as_slice()));
        assert_eq!(page.read(), None);
        let time = TimeInfo { base: 5, ticks_per_second: 2_000_000_000, time_zone: -3_600_000_000 };
        assert_eq!(page.publish(&time), Some(()));
        assert_eq!(page.read(), Some(time));
        assert_eq!(
            words.map(AtomicU64::into_inner),
            [5, 2_000_000_000, (-3_600_000_000_i64).cast_unsigned()]
        );
    }

    #[test]
    fn slow_clocks_are_shifted_just_enough() {
        assert_eq!(clock_shift(1_000_000_001), 0);
        assert_eq!(clock_shift(1_000_000_000), 1);
        assert_eq!(clock_shift(999_998_720), 1);
        assert_eq!(clock_shift(500_000_000), 2);
        assert_eq!(clock_shift(125_000_000), 4);
        assert_eq!(clock_shift(1), 30);
        assert_eq!(clock_shift(u64::MAX), 0);
        assert_eq!(clock_shift(0), 0, "an unknown frequency");
    }
}
