//! From a checked description to a plan: every page, event number and slice of time gets its owner.
//!
//! The same description gives the same plan, always: everything is done in the order of the description.

mod channels;
mod events;
mod memory;
mod network;
mod program;
mod schedule;
mod space;
mod supervisor;

use palisade_abi::layout::{CPU_DATA_SIZE, CPU_STACK_SIZE, CPU_START, PAGE};
use palisade_abi::plan::Iommu as IommuRecord;

use crate::machine::MachineDescription;
use crate::plan::{Cpu, Plan};
use crate::system::System;

pub(crate) use channels::{channel_plans, next_address, window_size};
pub(crate) use events::{is_native, signal_name, wire};
pub(crate) use memory::OutOfMemory;
pub(crate) use network::DMA_SIZE;
pub(crate) use program::memory_size;
pub(crate) use schedule::frames_of;

use memory::Volatile;
use space::Shared;

/// Allocates a system that has passed the rules.
///
/// # Errors
/// The volatile memory does not fit.
///
/// # Panics
/// If the system has not passed the rules: it has programs and a machine then.
pub(crate) fn allocate(system: &System) -> Result<Plan, OutOfMemory> {
    let description = &system.machine.as_ref().expect("the rules demand a machine").value;
    let mut volatile = Volatile::new(&description.machine.usable);
    volatile.exclude(CPU_START, PAGE);
    // The fixed pages come first: their addresses change only with the memory of the machine, so that a crash record is
    // found again after a reset into a changed image.
    let crash_record = volatile.kept(PAGE, "kernel: crash record")?;
    let report = volatile.cleared(PAGE, "kernel: report")?;
    let times = schedule::schedule(system, &mut volatile)?;
    let cpus = times.frames.into_iter().enumerate();
    let cpus = cpus.map(|(number, frames)| cpu(number, frames, description, &mut volatile));
    let cpus = cpus.collect::<Result<Vec<_>, _>>()?;
    let events = wire(system);
    let time_page = volatile.cleared(PAGE, "time: time page")?;
    let channels = channels::allocate(system, &mut volatile)?;
    let devices = network::devices(system, &mut volatile)?;
    let shared = Shared {
        system,
        events: &events,
        channels: &channels,
        partitions: &times.partitions,
        places: &times.places,
        devices: &devices,
        time_page,
        report,
        crash_record,
    };
    let subjects = space::subjects(&shared, &mut volatile)?;
    let iommu_queues = match &description.machine.iommu {
        // The kernel clears them before it turns the IOMMU on, which has reports in them when all else is cleared.
        Some(iommu) => {
            let size = iommu.registers.len() as u64 * IommuRecord::QUEUES_SIZE;
            volatile.kept(size, "kernel: queues of the IOMMU")?
        }
        None => 0,
    };
    let method = system.power_off.as_ref().map(|method| method.value.as_str());
    Ok(Plan {
        name: system.name.value.clone(),
        machine: description.machine.clone(),
        power_off: method
            .map_or_else(
                || description.power_off.first().map(|(_, writes)| writes.clone()),
                |method| description.power_off_method(method).map(<[_]>::to_vec),
            )
            .unwrap_or_default(),
        on_fatal: system.on_fatal,
        cpus,
        partitions: times.partitions,
        subjects,
        channels,
        devices,
        major_frame_us: times.major_frame_us,
        report,
        crash_record,
        iommu_queues,
        volatile: volatile.into_ranges(),
    })
}

fn cpu(
    number: usize,
    frames: Vec<(u32, u16)>,
    description: &MachineDescription,
    volatile: &mut Volatile,
) -> Result<Cpu, OutOfMemory> {
    let stack = volatile.kept(CPU_STACK_SIZE, &format!("kernel: stack of CPU {number}"))?;
    volatile.guard_page();
    Ok(Cpu {
        apic_id: description.machine.apic_ids.get(number).copied().unwrap_or_default(),
        frames,
        stack,
        data: volatile.cleared(CPU_DATA_SIZE, &format!("kernel: data of CPU {number}"))?,
        host_area: volatile.cleared(PAGE, &format!("kernel: host area of CPU {number}"))?,
    })
}
