//! What can be done to the machine as a whole: the port writes that the plan lists.

use palisade_abi::plan::{Plan, PortWrite};

use crate::arch::processor;
use crate::boot;
use crate::console;

/// Powers the machine off.
pub(crate) fn power_off(plan: &Plan<'_>) -> ! {
    write(plan.power_off);
    console::line("kernel stopped: powering off had no effect", &[]);
    processor::halt_for_ever()
}

/// Resets the machine.
pub(crate) fn reset(plan: &Plan<'_>) -> ! {
    write(plan.reset);
    console::line("kernel stopped: resetting had no effect", &[]);
    processor::halt_for_ever()
}

fn write(writes: &[PortWrite]) {
    for write in writes {
        match write.width {
            1 => processor::port_write_u8(write.port, write.value as u8),
            2 => processor::port_write_u16(write.port, write.value as u16),
            _ => processor::port_write_u32(write.port, write.value),
        }
    }
    // A chipset takes its time, and so does an emulator: a second, or for ever where the clock is not known yet.
    let Some(system) = boot::system() else { processor::halt_for_ever() };
    let start = processor::tsc();
    while processor::tsc().wrapping_sub(start) < system.clock.ticks(1_000_000) {
        core::hint::spin_loop();
    }
}
