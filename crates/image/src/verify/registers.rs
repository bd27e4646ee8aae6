//! Who reaches addresses that are no memory: registers of devices and their configuration. And which memory the devices
//! are told to reach.

use palisade_abi::layout::CONFIG;
use palisade_abi::nic_config::{Header, MAGIC};
use zerocopy::FromBytes;

use super::System;
use super::devices::{Area, AreaContent, Device};
use super::rules::{
    CONFIGURATION_READ_ONLY, DEVICE_CONFINED, Findings, INTERRUPT_TABLES_HIDDEN, MEMORY_LISTED,
    REGISTERS_OWNED, REGISTERS_UNCACHED, SHARED_WITH_DEVICE,
};
use super::space::{Access, Piece, Space};
use super::subjects::Subject;

/// Checks that every subject reaches memory that is listed, and registers of its own devices, and nothing else.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    for subject in &system.subjects {
        for piece in subject.nested.pieces() {
            if system.ram.touch(piece.phys, piece.phys_end()) {
                check_memory(system, subject, piece, findings);
            } else {
                check_outside(system, subject, piece, findings);
            }
        }
        for (device, confined) in system.devices.iter().zip(&system.confined) {
            if usize::from(device.record.subject) == subject.id {
                check_shared(subject, device, confined.as_ref(), findings);
            }
        }
    }
}

/// A driver tells its device addresses. It computes them from its configuration, which must be right: a device writes wherever
/// it was told, or wherever it can through an IOMMU.
fn check_shared(
    subject: &Subject<'_>,
    device: &Device<'_>,
    confined: Option<&Space>,
    findings: &mut Findings,
) {
    let name = subject.name;
    let content = subject.content(CONFIG, size_of::<Header>() as u64);
    let header = content.and_then(|bytes| Header::read_from_bytes(bytes).ok()).filter(|h| h.magic == MAGIC);
    let Some(Header { dma, dma_size, dma_address, .. }) = header else {
        findings.add(&SHARED_WITH_DEVICE, || format!("{name} has no configuration at {CONFIG:#x}"));
        return;
    };
    let phys = subject.reach.translate_range(dma, dma_size);
    let own = dma_size > 0
        && phys.is_some_and(|phys| confined.is_some() || phys == dma_address)
        && subject.reach.all(dma, dma_size, |access| access == Access::READ_WRITE);
    findings.require(own, &SHARED_WITH_DEVICE, || {
        format!(
            "{name} lets its device use {dma_size:#x} bytes at {dma_address:#x}, which are not its memory at {dma:#x}"
        )
    });
    let Some(space) = confined else { return };
    let exactly = phys.is_some()
        && space.translate_range(dma_address, dma_size) == phys
        && space.size() == dma_size
        && space.all(dma_address, dma_size, |access| access == Access::READ_WRITE);
    findings.require(exactly, &DEVICE_CONFINED, || {
        format!(
            "{}: through the IOMMU it does not reach exactly the {dma_size:#x} bytes of {name} at {dma:#x}, by the address \
             {dma_address:#x}",
            device.name
        )
    });
}

fn check_memory(system: &System<'_>, subject: &Subject<'_>, piece: &Piece, findings: &mut Findings) {
    findings.require(system.ram.cover(piece.phys, piece.size), &MEMORY_LISTED, || not_listed(subject, piece));
    findings.require(!piece.access.uncached, &REGISTERS_UNCACHED, || {
        format!("{}: memory at {:#x} is mapped uncached", subject.name, piece.address)
    });
}

/// Checks a piece that has nothing to do with memory: it must be an own device's from its first to its last byte.
fn check_outside(system: &System<'_>, subject: &Subject<'_>, piece: &Piece, findings: &mut Findings) {
    let mut next = piece.phys;
    let first = system.areas.partition_point(|area| area.end <= next);
    for area in system.areas.iter().skip(first).take_while(|area| area.start < piece.phys_end()) {
        if area.start > next {
            break;
        }
        check_area(system, subject, piece, area, findings);
        next = next.max(area.end);
    }
    let registers = next >= piece.phys_end();
    findings.require(registers, &MEMORY_LISTED, || not_listed(subject, piece));
    findings.require(piece.access.uncached || !registers, &REGISTERS_UNCACHED, || {
        format!("{}: registers at {:#x} are mapped cached", subject.name, piece.address)
    });
}

fn check_area(
    system: &System<'_>,
    subject: &Subject<'_>,
    piece: &Piece,
    area: &Area,
    findings: &mut Findings,
) {
    let Some(device) = system.devices.get(area.device) else { return };
    let own = usize::from(device.record.subject) == subject.id && !piece.access.execute;
    let (rule, right, what) = match area.content {
        AreaContent::Registers => (&REGISTERS_OWNED, own, "registers"),
        AreaContent::Configuration => (&CONFIGURATION_READ_ONLY, own && !piece.access.write, "configuration"),
        AreaContent::InterruptTable => (&INTERRUPT_TABLES_HIDDEN, false, "MSI-X table"),
    };
    findings.require(right, rule, || {
        format!(
            "{} can reach the {what} of {} ({:#x}), {}, at its address {:#x}",
            subject.name,
            device.name,
            area.start,
            piece.access.name(),
            piece.address
        )
    });
}

fn not_listed(subject: &Subject<'_>, piece: &Piece) -> String {
    format!(
        "{}: {:#x} leads to {:#x}, which is not in the list of memory ranges",
        subject.name, piece.address, piece.phys
    )
}
