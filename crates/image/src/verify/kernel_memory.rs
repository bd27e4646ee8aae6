//! The kernel's memory: what every page of it is for, and how it starts.

use std::collections::BTreeSet;

use palisade_abi::layout::{CPU_DATA_SIZE, CPU_STACK_SIZE, CPU_START, PAGE};
use palisade_abi::plan::{self, target_action};

use super::System;
use super::info::Memory;
use super::ranges::Ranges;
use super::rules::{
    Findings, KERNEL_MEMORY_CLEARED, KERNEL_MEMORY_DISTINCT, MEMORY_LISTED, MEMORY_RESTORED, TABLES_IN_IMAGE,
};
use super::space::Piece;
use super::start::init_table;

/// What a range of kernel memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The kernel's text, constants and data.
    Kernel,
    /// The plan.
    Plan,
    /// Registers of the local APIC.
    LocalApic,
    /// Registers of a unit of the IOMMU.
    Iommu,
    /// A unit's queues.
    IommuQueues,
    /// The report page.
    Report,
    /// The crash record.
    CrashRecord,
    /// The page at which CPUs begin, which no table maps: the kernel uses it before it loads its tables.
    CpuStart,
    /// A CPU's kernel stack.
    Stack { cpu: usize },
    /// The page below a kernel stack, which nobody may have.
    StackGuard,
    /// A CPU's kernel data.
    CpuData { cpu: usize },
    /// A CPU's page for the virtualisation extension. It is in no table: the processor uses it by its physical address.
    HostArea { cpu: usize },
    /// A partition's scheduling info.
    SchedulingInfo { partition: usize },
    /// A subject's saved state: registers, extended state, VMCB or VMCS.
    State { subject: usize },
    /// A subject's I/O and MSR bitmaps.
    Bitmap,
    /// A kernel table or a nested table.
    Table,
    /// One of a subject's own tables.
    OwnTable { subject: usize },
}

/// A range of kernel memory.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) purpose: Purpose,
    /// What it is, for messages.
    pub(super) name: String,
}

impl Holding {
    pub(super) const fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    const fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end()
    }
}

/// All kernel memory, in order of the addresses.
pub(super) fn holdings(system: &System<'_>) -> Vec<Holding> {
    let mut list = Vec::new();
    let mut add = |start: u64, size: u64, purpose, name: String| {
        list.push(Holding { start, size, purpose, name });
    };
    let header = system.plan.header;
    let image_start = system.image.start();
    add(image_start, system.plan_start - image_start, Purpose::Kernel, "the kernel".to_owned());
    add(system.plan_start, system.plan_end - system.plan_start, Purpose::Plan, "the plan".to_owned());
    add(header.local_apic, PAGE, Purpose::LocalApic, "the local APIC".to_owned());
    add(header.report, PAGE, Purpose::Report, "the report page".to_owned());
    add(header.crash_record, PAGE, Purpose::CrashRecord, "the crash record".to_owned());
    if system.plan.cpus.len() > 1 {
        add(CPU_START, PAGE, Purpose::CpuStart, "the page at which CPUs begin".to_owned());
    }
    for (cpu, record) in system.plan.cpus.iter().enumerate() {
        let bottom = record.stack_top.saturating_sub(CPU_STACK_SIZE);
        add(bottom, CPU_STACK_SIZE, Purpose::Stack { cpu }, format!("the kernel stack of CPU {cpu}"));
        let guard = bottom.saturating_sub(PAGE);
        add(guard, PAGE, Purpose::StackGuard, format!("the guard page of CPU {cpu}'s kernel stack"));
        add(record.data, CPU_DATA_SIZE, Purpose::CpuData { cpu }, format!("the kernel data of CPU {cpu}"));
        add(record.host_area, PAGE, Purpose::HostArea { cpu }, format!("the host area of CPU {cpu}"));
    }
    for record in system.plan.iommus {
        let unit = format!("the IOMMU at {:#x}", record.registers);
        add(record.queues, plan::Iommu::QUEUES_SIZE, Purpose::IommuQueues, format!("the queues of {unit}"));
        add(record.registers, record.registers_size(), Purpose::Iommu, unit);
    }
    for (partition, record) in system.plan.partitions.iter().enumerate() {
        let name = format!("the scheduling info of partition {partition}");
        add(record.scheduling_info, PAGE, Purpose::SchedulingInfo { partition }, name);
    }
    for subject in &system.subjects {
        let (id, name, record) = (subject.id, subject.name, subject.record);
        let state = Purpose::State { subject: id };
        add(record.state, PAGE, state, format!("the saved registers of {name}"));
        add(record.xsave, PAGE, state, format!("the extended state of {name}"));
        add(record.control, PAGE, state, format!("the control block of {name}"));
        let bitmaps = [
            (record.iopm, 3, "AMD I/O bitmap"),
            (record.msrpm, 2, "AMD MSR bitmap"),
            (record.io_bitmaps, 2, "Intel I/O bitmaps"),
            (record.msr_bitmap, 1, "Intel MSR bitmap"),
        ];
        for (start, pages, what) in bitmaps {
            add(start, pages * PAGE, Purpose::Bitmap, format!("the {what} of {name}"));
        }
        for (_, phys) in &subject.own_tables {
            let name = format!("a page table of {name}");
            add(*phys, PAGE, Purpose::OwnTable { subject: id }, name);
        }
    }
    let own: BTreeSet<u64> =
        system.subjects.iter().flat_map(|s| &s.own_tables).map(|(_, phys)| *phys).collect();
    for (phys, owner) in system.tables.iter().filter(|(phys, _)| !own.contains(phys)) {
        add(phys, PAGE, Purpose::Table, format!("a table of {owner}"));
    }
    list.sort_by_key(|h| (h.start, h.end()));
    // Bitmaps are read by processors only: subjects with the same rights can have the same ones.
    let shared = |h: &Holding| (h.purpose == Purpose::Bitmap).then_some((h.start, h.size));
    list.dedup_by(|a, b| shared(a).is_some() && shared(a) == shared(b));
    list
}

/// Checks that kernel memory is distinct, lies where it should, and starts cleared; and that subjects' memory starts
/// without leftovers.
pub(super) fn check(system: &System<'_>, holdings: &[Holding], findings: &mut Findings) {
    check_distinct(holdings, findings);
    for holding in holdings {
        check_place(system, holding, findings);
    }
    check_lists(system, holdings, findings);
    check_restored(system, findings);
}

fn check_distinct(holdings: &[Holding], findings: &mut Findings) {
    let mut last: Option<&Holding> = None;
    for holding in holdings {
        if let Some(other) = last.filter(|l| l.end() > holding.start) {
            findings.add(&KERNEL_MEMORY_DISTINCT, || {
                format!("{} and {} overlap at {:#x}", other.name, holding.name, holding.start)
            });
        }
        if last.is_none_or(|l| l.end() < holding.end()) {
            last = Some(holding);
        }
    }
}

fn check_place(system: &System<'_>, holding: &Holding, findings: &mut Findings) {
    let (name, start, size) = (&holding.name, holding.start, holding.size);
    let listed = system.ram.cover(start, size);
    match holding.purpose {
        Purpose::Kernel | Purpose::Plan | Purpose::StackGuard => return,
        Purpose::LocalApic | Purpose::Iommu => {
            let overlaps = system.ram.touch(start, holding.end());
            let page = start != 0 && start.is_multiple_of(PAGE);
            findings.require(page && !overlaps, &MEMORY_LISTED, || {
                format!("{name} at {start:#x} is no page of its own outside the listed memory")
            });
            return;
        }
        Purpose::Bitmap => {
            let in_image = start >= system.plan_end && system.image.at(start, size).is_some();
            findings.require(in_image, &TABLES_IN_IMAGE, || {
                format!("{name} at {start:#x} is not in the image's part for tables")
            });
            return;
        }
        Purpose::Table | Purpose::OwnTable { .. } => return,
        Purpose::Report
        | Purpose::CrashRecord
        | Purpose::CpuStart
        | Purpose::Stack { .. }
        | Purpose::CpuData { .. }
        | Purpose::HostArea { .. }
        | Purpose::IommuQueues
        | Purpose::SchedulingInfo { .. }
        | Purpose::State { .. } => {}
    }
    findings.require(listed, &MEMORY_LISTED, || {
        format!("{name} at {start:#x} is not in the list of memory ranges")
    });
    let in_image = holding.overlaps(system.image.start(), system.image.end());
    findings.require(!in_image && start.is_multiple_of(PAGE), &KERNEL_MEMORY_DISTINCT, || {
        format!("{name} at {start:#x} lies in the image")
    });
    let cleared = match holding.purpose {
        Purpose::CrashRecord
        | Purpose::CpuStart
        | Purpose::Stack { .. }
        | Purpose::HostArea { .. }
        | Purpose::IommuQueues => {
            return;
        }
        _ => system.cleared.cover(start, size),
    };
    findings
        .require(cleared, &KERNEL_MEMORY_CLEARED, || format!("{name} at {start:#x} is not cleared at boot"));
}

/// The lists of memory ranges themselves.
fn check_lists(system: &System<'_>, holdings: &[Holding], findings: &mut Findings) {
    let listed: u64 = system.plan.ram.iter().fold(0, |sum, r| sum.saturating_add(r.size));
    findings.require(listed == system.ram.size(), &MEMORY_LISTED, || {
        "two of the listed memory ranges overlap".to_owned()
    });
    findings.require(system.ram.end() <= FOUR_GIB, &MEMORY_LISTED, || {
        "the listed memory goes beyond 4 GiB, which this version does not use".to_owned()
    });
    let image = system.image;
    let listed = system.ram.cover(image.start(), image.end() - image.start());
    findings.require(listed, &MEMORY_LISTED, || "the image is not in the list of memory ranges".to_owned());
    // An IOMMU is on when the kernel clears memory: reports that vanish then would hold up all that follow.
    let kept = |h: &&Holding| {
        matches!(h.purpose, Purpose::CrashRecord | Purpose::Kernel | Purpose::Plan | Purpose::IommuQueues)
    };
    let kept: Vec<&Holding> = holdings.iter().filter(kept).collect();
    for clear in system.plan.clear {
        let (start, stop) = (clear.start, clear.start.saturating_add(clear.size));
        findings.require(system.ram.cover(start, clear.size), &KERNEL_MEMORY_CLEARED, || {
            format!("{start:#x} to {stop:#x} is cleared, but not in the list of memory ranges")
        });
        for holding in kept.iter().filter(|h| h.overlaps(start, stop)) {
            findings.add(&KERNEL_MEMORY_CLEARED, || {
                format!("clearing {start:#x} to {stop:#x} destroys {}", holding.name)
            });
        }
    }
}

/// Nothing that a subject can write keeps what an earlier owner of the memory, or an earlier life, left there.
fn check_restored(system: &System<'_>, findings: &mut Findings) {
    for subject in &system.subjects {
        let name = subject.name;
        let table = init_table(subject);
        let copies = table.iter().flat_map(|t| &t.copies);
        let restored: Ranges =
            copies.map(|c| (c.destination, c.destination.saturating_add(c.size))).collect();
        let memory = |p: &&Piece| p.access.write && !system.is_register(p.phys);
        for piece in subject.reach.pieces().iter().filter(memory) {
            let mut address = piece.address;
            while address < piece.end() {
                let channel = subject.declared(address).filter(|m| m.kind == Memory::CHANNEL);
                let cleared = system.cleared.end_at(piece.phys + (address - piece.address));
                let cleared = cleared.map(|end| piece.address + (end - piece.phys));
                let next = match channel {
                    Some(channel) => cleared.map(|end| end.min(channel.end())),
                    None if table.is_some() => restored.end_at(address),
                    None => cleared,
                };
                let Some(next) = next else {
                    findings.add(&MEMORY_RESTORED, || {
                        format!("{name}: nobody clears or restores the memory at {address:#x}")
                    });
                    break;
                };
                address = next;
            }
        }
        let targets = system.plan.target_events.get(subject.id);
        let reset = targets.is_some_and(|t| t.iter().any(|e| e.action == target_action::RESET));
        findings.require(table.is_some() || !reset, &MEMORY_RESTORED, || {
            format!("{name}: it can be reset, but has no init table that restores its memory")
        });
    }
}

const FOUR_GIB: u64 = 1 << 32;
