//! The end: what cannot be dealt with. Before the system is known the kernel refuses; after that it leaves a crash record.

use core::sync::atomic::{AtomicBool, Ordering};

use palisade_abi::crash::{Crash, NO_SUBJECT, Reason, Record, Registers};
use palisade_abi::plan::{FatalAction, Plan};
use palisade_kernel_core::dispatcher::SubjectId;

use crate::arch::processor;
use crate::boot;
use crate::console::{self, Part};
use crate::ending;
use crate::machine;
use crate::memory::PlanMemory;

/// Says why this machine or image cannot run the system, and halts; no CPU begins its first frame. The first CPU with a reason
/// gives it.
pub(crate) fn refuse(parts: &[Part<'_>]) -> ! {
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let other = boot::system().and_then(|system| {
        system.start_line.close();
        Some(system.this_cpu()).filter(|cpu| *cpu != 0)
    });
    if !REFUSED.swap(true, Ordering::Relaxed) {
        let place = [Part::Text("on CPU "), Part::Decimal(other.unwrap_or(0) as u64), Part::Text(": ")];
        let place = if other.is_some() { &place[..] } else { &[] };
        console::line("kernel refused: ", &[Part::Parts(place), Part::Parts(parts)]);
    }
    processor::halt_for_ever()
}

/// Counts this boot in the crash record.
pub(crate) fn count_boot(plan: &Plan<'_>) {
    Record::count_boot(&PlanMemory::crash_record(plan));
}

/// Stops the system: writes the crash record, says so, and does what the policy wants done. `position` is the instruction and
/// stack pointer of the subject that ran last.
pub(crate) fn stop(reason: Reason, subject: Option<SubjectId>, position: (u64, u64), exit_code: u64) -> ! {
    let subject = subject.map_or(NO_SUBJECT, |s| s.index() as u32);
    let registers = Registers { rip: position.0, rsp: position.1, ..Registers::default() };
    end(reason, Crash { reason: reason as u32, subject, exit_code, registers, ..Crash::default() })
}

/// An exception or a non-maskable interrupt while the kernel ran.
#[unsafe(no_mangle)]
extern "C" fn fatal_exception(vector: u64, error_code: u64, rip: u64, rsp: u64, cr2: u64) -> ! {
    let reason = match vector {
        2 => Reason::NonMaskableInterrupt,
        18 => Reason::MachineCheck,
        _ => Reason::Exception,
    };
    let registers = Registers { rip, rsp, cr2, ..Registers::default() };
    let crash = Crash {
        reason: reason as u32,
        subject: NO_SUBJECT,
        vector: vector as u32,
        error_code,
        registers,
        ..Crash::default()
    };
    end(reason, crash)
}

fn end(reason: Reason, mut crash: Crash) -> ! {
    if let Some(system) = boot::system() {
        ending::claim(system);
        crash.cpu = system.this_cpu() as u32;
        Record::record_crash(&PlanMemory::crash_record(&system.plan), &crash);
        ending::stop_all(system);
    }
    console::line(
        "kernel stopped: ",
        &[
            Part::Text(reason.text()),
            Part::Text(", subject "),
            Part::Text(boot::system().map_or("", |s| s.plan.subject_name(crash.subject as usize))),
            Part::Text(", CPU "),
            Part::Decimal(u64::from(crash.cpu)),
            Part::Text(", vector "),
            Part::Decimal(u64::from(crash.vector)),
            Part::Text(", error code "),
            Part::Hex(crash.error_code),
            Part::Text(", exit code "),
            Part::Hex(crash.exit_code),
            Part::Text(", rip "),
            Part::Hex(crash.registers.rip),
            Part::Text(", rsp "),
            Part::Hex(crash.registers.rsp),
            Part::Text(", cr2 "),
            Part::Hex(crash.registers.cr2),
        ],
    );
    let Some(system) = boot::system() else { processor::halt_for_ever() };
    if system.plan.header.on_fatal == FatalAction::Reset as u32 {
        machine::reset(&system.plan)
    } else if system.plan.header.on_fatal == FatalAction::PowerOff as u32 {
        machine::power_off(&system.plan)
    }
    processor::halt_for_ever()
}
