//! The pages that subjects read and that a machine's kernel and its subject `time` write.

use palisade_abi::layout::{PAGE, TIME_INFO};
use palisade_abi::scheduling_info::SchedulingInfo;
use palisade_abi::time_info::TimePage;
use palisade_policy::plan::{Backing, Plan};

use crate::clock::Clock;
use crate::memory::SharedMemory;

/// Writes what subjects read from the kernel and from `time`.
pub(crate) fn publish(plan: &Plan, memory: &SharedMemory, clock: Clock) {
    let now = clock.ticks();
    for partition in &plan.partitions {
        if let Some(page) = memory.part(partition.scheduling_info, PAGE).map(SchedulingInfo) {
            page.set_clock_shift(clock.shift());
            // There are no frames: one lasts as long as the system.
            page.set_frame(now, u64::MAX);
        }
    }
    publish_time(plan, memory, clock);
}

/// Writes what time it is.
pub(crate) fn publish_time(plan: &Plan, memory: &SharedMemory, clock: Clock) {
    let pages = plan.subjects.iter().flat_map(|subject| &subject.regions);
    let page = pages.filter(|region| region.address == TIME_INFO).find_map(|region| match region.backing {
        Backing::Volatile(physical) => memory.part(physical, PAGE),
        _ => None,
    });
    if let Some(page) = page.map(TimePage) {
        page.publish(&clock.time());
    }
}
