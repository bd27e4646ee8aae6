//! The end of the system on all of its CPUs: one of them ends it, the others stop first.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::arch::{apic, processor};
use crate::boot::System;
use crate::console::{self, Part};
use crate::devices;
use crate::memory::PlanMemory;

/// Makes this CPU the one that ends the system. If another one is at it, this one stops here for good. No CPU begins its first frame any
/// more: those that wait for it leave.
pub(crate) fn claim(system: &System) {
    let own = system.this_cpu();
    let claimed = ENDED_BY.compare_exchange(NOBODY, own, Ordering::AcqRel, Ordering::Acquire);
    if claimed.is_err_and(|by| by != own) {
        leave(system);
    }
    system.start_line.close();
}

/// Whether a CPU ends the system.
pub(crate) fn is_claimed() -> bool {
    ENDED_BY.load(Ordering::Acquire) != NOBODY
}

/// Stops all other CPUs, and takes memory from all devices. This CPU has claimed the end; if it comes here again, that is what
/// went wrong.
pub(crate) fn stop_all(system: &System) {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if BEGUN.swap(true, Ordering::Relaxed) {
        return;
    }
    let others = system.start_line.ready() & !(1 << system.this_cpu());
    for_each(system, others, |_, apic_id| system.apic.send(apic_id, apic::STOP_VECTOR));
    // Each CPU that runs subjects or halts takes its interrupts, and the others leave the start line. One that does neither is
    // interrupted wherever it is.
    let late = wait_for(system, others);
    for_each(system, late, |_, apic_id| system.apic.send_non_maskable(apic_id));
    for_each(system, wait_for(system, late), |number, _| {
        console::line("kernel: CPU ", &[Part::Decimal(number as u64), Part::Text(" does not stop")]);
    });
    stop_devices(system);
}

/// Stops this CPU for good, and its devices with it: another CPU ends the system.
pub(crate) fn leave(system: &System) -> ! {
    let own = 1 << (system.this_cpu() & 31);
    if LEAVING.fetch_or(own, Ordering::AcqRel) & own == 0 {
        stop_devices(system);
        STOPPED.fetch_or(own, Ordering::Release);
    }
    processor::halt_for_ever()
}

/// Stops the devices whose drivers run on this CPU: its page tables, like the boot ones, map what controls them.
fn stop_devices(system: &System) {
    // SAFETY: the plan was checked at boot, and the page tables in use map the pages.
    let memory = unsafe { PlanMemory::new(&system.plan) };
    devices::stop(&system.plan, system.this_cpu(), &memory);
}

fn for_each(system: &System, cpus: u32, action: impl Fn(usize, u32)) {
    for (number, cpu) in system.plan.cpus.iter().enumerate() {
        if cpus & 1 << (number & 31) != 0 {
            action(number, cpu.apic_id);
        }
    }
}

/// Waits for these CPUs to stop, not for ever. Gives those that have not.
fn wait_for(system: &System, cpus: u32) -> u32 {
    let start = processor::tsc();
    loop {
        let late = cpus & !STOPPED.load(Ordering::Acquire);
        if late == 0 || processor::tsc().saturating_sub(start) > system.clock.ticks(LONGEST_WAIT_US) {
            return late;
        }
        spin_loop();
    }
}

/// The CPU that ends the system.
static ENDED_BY: AtomicUsize = AtomicUsize::new(NOBODY);
const NOBODY: usize = usize::MAX;
/// CPUs that have begun to stop, and those that have stopped: one bit each.
static LEAVING: AtomicU32 = AtomicU32::new(0);
static STOPPED: AtomicU32 = AtomicU32::new(0);
const LONGEST_WAIT_US: u64 = 1_000_000;
