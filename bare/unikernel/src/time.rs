//! Time for tasks: timers, time limits, the time of day.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

pub use embassy_time::{Duration, Instant, TimeoutError, Timer, WithTimeout, with_deadline, with_timeout};

/// Nanoseconds since 1970-01-01, UTC; `None` if the system has no clock.
#[must_use]
pub fn wall() -> Option<u64> {
    solo5::clock::wall()
}

/// Wakes the tasks whose timers have expired. Returns when the next one expires, on the clock of
/// [`solo5::clock::monotonic`]: `u64::MAX` if there is none.
pub(crate) fn expire() -> u64 {
    let next = critical_section::with(|section| {
        let now = DRIVER.now();
        DRIVER.queue.borrow_ref_mut(section).next_expiration(now)
    });
    next.saturating_mul(NANOSECONDS_PER_TICK)
}

/// The timers of all tasks. Nothing interrupts the program when one expires: its loop sleeps until the next one.
struct Timers {
    queue: Mutex<RefCell<Queue>>,
}

impl Driver for Timers {
    fn now(&self) -> u64 {
        solo5::clock::monotonic() / NANOSECONDS_PER_TICK
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // The loop asks for the next expiration before it sleeps: there is no alarm to be set here.
        let _ = critical_section::with(|section| self.queue.borrow_ref_mut(section).schedule_wake(at, waker));
    }
}

embassy_time_driver::time_driver_impl!(static DRIVER: Timers = Timers { queue: Mutex::new(RefCell::new(Queue::new())) });

/// A tick is a microsecond: see the feature `tick-hz-1_000_000` in Cargo.toml.
const NANOSECONDS_PER_TICK: u64 = 1_000;
