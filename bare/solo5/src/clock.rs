//! The clock: nanoseconds since the machine's time-stamp counter was zero, and since 1970.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use palisade_abi::time_info::TimePage;

use crate::arch::{self, Global};
use crate::sleep;

/// Nanoseconds since some moment before the program started. Never goes backwards.
#[must_use]
pub fn monotonic() -> u64 {
    to_nanoseconds(ticks())
}

/// Nanoseconds since 1970-01-01, UTC. Waits until the time subject has published the time; `None` if there is none.
#[must_use]
pub fn wall() -> Option<u64> {
    let page = TIME.with(|page| *page).flatten()?;
    loop {
        match page.read() {
            Some(time) => return time.base.checked_mul(1000)?.checked_add(monotonic()),
            None => sleep::until(monotonic().saturating_add(PUBLICATION_POLL)),
        }
    }
}

/// Frequency of the clock in kHz.
#[must_use]
pub fn kilohertz() -> u32 {
    KILOHERTZ.load(Ordering::Relaxed)
}

/// The time-stamp counter as all published times count it: faster than 1 GHz.
#[must_use]
pub fn ticks() -> u64 {
    arch::cycles() << SHIFT.load(Ordering::Relaxed)
}

/// Ticks that last at least this many nanoseconds.
pub(crate) fn to_ticks(nanoseconds: u64) -> u64 {
    let kilohertz = u64::from(kilohertz());
    let (millions, rest) = (nanoseconds / 1_000_000, nanoseconds % 1_000_000);
    millions.saturating_mul(kilohertz).saturating_add((rest * kilohertz).div_ceil(1_000_000))
}

/// Learns scale and speed of the clock, and where the time of day is.
pub(crate) fn start() {
    TIME.with(|page| *page = arch::shared_memory("time_info").map(TimePage));
    let shift = arch::scheduling_info().map_or(0, |page| page.clock_shift());
    SHIFT.store(shift % u64::BITS, Ordering::Relaxed);
    let kilohertz = arch::subject_info().map_or(0, |info| info.tsc_khz());
    KILOHERTZ.store(kilohertz, Ordering::Relaxed);
    PER_TICK.store(nanoseconds_per_tick(kilohertz), Ordering::Relaxed);
}

fn to_nanoseconds(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(PER_TICK.load(Ordering::Relaxed))) >> 64) as u64
}

/// Nanoseconds a tick lasts, as a fraction of 2^64: less than one, because the clock is faster than 1 GHz.
fn nanoseconds_per_tick(kilohertz: u32) -> u64 {
    let kilohertz = u64::from(kilohertz.max(1));
    let high = (1_000_000 << 32) / kilohertz;
    let low = (((1_000_000 << 32) % kilohertz) << 32) / kilohertz;
    if high >> 32 == 0 { high << 32 | low } else { u64::MAX }
}

/// The time of day, found once: servers ask for it with every request.
static TIME: Global<Option<TimePage<'static>>> = Global::new(None);
static SHIFT: AtomicU32 = AtomicU32::new(0);
static KILOHERTZ: AtomicU32 = AtomicU32::new(0);
static PER_TICK: AtomicU64 = AtomicU64::new(0);

/// How often an unpublished time is looked at again.
const PUBLICATION_POLL: u64 = 1_000_000;
