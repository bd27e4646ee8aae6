//! The plan's IOMMUs: turned on before any device could reach memory, and asked for what they refused.

use palisade_abi::plan::{self, Device, Plan};
use palisade_kernel_core::device::DeviceRegisters;
use palisade_kernel_core::iommu::{self, Fault, Iommu, Problem};

use crate::arch::processor;
use crate::console::{self, Part};
use crate::fatal::refuse;
use crate::memory::Page;
use crate::report;

/// Turns the plan's IOMMUs on. Refuses if one of them cannot do what the plan wants.
pub(crate) fn set_up(plan: &Plan<'_>, registers: &impl DeviceRegisters) {
    // The tables came through the caches, which not every IOMMU looks into. They never change again.
    processor::write_back_caches();
    for record in plan.iommus {
        if let Err(problem) = Iommu::new(record, registers).set_up(plan.devices.len()) {
            let (what, detail) = explain(problem);
            refuse(&[
                Part::Text(iommu::UNIT_AT),
                Part::Hex(record.registers),
                Part::Text(what),
                Part::Text(detail),
            ]);
        }
    }
}

/// Counts what the IOMMUs refused since the last time. A driver's count is in its record of the report page; the console has
/// a line when a count is a power of two: whoever causes refusals must not fill it.
pub(crate) fn look(plan: &Plan<'_>, registers: &impl DeviceRegisters, page: Page, others: &mut u64) {
    for record in plan.iommus {
        let iommu = Iommu::new(record, registers);
        for _ in 0..MOST_AT_ONCE {
            let Some(fault) = iommu.take_fault() else { break };
            let device = plan.devices.iter().find(|device| device.bdf == fault.function);
            let count = match device {
                Some(device) => report::refused(page, device.subject),
                None => {
                    *others = others.saturating_add(1);
                    *others
                }
            };
            if count.is_power_of_two() {
                say(plan, device, fault, count);
            }
        }
    }
}

fn say(plan: &Plan<'_>, device: Option<&Device>, fault: Fault, count: u64) {
    let (name, driver) = match device {
        Some(device) => (plan::name(&device.name), plan.subject_name(usize::from(device.subject))),
        None => ("a device that is nobody's", "nobody"),
    };
    let (what, place) = match fault.address {
        Some(address) => (" was kept from memory at ", Part::Hex(address)),
        None => (" was kept from raising an interrupt that is not its own", Part::Text("")),
    };
    console::line(
        "IOMMU: ",
        &[
            Part::Text(name),
            Part::Text(" ("),
            Part::Function(fault.function),
            Part::Text(", driven by "),
            Part::Text(driver),
            Part::Text(")"),
            Part::Text(what),
            place,
            Part::Text("; refused so far: "),
            Part::Decimal(count),
        ],
    );
}

const fn explain(problem: Problem) -> (&'static str, &'static str) {
    match problem {
        Problem::Missing => (" is missing", ""),
        Problem::Lacks(what) => (iommu::HAS_NO, what),
        Problem::Stuck => (" does not do what it is told", ""),
    }
}

/// Each costs some reads of registers, microseconds on a real machine, and more may come meanwhile: whoever causes them without end
/// must take no more than a fraction of a frame from others. What is not taken waits, or is lost with the rest.
const MOST_AT_ONCE: usize = 16;
