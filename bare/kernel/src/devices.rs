//! The plan's devices at boot: checked, placed and silent before anything of theirs could reach memory.

use palisade_abi::needs;
use palisade_abi::plan::{self, Device, Plan};
use palisade_kernel_core::device::{DeviceRegisters, Function, Problem, others};

use crate::console::{self, Part};
use crate::fatal::refuse;
use crate::iommus;

/// Takes memory from all devices that the firmware may have left running, turns the IOMMUs on, and prepares the plan's devices. Refuses
/// if something is not as the plan says, and warns of devices that no IOMMU confines.
pub(crate) fn set_up(plan: &Plan<'_>, registers: &impl DeviceRegisters) {
    others::silence(plan, registers);
    for record in plan.devices {
        Function::new(plan, record, registers).silence();
    }
    iommus::set_up(plan, registers);
    if let Some(function) = others::first_in_the_way(plan, registers) {
        refuse(&[
            Part::Text("the function at "),
            Part::Function(function),
            Part::Text(" answers at addresses that the plan gives to a device"),
        ]);
    }
    for record in plan.devices {
        if let Err(problem) = Function::new(plan, record, registers).set_up() {
            refuse_device(record, problem);
        }
        if plan.iommus.is_empty() {
            console::line(
                "warning: ",
                &[Part::Text(plan::name(&record.name)), Part::Text(needs::UNCONFINED)],
            );
        }
    }
}

/// Takes memory from all devices whose drivers run on `cpu`, for the end of the system: nothing of theirs arrives any more, whether
/// the machine stays as it is, is reset or powered off.
pub(crate) fn stop(plan: &Plan<'_>, cpu: usize, registers: &impl DeviceRegisters) {
    let driver = |record: &&Device| plan.subjects.get(usize::from(record.subject));
    for record in plan.devices.iter().filter(|d| driver(d).is_some_and(|s| usize::from(s.cpu) == cpu)) {
        Function::new(plan, record, registers).stop();
    }
}

fn refuse_device(device: &Device, problem: Problem) -> ! {
    let (what, detail) = explain(problem);
    refuse(&[Part::Text("the device at "), Part::Function(device.bdf), Part::Text(what), detail])
}

const fn explain(problem: Problem) -> (&'static str, Part<'static>) {
    const NOTHING: Part<'_> = Part::Text("");
    match problem {
        Problem::Missing => (" is missing", NOTHING),
        Problem::Other(id) => {
            (" is another one than the plan's: device and vendor are ", Part::Hex(id as u64))
        }
        Problem::HeaderType(header) => (" is no plain device: it has header type ", Part::Hex(header as u64)),
        Problem::UnknownBar(index) => {
            (" has a base address register that the plan does not name: number ", Part::Decimal(index as u64))
        }
        Problem::OtherBar(index) => (
            " has a base address register of another kind or size than in the plan: number ",
            Part::Decimal(index as u64),
        ),
        Problem::Misplaced(index) => (
            " has a base address register that is not at its place and cannot be moved there: number ",
            Part::Decimal(index as u64),
        ),
        Problem::Msix => (" has no MSI-X table where the plan says", NOTHING),
        Problem::PendingBits => {
            (" has the pending bits of its MSI-X table elsewhere than the table", NOTHING)
        }
        Problem::Interrupt => (" has an interrupt that does not reach its subject's CPU", NOTHING),
        Problem::NoFunctionReset => (" cannot be reset on its own, as the plan wants it", NOTHING),
    }
}
