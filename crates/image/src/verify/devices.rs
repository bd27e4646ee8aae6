//! Devices: where they are, whose they are, what interrupts they raise, and who starts and stops them.

use std::collections::BTreeSet;

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{self, Bar, MsixEntry, NONE, Plan, bar_flags, device_stop, slice, source_action};

use super::System;
use super::rules::{
    DEVICE_CONTROL, DEVICE_RECORDS, DEVICE_SPACE, DRIVERS_TRUSTED, Findings, INTERRUPTS_OWNED, UNJUDGED_NONE,
};
use super::subjects::Subject;

/// A device as the plan describes it.
pub(super) struct Device<'a> {
    /// Where it is on the bus, for messages: `device 00:03.0`.
    pub(super) name: String,
    pub(super) record: &'a plan::Device,
    bars: &'a [Bar],
    msix: &'a [MsixEntry],
}

/// Addresses outside memory that belong to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Index of the device.
    pub(super) device: usize,
    pub(super) content: AreaContent,
}

/// What is behind the addresses of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AreaContent {
    /// The page in configuration space.
    Configuration,
    /// What a base address register addresses.
    Registers,
    /// The same, with the MSI-X table among it.
    InterruptTable,
}

impl<'a> Device<'a> {
    /// Reads all devices of a plan. There are none if their records are so wrong that nothing could be said about them.
    pub(super) fn read_all(plan: &'a Plan<'a>, findings: &mut Findings) -> Vec<Self> {
        let sum = |count: fn(&plan::Device) -> u16| plan.devices.iter().map(|d| usize::from(count(d))).sum();
        let (bars, entries): (usize, usize) = (sum(|d| d.bars), sum(|d| d.msix));
        let complete = bars == plan.bars.len() && entries == plan.msix.len();
        let few = plan.devices.iter().all(|d| usize::from(d.bars) <= MOST_BARS);
        findings.require(complete && few, &DEVICE_RECORDS, || {
            "base address registers or MSI-X entries do not belong to one device each".to_owned()
        });
        let judged = if complete && few { plan.devices } else { &[] };
        let devices = judged.iter().map(|record| Self {
            name: format!("device {}", function(record.bdf)),
            record,
            bars: slice(plan.bars, record.first_bar, record.bars),
            msix: slice(plan.msix, record.first_msix, record.msix),
        });
        devices.collect()
    }

    /// The addresses of the device, which has this index.
    fn areas(&self, device: usize) -> impl Iterator<Item = Area> {
        let config = self.record.config;
        let registers = self.bars.iter().map(move |bar| {
            let end = bar.address.saturating_add(bar.size);
            let table = self.msix.iter().any(|entry| (bar.address..end).contains(&entry.address));
            let content = if table { AreaContent::InterruptTable } else { AreaContent::Registers };
            Area { start: bar.address, end, device, content }
        });
        let content = AreaContent::Configuration;
        let page = Area { start: config, end: config.saturating_add(PAGE), device, content };
        std::iter::once(page).chain(registers)
    }

    /// The pages through which the kernel controls the device: its configuration, and its MSI-X entries.
    pub(super) fn kernel_pages(&self) -> BTreeSet<u64> {
        let entries = self.msix.iter().map(|entry| entry.address / PAGE * PAGE);
        entries.chain([self.record.config]).collect()
    }
}

/// All areas of devices, in order.
pub(super) fn areas(devices: &[Device<'_>]) -> Vec<Area> {
    let mut areas: Vec<Area> = devices.iter().enumerate().flat_map(|(n, device)| device.areas(n)).collect();
    areas.sort_by_key(|area| (area.start, area.end));
    areas
}

/// Checks what the plan says about devices.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    check_unjudged(system.plan, findings);
    check_functions(system, findings);
    check_registers(system, findings);
    check_distinct(system, findings);
    check_interrupts(system, findings);
    for device in &system.devices {
        check_control(system, device, findings);
    }
}

/// What people must know about the devices of an image that satisfies every rule.
pub(super) fn notes(system: &System<'_>) -> Vec<String> {
    if !system.plan.iommus.is_empty() {
        return Vec::new();
    }
    let note = |device: &Device<'_>| {
        let driver = system.plan.subject_name(usize::from(device.record.subject));
        format!(
            "there is no IOMMU: once {driver} has started {} ({:04x}:{:04x}), it can read and write all memory, the \
             kernel's too; so the walls rest on {driver} and on that device as they rest on the kernel",
            device.name, device.record.vendor, device.record.device
        )
    };
    system.devices.iter().map(note).collect()
}

fn check_unjudged(plan: &Plan<'_>, findings: &mut Findings) {
    for (number, i) in plan.interrupts.iter().enumerate() {
        let message = (i.pin, i.mode, i.reserved) == (NONE, 0, 0);
        findings.require(message, &UNJUDGED_NONE, || {
            format!("device interrupt {number} is not message-signalled")
        });
    }
    let ports = plan.bars.iter().any(|bar| bar.flags & bar_flags::PORTS != 0);
    findings.require(!ports, &UNJUDGED_NONE, || "a base address register addresses I/O ports".to_owned());
}

/// Every device is a function of its own, with the page of that function in one configuration space.
fn check_functions(system: &System<'_>, findings: &mut Findings) {
    let mut functions = BTreeSet::new();
    for device in &system.devices {
        findings.require(functions.insert(device.record.bdf), &DEVICE_RECORDS, || {
            format!("there are two of {}", device.name)
        });
        let first = system.devices.first().and_then(configuration_space);
        let own = configuration_space(device);
        findings.require(own.is_some() && own == first, &DEVICE_RECORDS, || {
            format!(
                "{}: its configuration page {:#x} is not that function's page in a configuration space of all devices",
                device.name, device.record.config
            )
        });
        let known = device.record.reserved == 0 && device.bars.iter().all(|bar| bar.reserved == [0; 6]);
        findings.require(known && device.msix.iter().all(|e| e.reserved == [0; 3]), &DEVICE_RECORDS, || {
            format!("{}: a reserved field is not zero", device.name)
        });
    }
}

/// Where the configuration space of bus 0 begins, if the device's page is where it belongs (PCI Express base
/// specification, 7.2.2: 4 KiB for each function, 1 MiB for each bus).
fn configuration_space(device: &Device<'_>) -> Option<u64> {
    let offset = u64::from(device.record.bdf) * PAGE;
    device.record.config.checked_sub(offset).filter(|start| *start > 0 && start.is_multiple_of(BUS))
}

fn check_registers(system: &System<'_>, findings: &mut Findings) {
    for device in &system.devices {
        let mut indices = BTreeSet::new();
        for bar in device.bars {
            let (name, index) = (&device.name, bar.index);
            let wide = bar.flags & bar_flags::WIDE != 0;
            let upper = !wide || indices.insert(index.saturating_add(1));
            findings.require(indices.insert(index) && upper, &DEVICE_RECORDS, || {
                format!("{name}: base address register {index} is there twice")
            });
            let placed = bar.size.is_power_of_two()
                && bar.size >= PAGE
                && bar.address.is_multiple_of(bar.size)
                && bar.address > 0
                && bar.address.saturating_add(bar.size) <= CHIPSET;
            findings.require(placed, &DEVICE_SPACE, || {
                format!(
                    "{name}: {:#x} bytes at {:#x} are no place for base address register {index}",
                    bar.size, bar.address
                )
            });
        }
    }
}

/// Nothing of a device overlaps anything else.
fn check_distinct(system: &System<'_>, findings: &mut Findings) {
    let name = |area: &Area| system.devices.get(area.device).map_or("", |device| device.name.as_str());
    let space = configuration_of_buses(system);
    if let Some((start, end)) = space {
        let what = occupant(system, start, end).or_else(|| (end > CHIPSET).then_some("the chipset"));
        if let Some(what) = what {
            findings.add(&DEVICE_SPACE, || {
                format!("configuration space, {start:#x} to {end:#x}, overlaps {what}")
            });
        }
    }
    let mut before: Option<&Area> = None;
    for area in &system.areas {
        let (start, end) = (area.start, area.end);
        if let Some(other) = before.filter(|other| other.end > start) {
            findings
                .add(&DEVICE_SPACE, || format!("{} and {} overlap at {start:#x}", name(other), name(area)));
        }
        if before.is_none_or(|other| other.end < end) {
            before = Some(area);
        }
        if area.content == AreaContent::Configuration {
            continue;
        }
        let configured = space.is_some_and(|(first, last)| start < last && first < end);
        let what = occupant(system, start, end).or_else(|| configured.then_some("configuration space"));
        if let Some(what) = what {
            findings.add(&DEVICE_SPACE, || format!("{}: {start:#x} to {end:#x} overlaps {what}", name(area)));
        }
    }
}

/// The configuration space of all buses up to the last one with a device. At boot the kernel writes to the pages of devices
/// that the plan does not name, too.
fn configuration_of_buses(system: &System<'_>) -> Option<(u64, u64)> {
    let start = system.devices.first().and_then(configuration_space)?;
    let last_bus = system.devices.iter().map(|device| u64::from(device.record.bdf >> 8)).max()?;
    Some((start, start.saturating_add((last_bus + 1) * BUS)))
}

/// What has some of these addresses that must not be a device's.
fn occupant(system: &System<'_>, start: u64, end: u64) -> Option<&'static str> {
    let apic = system.plan.header.local_apic;
    if system.ram.touch(start, end) {
        Some("memory")
    } else if start < apic.saturating_add(PAGE) && apic < end {
        Some("the local APIC")
    } else {
        let registers = |i: &plan::Iommu| (i.registers, i.registers.saturating_add(i.registers_size()));
        let mut iommus = system.plan.iommus.iter().map(registers);
        iommus.any(|(first, last)| start < last && first < end).then_some("the IOMMU")
    }
}

fn check_interrupts(system: &System<'_>, findings: &mut Findings) {
    let mut raised = BTreeSet::new();
    for device in &system.devices {
        for (number, entry) in device.msix.iter().enumerate() {
            let interrupt = system.plan.interrupts.get(usize::from(entry.interrupt));
            let own = interrupt.is_some_and(|i| i.subject == device.record.subject);
            findings.require(own && raised.insert(entry.interrupt), &INTERRUPTS_OWNED, || {
                format!(
                    "{}: its MSI-X entry {number} raises an interrupt of another subject or entry",
                    device.name
                )
            });
            let table = device.msix.first().map_or(0, |first| first.address);
            let in_order = entry.address == table.saturating_add(number as u64 * MSIX_ENTRY);
            let inside = device.bars.iter().any(|bar| {
                let offset = entry.address.checked_sub(bar.address);
                offset.is_some_and(|at| at.saturating_add(MSIX_ENTRY) <= bar.size)
            });
            findings.require(
                in_order && inside && entry.address.is_multiple_of(MSIX_ENTRY / 2),
                &INTERRUPTS_OWNED,
                || {
                    format!(
                        "{}: its MSI-X entry {number} at {:#x} is not behind the others in its registers",
                        device.name, entry.address
                    )
                },
            );
        }
    }
    findings.require(raised.len() == system.plan.interrupts.len(), &INTERRUPTS_OWNED, || {
        "a device interrupt belongs to no MSI-X entry".to_owned()
    });
}

fn check_control(system: &System<'_>, device: &Device<'_>, findings: &mut Findings) {
    let driver = system.plan.subject_name(usize::from(device.record.subject));
    let trusted = driver == NIC || !system.plan.iommus.is_empty();
    findings.require(trusted, &DRIVERS_TRUSTED, || {
        format!("{driver} drives {}, which can reach all memory without an IOMMU", device.name)
    });
    findings.require(device.record.stop & device_stop::BUS_MASTER != 0, &DEVICE_CONTROL, || {
        format!("{} can still reach memory while {driver} is reset", device.name)
    });
}

/// Checks that a subject starts its devices itself: a fault of the driver must not. (A plan with an event that starts
/// another subject's device is no valid plan.)
pub(super) fn check_start(
    system: &System<'_>,
    subject: &Subject<'_>,
    number: usize,
    findings: &mut Findings,
) {
    let events = system.plan.source_events.get(subject.id);
    let event = events.and_then(|events| events.get(number));
    let starts = event.is_some_and(|e| e.action == source_action::START_DEVICE);
    let by_trap = subject.record.trap_events.iter().any(|e| usize::from(*e) == number);
    findings.require(!starts || !by_trap, &DEVICE_CONTROL, || {
        format!("{}: a trap raises event {number}, which starts a device", subject.name)
    });
}

/// Bus, device and function as people write them.
pub(super) fn function(bdf: u16) -> String {
    format!("{:02x}:{:02x}.{:x}", bdf >> 8, bdf >> 3 & 31, bdf & 7)
}

/// The name of the subject that drives network devices.
pub(super) const NIC: &str = "nic";
/// Base address registers of a function.
const MOST_BARS: usize = 6;
/// Bytes of an entry of an MSI-X table (PCI local bus specification 3.0, 6.8.2).
const MSIX_ENTRY: u64 = 16;
/// Bytes of configuration space of a bus.
const BUS: u64 = 1 << 20;
/// From here to 4 GiB are I/O APICs, timers, the addresses that make writes interrupts, and the firmware.
const CHIPSET: u64 = 0xfec0_0000;
