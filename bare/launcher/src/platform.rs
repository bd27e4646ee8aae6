//! The functions that a program calls in place of its kernel.

use core::arch::x86_64::_rdtsc;
use core::ptr;

use palisade_abi::launch::{Event, HALTED, Header, NO_DESCRIPTOR, Word, action, descriptor, stage};
use palisade_abi::layout::{LAUNCH_TABLE, PAGE, PLATFORM};
use palisade_abi::platform::Platform;
use palisade_abi::timed_event::{NEVER, TimedEvent};
use palisade_abi::volatile::Shared;

use crate::address_space::{self, map_own, protect};
use crate::{exceptions, failure, linux};

/// Puts the functions where programs look for them.
pub(crate) fn publish() -> Result<(), Word> {
    let own_pages = |error| failure(stage::OWN_PAGES, error);
    map_own(PLATFORM, PAGE).map_err(own_pages)?;
    let platform = Platform { raise, halt, handle_exceptions: exceptions::handle };
    // SAFETY: the page was just mapped, is large enough and aligned, and nobody else knows it yet.
    unsafe { ptr::write(PLATFORM as *mut Platform, platform) };
    protect(PLATFORM, PAGE).map_err(own_pages)
}

/// The launch table's beginning. It was checked before anybody could call this.
pub(crate) fn header() -> &'static Header {
    // SAFETY: the table is mapped as long as the process lives, and nobody can change it.
    unsafe { &*(LAUNCH_TABLE as *const Header) }
}

/// Whether the address belongs to a region of the subject.
pub(crate) fn is_mapped(address: u64) -> bool {
    let regions = address_space::table().map_or(&[][..], |table| table.regions);
    regions
        .iter()
        .any(|region| (region.address..region.address.saturating_add(region.size)).contains(&address))
}

extern "C" fn raise(number: u64) {
    let Some(event) = event(number) else { return };
    signal(event);
    match event.action {
        action::SLEEP => sleep(),
        action::YIELD => drop(linux::plain(linux::SCHED_YIELD, [0; 3])),
        action::STOP => loop {
            wait(0, None);
        },
        _ => {}
    }
}

extern "C" fn halt() -> ! {
    linux::exit(HALTED)
}

fn event(number: u64) -> Option<&'static Event> {
    header().events.get(usize::try_from(number).ok()?)
}

/// Tells whoever waits for the event.
fn signal(event: &Event) {
    if event.descriptor != NO_DESCRIPTOR {
        let one = 1_u64;
        let arguments = [u64::from(event.descriptor), (&raw const one) as u64, 8, 0, 0, 0];
        // It fails only if the target has so many signals already that one more makes no difference.
        // SAFETY: Linux reads the number.
        let _ = unsafe { linux::call(linux::WRITE, arguments) };
    }
}

/// Waits until somebody has signalled this subject since the last time, or its timed event is due, which is raised then.
fn sleep() {
    let timer = timed_event().filter(|timer| timer.at() != NEVER);
    let woken = wait(1, timer.map(|timer| nanoseconds_until(timer.at())));
    if woken {
        let mut count = 0_u64;
        let arguments = [u64::from(descriptor::WAKE), (&raw mut count) as u64, 8, 0, 0, 0];
        // SAFETY: Linux writes the number of signals.
        let _ = unsafe { linux::call(linux::READ, arguments) };
    } else if let Some(timer) = timer
        && nanoseconds_until(timer.at()) == 0
    {
        timer.cancel();
        let raised = timer.event().and_then(|number| event(u64::from(number)));
        // It is this subject's own waking in most cases, and it is awake.
        if let Some(event) = raised.filter(|event| event.descriptor != descriptor::WAKE) {
            signal(event);
        }
    }
}

/// Waits for one of the first `count` descriptors (0 or 1), but not longer than this many nanoseconds. Tells whether one is
/// ready.
fn wait(count: u64, nanoseconds: Option<u64>) -> bool {
    let mut poll = Poll { descriptor: descriptor::WAKE, events: POLLIN, returned: 0 };
    let mut time = nanoseconds.map(|left| Time { seconds: left / SECOND, nanoseconds: left % SECOND });
    let time = time.as_mut().map_or(0, |time| (&raw mut *time) as u64);
    let arguments = [(&raw mut poll) as u64, count, time, 0, 0, 0];
    // SAFETY: Linux writes to both structures, which live until it returns.
    matches!(unsafe { linux::call(linux::PPOLL, arguments) }, Ok(ready) if ready > 0)
}

fn nanoseconds_until(at: u64) -> u64 {
    let header = header();
    // SAFETY: reads a counter; the host needs it itself, so it is there and may be read.
    let now = unsafe { _rdtsc() }.checked_shl(header.clock_shift).unwrap_or(u64::MAX);
    let left = u128::from(at.saturating_sub(now)) * u128::from(header.nanoseconds_per_tick);
    ((left >> 64) as u64).saturating_add(u64::from(left != 0))
}

fn timed_event() -> Option<TimedEvent<'static>> {
    // SAFETY: the host's table says where the page is, if there is one; it is mapped and writable as long as the process
    // lives. The program reaches it through atomics as well.
    unsafe { Shared::new(header().timed_event, PAGE) }.map(TimedEvent)
}

/// `struct pollfd`.
#[repr(C)]
struct Poll {
    descriptor: u32,
    events: u16,
    returned: u16,
}

/// `struct timespec`.
#[repr(C)]
struct Time {
    seconds: u64,
    nanoseconds: u64,
}

const POLLIN: u16 = 1;
const SECOND: u64 = 1_000_000_000;
