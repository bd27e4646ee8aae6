//! The map of an image, for people: what lies where, who reaches it with which rights, and who runs when.

use std::fmt::Write;

use palisade_abi::layout::{IMAGE_BASE, PAGE};
use palisade_abi::plan::{source_action, target_action};
use palisade_policy::plan::{Backing, Exceptions, Plan, Rights, Subject};

use crate::error::{PackError, size};
use crate::kernel::Kernel;
use crate::paging::Caching;
use crate::place::{PlacedSubject, Placement};
use crate::store::Item;
use crate::tables;

/// Writes the map.
pub(crate) fn write(
    plan: &Plan,
    placement: &Placement,
    kernel: &Kernel,
    items: &[Item],
    kernel_sha256: &[u8; 32],
) -> Result<String, PackError> {
    let mut out = Text(String::new());
    let end = items.last().map_or(IMAGE_BASE, |item| item.address + item.size);
    out.line(format_args!(
        "System {} for machine {} ({})",
        plan.name,
        plan.machine.name,
        size(plan.machine.memory)
    ));
    out.line(format_args!("Image {} ({})", range(IMAGE_BASE, end - IMAGE_BASE), size(end - IMAGE_BASE)));
    out.line(format_args!("Kernel SHA-256 {}", hex(kernel_sha256)));
    physical_memory(plan, placement, items, &mut out);
    for cpu in 0..plan.cpus.len() {
        out.title(&format!("Kernel memory on CPU {cpu}"));
        for r in tables::kernel_ranges(plan, placement, kernel, cpu)? {
            let uncached = if r.caching == Caching::Uncached { ", uncached" } else { "" };
            out.line(format_args!(
                "{}  {:>9}  {}  {}{uncached}",
                range(r.address, r.size),
                size(r.size),
                rights(r.rights),
                r.name
            ));
        }
    }
    for (id, (subject, placed)) in plan.subjects.iter().zip(&placement.subjects).enumerate() {
        describe_subject(plan, id, subject, placed, &mut out);
    }
    channels(plan, &mut out);
    devices(plan, &mut out);
    schedule(plan, &mut out);
    Ok(out.0)
}

/// What a segment of the kernel is called.
pub(crate) fn segment_name(rights: Rights) -> &'static str {
    match rights {
        Rights::ReadExecute => "text",
        Rights::Read => "constants",
        Rights::ReadWrite => "data",
    }
}

/// Every range of memory with its owner, and the subjects that reach it.
fn physical_memory(plan: &Plan, placement: &Placement, items: &[Item], out: &mut Text) {
    out.title("Physical memory");
    let content = items.iter().map(|item| (item.address, item.size, item.owners.join(", "), ""));
    let volatile = plan.volatile.iter().map(|r| {
        (
            r.start,
            r.size,
            r.owner.clone(),
            if r.clear { ", cleared at boot" } else { ", not cleared at boot" },
        )
    });
    for (address, bytes, owner, note) in content.chain(volatile) {
        let users = users(plan, placement, address, bytes);
        out.line(format_args!("{}  {:>9}  {owner}{note}{users}", range(address, bytes), size(bytes)));
    }
}

/// The subjects that have a range mapped, with their rights.
fn users(plan: &Plan, placement: &Placement, address: u64, bytes: u64) -> String {
    let mut users = Vec::new();
    for (subject, placed) in plan.subjects.iter().zip(&placement.subjects) {
        for (region, place) in subject.regions.iter().zip(&placed.regions) {
            if place.address < address + bytes && address < place.address + region.size {
                users.push(format!("{} {}", subject.name, rights(region.rights)));
            }
        }
    }
    users.dedup();
    if users.is_empty() { String::new() } else { format!("  [{}]", users.join(", ")) }
}

fn describe_subject(plan: &Plan, id: usize, subject: &Subject, placed: &PlacedSubject, out: &mut Text) {
    out.title(&format!("Subject {} ({id})", subject.name));
    out.line(format_args!("program {}, CPU {}, entry {:#x}", subject.program, subject.cpu, subject.entry));
    out.line(format_args!(
        "{}, exceptions go to {}",
        if subject.autostart { "starts at boot" } else { "is started by an event" },
        if subject.exceptions == Exceptions::Kernel { "the kernel" } else { "its own handlers" },
    ));
    for (region, place) in subject.regions.iter().zip(&placed.regions) {
        out.line(format_args!(
            "{}  {:>9}  {}  at {:#x}  {}{}",
            range(region.address, region.size),
            size(region.size),
            rights(region.rights),
            place.address,
            region.name,
            if matches!(region.backing, Backing::Device(_)) { ", registers, uncached" } else { "" }
        ));
    }
    for (first, count) in &subject.ports {
        out.line(format_args!("ports {first:#x}..={:#x}", u32::from(*first) + u32::from(*count).max(1) - 1));
    }
    for msr in &subject.msrs {
        out.line(format_args!("MSR {msr:#x}"));
    }
    for event in &subject.source_events {
        let target = event.target.map_or(String::new(), |(target, number)| {
            let name =
                |s: &Subject| s.target_events.iter().find(|t| t.number == number).map(|t| t.name.clone());
            let target = plan.subjects.get(usize::from(target));
            let event = target.and_then(name).unwrap_or_default();
            format!(" -> {}: {event} ({number})", target.map_or("", |t| &t.name))
        });
        let device = event.device.and_then(|device| plan.devices.get(usize::from(device)));
        let device = device.map_or(String::new(), |device| format!(" ({})", device.hardware.name));
        let handover = if event.handover { ", handover" } else { "" };
        let action = source_action_name(event.action);
        out.line(format_args!(
            "source event {} {}: {action}{device}{target}{handover}",
            event.number, event.name
        ));
    }
    for event in &subject.target_events {
        let action = match event.action {
            target_action::INJECT_INTERRUPT => format!("interrupt {}", event.vector),
            target_action::RESET => "reset".into(),
            _ => "wake".into(),
        };
        out.line(format_args!("target event {} {}: {action}", event.number, event.name));
    }
    let traps =
        [("a fault", subject.on_fault), ("its halt", subject.on_halt), ("each pause", subject.on_pause)];
    for (when, number) in traps {
        if let Some(number) = number {
            out.line(format_args!("{when} raises source event {number}"));
        }
    }
}

fn source_action_name(action: u8) -> &'static str {
    match action {
        source_action::SLEEP => "sleep",
        source_action::YIELD => "yield",
        source_action::SYSTEM_RESET => "reset the machine",
        source_action::SYSTEM_POWER_OFF => "power the machine off",
        source_action::SYSTEM_PANIC => "stop the system",
        source_action::START_DEVICE => "start a device",
        _ => "no action",
    }
}

fn channels(plan: &Plan, out: &mut Text) {
    if plan.channels.is_empty() {
        return;
    }
    out.title("Channels");
    let end = |(id, address): (u16, u64)| {
        let name = plan.subjects.get(usize::from(id)).map_or("", |s| &s.name);
        format!("{name} ({address:#x})")
    };
    for c in &plan.channels {
        let (writer, reader) = (end(c.writer), end(c.reader));
        out.line(format_args!(
            "{}  {:>9}  {}: {writer} -> {reader}",
            range(c.phys, c.size),
            size(c.size),
            c.name
        ));
    }
}

/// Every device with its registers, its interrupts and the memory it is told to use.
fn devices(plan: &Plan, out: &mut Text) {
    for device in &plan.devices {
        let hardware = &device.hardware;
        out.title(&format!("Device {}", hardware.name));
        let (bus, slot, function) = (hardware.bdf >> 8, hardware.bdf >> 3 & 31, hardware.bdf & 7);
        let name = |subject: u16| plan.subjects.get(usize::from(subject)).map_or("", |s| s.name.as_str());
        let owner = name(device.subject);
        out.line(format_args!(
            "at {bus:02x}:{slot:02x}.{function:x}, identifier {:04x}:{:04x}, driven by {owner}",
            hardware.vendor, hardware.device
        ));
        out.line(format_args!("{}  {:>9}  configuration", range(device.config, PAGE), size(PAGE)));
        for bar in &hardware.bars {
            let table = hardware.msix.is_some_and(|msix| msix.bar == bar.index);
            let table = if table { " with the MSI-X table, for the kernel only" } else { "" };
            let (place, bytes) = (range(bar.address, bar.size), size(bar.size));
            out.line(format_args!("{place}  {bytes:>9}  base address register {}{table}", bar.index));
        }
        for (guest, address, bytes) in &device.dma {
            out.line(format_args!(
                "{}  {:>9}  memory shared with {owner} at {guest:#x}",
                range(*address, *bytes),
                size(*bytes)
            ));
        }
        for (entry, interrupt) in device.interrupts.iter().enumerate() {
            let effect = match interrupt.guest_vector {
                0 => format!("wakes {owner}"),
                vector => format!("interrupt {vector} of {owner}"),
            };
            out.line(format_args!("MSI-X entry {entry}: vector {:#x}, {effect}", interrupt.host_vector));
        }
        out.line(match plan.machine.iommu {
            Some(_) => {
                format_args!(
                    "the IOMMU lets it reach the shared memory, at its driver's addresses, and nothing else"
                )
            }
            None => format_args!("no IOMMU: once started, the device can reach all memory"),
        });
    }
}

fn schedule(plan: &Plan, out: &mut Text) {
    out.title("Schedule");
    out.line(format_args!("major frame {} us", plan.major_frame_us));
    for (number, cpu) in plan.cpus.iter().enumerate() {
        let mut start = 0;
        for (end, partition) in &cpu.frames {
            let name = plan.partitions.get(usize::from(*partition)).map_or("", |p| &p.name);
            out.line(format_args!("CPU {number}  {start:>8}..{end:<8} us  {name}"));
            start = *end;
        }
    }
    for partition in &plan.partitions {
        let name = |id: &u16| plan.subjects.get(usize::from(*id)).map_or("", |s| s.name.as_str());
        let group = |members: &Vec<u16>| members.iter().map(name).collect::<Vec<_>>().join(" + ");
        let groups: Vec<String> = partition.groups.iter().map(group).collect();
        out.line(format_args!(
            "partition {} on CPU {}: {}",
            partition.name,
            partition.cpu,
            groups.join(", ")
        ));
    }
}

/// Text that grows by lines.
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }

    fn title(&mut self, title: &str) {
        self.line(format_args!("\n{title}"));
    }
}

fn range(start: u64, size: u64) -> String {
    format!("{start:#012x}..{:#012x}", start.saturating_add(size))
}

fn rights(rights: Rights) -> &'static str {
    match rights {
        Rights::Read => "r--",
        Rights::ReadWrite => "rw-",
        Rights::ReadExecute => "r-x",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
