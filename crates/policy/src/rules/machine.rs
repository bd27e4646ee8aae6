//! Rules for machines and their devices.

use palisade_abi::layout::{IMAGE_BASE, PAGE};
use palisade_abi::plan::Interrupt;

use super::{Check, Rule};
use crate::document::did_you_mean;
use crate::plan::{Backing, Bar, Device, Plan, Region, Rights};
use crate::problem::{Collector, Problem};
use crate::system::System;

pub(crate) static KNOWN: Rule = Rule {
    id: "machine-known",
    specification: "The machine is a built-in one or the path of a machine file.",
    check: Check::Reading,
};

pub(crate) static MEMORY_MAP: Rule = Rule {
    id: "machine-memory",
    specification: "The machine has usable memory at 1 MiB, where images are loaded, and its ranges do not overlap.",
    check: Check::System(check_memory_map),
};

pub(crate) static POWER_OFF: Rule = Rule {
    id: "power-off-method",
    specification: "The machine has a way to be powered off, and the one that the system chooses.",
    check: Check::System(check_power_off),
};

pub(crate) static APIC_IDS: Rule = Rule {
    id: "apic-ids",
    specification: "Every CPU of the machine has a local APIC identifier of its own.",
    check: Check::System(check_apic_ids),
};

pub(crate) static APIC_REACH: Rule = Rule {
    id: "apic-reach",
    specification: "Where devices interrupt, every CPU has a local APIC identifier of 254 at most.",
    check: Check::Plan(check_apic_reach),
};

pub(crate) static PCI: Rule = Rule {
    id: "pci-bus",
    specification: "The PCI configuration space and the window for base addresses lie below 4 GiB; the former overlaps neither memory nor the chipset, from 0xfec00000 on.",
    check: Check::Reading,
};

pub(crate) static DEVICES: Rule = Rule {
    id: "device-names",
    specification: "Every device of a machine has a name and an address on the PCI bus of its own.",
    check: Check::Reading,
};

pub(crate) static BARS: Rule = Rule {
    id: "device-bars",
    specification: "Base addresses are aligned powers of two of at least a page, inside the window, and overlap neither each other, memory, configuration space nor the chipset.",
    check: Check::Reading,
};

pub(crate) static MSIX: Rule = Rule {
    id: "device-msix",
    specification: "The MSI-X table of a device lies in a base address range of its own, which no subject ever gets.",
    check: Check::Reading,
};

pub(crate) static IOMMU: Rule = Rule {
    id: "machine-iommu",
    specification: "The registers of each unit of an IOMMU are whole pages that nothing else has, and every device is on a bus behind it.",
    check: Check::Reading,
};

pub(crate) static PORT_OWNERS: Rule = Rule {
    id: "port-owners",
    specification: "No I/O port belongs to two subjects, or to a subject and the kernel.",
    check: Check::Plan(check_ports),
};

pub(crate) static DEVICE_OWNERS: Rule = Rule {
    id: "device-owners",
    specification: "A device is its driver's alone: registers, read-only configuration page, shared memory; its MSI-X table is nobody's.",
    check: Check::Plan(check_device_owners),
};

fn check_memory_map(system: &System, problems: &Collector) {
    let Some(machine) = &system.machine else { return };
    let usable = &machine.value.machine.usable;
    if !usable.iter().any(|(start, size)| (*start..start + size).contains(&IMAGE_BASE)) {
        problems.add(
            Problem::error(
                &MEMORY_MAP,
                format!("{} has no usable memory at 1 MiB", machine.value.machine.name),
            )
            .at(&machine.place, "this machine")
            .help("images are loaded there; give the machine more memory, or a range that holds it"),
        );
    }
}

fn check_power_off(system: &System, problems: &Collector) {
    let Some(machine) = &system.machine else { return };
    let methods = &machine.value.power_off;
    let name = &machine.value.machine.name;
    match &system.power_off {
        Some(method) if machine.value.power_off_method(&method.value).is_none() => problems.add(
            Problem::error(&POWER_OFF, format!("{name} has no power-off method `{}`", method.value))
                .at(&method.place, "unknown method")
                .help(did_you_mean(&method.value, methods.iter().map(|(known, _)| known.as_str()))),
        ),
        None if methods.is_empty() => problems.add(
            Problem::error(&POWER_OFF, format!("{name} has no power-off method"))
                .at(&machine.place, "this machine")
                .help("add [[power_off]] with `name` and `writes` to the machine file"),
        ),
        _ => {}
    }
}

fn check_apic_ids(system: &System, problems: &Collector) {
    let Some(machine) = &system.machine else { return };
    let (ids, cpus) = (&machine.value.machine.apic_ids, usize::from(machine.value.machine.cpus));
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != ids.len() || ids.len() < cpus {
        problems.add(
            Problem::error(
                &APIC_IDS,
                format!("{} has {cpus} CPUs and other APIC identifiers", machine.value.machine.name),
            )
            .at(&machine.place, "this machine")
            .help("list one identifier per CPU in `apic_ids`, each once; without the key they are 0, 1, ..."),
        );
    }
}

fn check_apic_reach(plan: &Plan, problems: &Collector) {
    // All local APICs are in the mode that the devices' messages are for.
    let Some(device) = plan.devices.first() else { return };
    let name = &device.hardware.name;
    let is_beyond = |apic_id| apic_id > Interrupt::LAST_APIC_ID;
    for (number, cpu) in plan.cpus.iter().enumerate().filter(|(_, cpu)| is_beyond(cpu.apic_id)) {
        problems.add(
            Problem::error(
                &APIC_REACH,
                format!("interrupts like those of `{name}` do not reach CPU {number}: its local APIC identifier is {}", cpu.apic_id),
            )
            .help("list another CPU at this place of `apic_ids` in the machine file: one with an identifier up to 254"),
        );
    }
}

fn check_ports(plan: &Plan, problems: &Collector) {
    let kernel = [plan.machine.debug_port, plan.machine.pm_timer_port].into_iter().flatten();
    let kernel = kernel.chain(plan.machine.reset.iter().chain(&plan.power_off).map(|write| write.port));
    let mut owners: Vec<(u32, u32, &str)> =
        kernel.map(|port| (u32::from(port), u32::from(port) + 1, "the kernel")).collect();
    for subject in &plan.subjects {
        for (first, count) in &subject.ports {
            let (start, end) = (u32::from(*first), u32::from(*first) + u32::from(*count));
            if let Some((_, _, owner)) = owners.iter().find(|(low, high, _)| start < *high && *low < end) {
                problems.add(
                    Problem::error(
                        &PORT_OWNERS,
                        format!(
                            "the I/O ports {start:#x}..{end:#x} of `{}` also belong to {owner}",
                            subject.name
                        ),
                    )
                    .help("a port has one owner: change the machine file or the description"),
                );
            }
            owners.push((start, end, &subject.name));
        }
    }
}

fn check_device_owners(plan: &Plan, problems: &Collector) {
    for (id, subject) in plan.subjects.iter().enumerate() {
        let own = || plan.devices.iter().filter(|device| usize::from(device.subject) == id);
        for region in &subject.regions {
            let Backing::Device(phys) = region.backing else { continue };
            if own().any(|device| may_map(device, phys, region)) {
                continue;
            }
            problems.add(
                Problem::error(
                    &DEVICE_OWNERS,
                    format!(
                        "`{}` of `{}` is no register of a device that it drives",
                        region.name, subject.name
                    ),
                )
                .help(format!("the device is at {phys:#x}")),
            );
        }
        for (device, (address, phys, size)) in
            own().flat_map(|device| device.dma.iter().map(move |dma| (device, *dma)))
        {
            let shared = |region: &Region| {
                (region.address, region.size) == (address, size)
                    && matches!(region.backing, Backing::Volatile(start) if start == phys)
            };
            if !subject.regions.iter().any(shared) {
                let name = &device.hardware.name;
                problems.add(
                    Problem::error(
                        &DEVICE_OWNERS,
                        format!("`{name}` shares memory that `{}` does not have", subject.name),
                    )
                    .help(format!("it is told to use {phys:#x}")),
                );
            }
        }
    }
}

/// Whether a region is the configuration page of a device or one of its base address ranges, but that of the MSI-X table.
fn may_map(device: &Device, phys: u64, region: &Region) -> bool {
    let table = device.hardware.msix.map(|msix| msix.bar);
    let is_range = |bar: &Bar| Some(bar.index) != table && (bar.address, bar.size) == (phys, region.size);
    match region.rights {
        Rights::Read => (phys, region.size) == (device.config, PAGE),
        Rights::ReadWrite => device.hardware.bars.iter().any(is_range),
        Rights::ReadExecute => false,
    }
}
