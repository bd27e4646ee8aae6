//! Waiting without using the CPU.
//!
//! An event that arrives between a check and the sleep that follows it is not lost: the kernel remembers it, and the sleep
//! returns at once.

use palisade_abi::timed_event::TimedEvent;

use crate::arch::{self, Global};
use crate::clock;
use crate::event::{self, Event};

/// Sleeps until an event or interrupt arrives. Returns early where the policy gives the subject no event `sleep`.
pub fn wait() {
    event::raise_postponed();
    match SLEEP.with(|events| events.sleep).flatten() {
        Some(sleep) => sleep.raise(),
        None => arch::pause(),
    }
}

/// Sleeps until an event or interrupt arrives, but not beyond `deadline` on the clock [`clock::monotonic`].
pub fn wait_until(deadline: u64) {
    event::raise_postponed();
    let Some(left) = deadline.checked_sub(clock::monotonic()).filter(|left| *left > 0) else { return };
    let at = clock::ticks().saturating_add(clock::to_ticks(left));
    match SLEEP.with(|events| events.timer).flatten() {
        Some((page, event)) => {
            page.set(at, event.number());
            wait();
            page.cancel();
        }
        None => arch::pause(),
    }
}

/// Sleeps until `deadline` on the clock [`clock::monotonic`], whatever arrives.
pub fn until(deadline: u64) {
    while clock::monotonic() < deadline {
        wait_until(deadline);
    }
}

/// Gives the rest of the minor frame to others.
pub fn yield_now() {
    event::raise_postponed();
    match SLEEP.with(|events| events.give_way).flatten() {
        Some(event) => event.raise(),
        None => arch::pause(),
    }
}

/// Learns the events for sleeping.
pub(crate) fn start() {
    SLEEP.with(|events| {
        *events = Events {
            sleep: Event::named("sleep"),
            give_way: Event::named("yield"),
            timer: arch::shared_memory("timed_event").map(TimedEvent).zip(Event::named("timer")),
        }
    });
}

/// What the policy gives the subject for waiting.
struct Events {
    sleep: Option<Event>,
    give_way: Option<Event>,
    timer: Option<(TimedEvent<'static>, Event)>,
}

static SLEEP: Global<Events> = Global::new(Events { sleep: None, give_way: None, timer: None });
