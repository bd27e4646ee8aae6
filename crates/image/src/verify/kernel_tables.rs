//! What the kernel itself can reach on each CPU.

use palisade_abi::layout::PAGE;
use palisade_abi::plan::slice;

use super::System;
use super::kernel_memory::{Holding, Purpose};
use super::ranges::Ranges;
use super::rules::{Findings, KERNEL_SEGMENTS, KERNEL_TABLES, REGISTERS_UNCACHED, WX};
use super::space::{Access, Space};

/// Checks every CPU's kernel tables.
pub(super) fn check(system: &System<'_>, holdings: &[Holding], findings: &mut Findings) {
    for (cpu, space) in system.kernels.iter().enumerate() {
        let owner = format!("kernel tables of CPU {cpu}");
        for piece in space.pieces() {
            findings.require(piece.address == piece.phys, &KERNEL_TABLES, || {
                format!("{owner}: {:#x} leads to {:#x}", piece.address, piece.phys)
            });
            findings.require(!(piece.access.write && piece.access.execute), &WX, || {
                format!("{owner}: memory at {:#x} is writable and executable", piece.address)
            });
        }
        check_segments(system, space, &owner, findings);
        let grants = grants(system, holdings, cpu);
        check_grants(space, &grants, &owner, findings);
        check_nothing_else(system, space, &grants, &owner, findings);
    }
    check_alike(system, findings);
}

/// The kernel's own memory is the same one for all CPUs, also where nobody knows its segments: what one of them executes, no other
/// one writes.
fn check_alike(system: &System<'_>, findings: &mut Findings) {
    let Some((first, others)) = system.kernels.split_first() else { return };
    let (start, end) = (system.image.start(), system.plan_start);
    for (space, cpu) in others.iter().zip(1..) {
        findings.require(space.within(start, end).eq(first.within(start, end)), &KERNEL_SEGMENTS, || {
            format!("kernel tables of CPU {cpu}: the kernel is not mapped as on CPU 0")
        });
    }
}

/// Memory that a CPU's kernel tables map, and how.
struct Grant {
    start: u64,
    size: u64,
    access: Access,
    required: bool,
    name: String,
}

fn grants(system: &System<'_>, holdings: &[Holding], cpu: usize) -> Vec<Grant> {
    let mut grants = Vec::new();
    for holding in holdings {
        let own = match holding.purpose {
            Purpose::Plan => Some((Access::READ, true)),
            Purpose::LocalApic => Some((REGISTERS, true)),
            // The boot CPU looks after them.
            Purpose::Iommu => (cpu == 0).then_some((REGISTERS, true)),
            Purpose::IommuQueues => (cpu == 0).then_some((Access::READ_WRITE, true)),
            Purpose::Report | Purpose::CrashRecord => Some((Access::READ_WRITE, true)),
            Purpose::Stack { cpu: owner } | Purpose::CpuData { cpu: owner } => {
                (owner == cpu).then_some((Access::READ_WRITE, true))
            }
            Purpose::HostArea { cpu: owner } => (owner == cpu).then_some((Access::READ_WRITE, false)),
            Purpose::SchedulingInfo { partition } => {
                let record = system.plan.partitions.get(partition);
                record.is_some_and(|p| usize::from(p.cpu) == cpu).then_some((Access::READ_WRITE, true))
            }
            Purpose::State { subject } => {
                let record = system.plan.subjects.get(subject);
                record.is_some_and(|s| usize::from(s.cpu) == cpu).then_some((Access::READ_WRITE, true))
            }
            Purpose::Kernel
            | Purpose::StackGuard
            | Purpose::CpuStart
            | Purpose::Bitmap
            | Purpose::Table
            | Purpose::OwnTable { .. } => None,
        };
        if let Some((access, required)) = own {
            let (start, size, name) = (holding.start, holding.size, holding.name.clone());
            grants.push(Grant { start, size, access, required, name });
        }
    }
    add_subjects(system, cpu, &mut grants);
    add_devices(system, cpu, &mut grants);
    grants
}

/// What the running kernel reads and writes of its CPU's subjects. Frequencies are written before these tables are used.
fn add_subjects(system: &System<'_>, cpu: usize, grants: &mut Vec<Grant>) {
    for subject in system.subjects.iter().filter(|s| usize::from(s.record.cpu) == cpu) {
        let record = subject.record;
        let mut add = |start, size, access, what: &str| {
            let name = format!("{what} of {}", subject.name);
            grants.push(Grant { start, size, access, required: true, name });
        };
        if record.timed_event != 0 {
            add(record.timed_event, PAGE, Access::READ_WRITE, "the timed event");
        }
        for code in slice(system.plan.code, record.first_code, record.codes) {
            add(code.phys, code.size, Access::READ, "the code");
        }
    }
}

/// Where a driver runs, the kernel starts and stops its device and masks its interrupts.
fn add_devices(system: &System<'_>, cpu: usize, grants: &mut Vec<Grant>) {
    for device in &system.devices {
        let driver = system.plan.subjects.get(usize::from(device.record.subject));
        if driver.is_none_or(|subject| usize::from(subject.cpu) != cpu) {
            continue;
        }
        for start in device.kernel_pages() {
            let name = format!("control of {}", device.name);
            grants.push(Grant { start, size: PAGE, access: REGISTERS, required: true, name });
        }
    }
}

fn check_grants(space: &Space, grants: &[Grant], owner: &str, findings: &mut Findings) {
    for grant in grants {
        let registers = grant.access.uncached;
        let rights = |a: Access| (a.write, a.execute) == (grant.access.write, grant.access.execute);
        let mapped = space.all(grant.start, grant.size, rights);
        let absent = !grant.required && space.none(grant.start, grant.size);
        findings.require(mapped || absent, &KERNEL_TABLES, || {
            format!("{owner}: {} at {:#x} is not {}", grant.name, grant.start, grant.access.name())
        });
        let caching = space.all(grant.start, grant.size, |a| a.uncached == registers);
        findings.require(caching || !mapped, &REGISTERS_UNCACHED, || {
            let how = if registers { "cached" } else { "uncached" };
            format!("{owner}: {} at {:#x} is mapped {how}", grant.name, grant.start)
        });
    }
}

fn check_nothing_else(
    system: &System<'_>,
    space: &Space,
    grants: &[Grant],
    owner: &str,
    findings: &mut Findings,
) {
    let kernel = (system.image.start(), system.plan_start);
    let granted = grants.iter().map(|g| (g.start, g.start.saturating_add(g.size)));
    let allowed: Ranges = granted.chain([kernel]).collect();
    for piece in space.pieces() {
        let end = piece.phys.saturating_add(piece.size);
        let mut next = piece.phys;
        while let Some(until) = allowed.end_at(next).filter(|_| next < end) {
            next = until;
        }
        findings.require(next >= end, &KERNEL_TABLES, || {
            format!("{owner}: {next:#x} is mapped, but is not the kernel's business on this CPU")
        });
    }
}

fn check_segments(system: &System<'_>, space: &Space, owner: &str, findings: &mut Findings) {
    let entry = space.at(system.image.entry).map(|p| p.access);
    findings.require(entry == Some(Access::READ_EXECUTE), &KERNEL_SEGMENTS, || {
        format!("{owner}: the entry point is not read-execute")
    });
    let Some(segments) = &system.segments else { return };
    let mut next = system.image.start();
    for segment in segments {
        let access =
            Access { execute: segment.flags & 1 != 0, write: segment.flags & 2 != 0, uncached: false };
        let size = segment.size.next_multiple_of(PAGE);
        findings.require(space.all(segment.address, size, |a| a == access), &KERNEL_SEGMENTS, || {
            format!("{owner}: the kernel's segment at {:#x} is not {}", segment.address, access.name())
        });
        let gap = segment.address.saturating_sub(next);
        findings.require(gap == 0 || space.none(next, gap), &KERNEL_SEGMENTS, || {
            format!("{owner}: memory between the kernel's segments is mapped at {next:#x}")
        });
        next = segment.address.saturating_add(size);
    }
}

/// How the kernel maps what is no memory.
const REGISTERS: Access = Access { uncached: true, ..Access::READ_WRITE };
