//! The clock: how fast the time-stamp counter ticks, and what time it is.

use std::arch::x86_64::_rdtsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade_abi::time_info::{TimeInfo, clock_shift};

/// A measurement that has begun.
pub(crate) struct Measurement {
    begin: Moment,
}

/// The clock of a system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Frequency in kHz, as subjects count: above 1 GHz.
    kilohertz: u32,
    /// Number of bits by which the counter is shifted left.
    shift: u32,
}

impl Measurement {
    pub(crate) fn begin() -> Self {
        Self { begin: Moment::now() }
    }

    /// Waits until enough time has passed.
    pub(crate) fn finish(self) -> Clock {
        thread::sleep(LEAST.saturating_sub(self.begin.at.elapsed()));
        let end = Moment::now();
        let nanoseconds = (end.at - self.begin.at).as_nanos().max(1);
        let hertz = u128::from(end.counter.wrapping_sub(self.begin.counter)) * 1_000_000_000 / nanoseconds;
        let hertz = u64::try_from(hertz).unwrap_or(u64::MAX);
        let shift = clock_shift(hertz);
        Clock { kilohertz: u32::try_from((hertz << shift) / 1000).unwrap_or(u32::MAX), shift }
    }
}

impl Clock {
    pub(crate) fn kilohertz(self) -> u32 {
        self.kilohertz
    }

    pub(crate) fn shift(self) -> u32 {
        self.shift
    }

    /// Nanoseconds that a tick lasts, as a fraction of 2^64.
    pub(crate) fn nanoseconds_per_tick(self) -> u64 {
        let fraction = (1_000_000_u128 << 64) / u128::from(self.kilohertz.max(1));
        u64::try_from(fraction).unwrap_or(u64::MAX)
    }

    /// Ticks since the counter was 0.
    pub(crate) fn ticks(self) -> u64 {
        counter() << self.shift
    }

    /// The time of day. Asked for again and again, it follows the corrections of the computer's own clock.
    pub(crate) fn time(self) -> TimeInfo {
        let since_zero = u128::from(self.ticks()) * 1000 / u128::from(self.kilohertz.max(1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        TimeInfo {
            base: u64::try_from(now.saturating_sub(since_zero)).unwrap_or(u64::MAX).max(1),
            ticks_per_second: u64::from(self.kilohertz) * 1000,
            time_zone: 0,
        }
    }
}

/// Counter and time at one moment.
struct Moment {
    counter: u64,
    at: Instant,
}

impl Moment {
    /// Of several attempts the one that was interrupted the least.
    fn now() -> Self {
        let attempt = |_| {
            let before = counter();
            let at = Instant::now();
            let after = counter();
            (after.wrapping_sub(before), Self { counter: before.midpoint(after), at })
        };
        let attempts = (0..ATTEMPTS).map(attempt);
        let best = attempts.min_by_key(|(uncertainty, _)| *uncertainty);
        best.map_or_else(|| Self { counter: counter(), at: Instant::now() }, |(_, moment)| moment)
    }
}

fn counter() -> u64 {
    // SAFETY: reads a counter that every x86-64 processor has. Linux lets processes read it unless they asked it not to.
    #[allow(unsafe_code)]
    unsafe {
        _rdtsc()
    }
}

/// The shortest measurement: the uncertainty of a moment is some ten nanoseconds, so it is exact to a few millionths.
const LEAST: Duration = Duration::from_millis(20);
const ATTEMPTS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_as_fast_as_the_computer_s() {
        let clock = Measurement::begin().finish();
        let (begin, ticks) = (Instant::now(), clock.ticks());
        thread::sleep(Duration::from_millis(50));
        let (elapsed, ticks) = (begin.elapsed().as_nanos(), clock.ticks() - ticks);
        let measured = (u128::from(ticks) * u128::from(clock.nanoseconds_per_tick())) >> 64;
        // The two are read one after the other, and something may come between.
        assert!(measured >= elapsed * 99 / 100, "{measured} {elapsed}");
        assert!(clock.kilohertz() > 1_000_000);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        assert!(u128::from(clock.time().base) <= now);
    }
}
