//! How a subject starts: entry, stack, boot info, init table, and the pages that it shares with the kernel.

use palisade_abi::layout::{
    BOOT_INFO_SIZE, INIT_STUB, INIT_TABLE, MAX_COMMAND_LINE, PAGE, REPORT, SCHEDULING_INFO, SUBJECT_INFO,
    SUBJECT_INFO_SIZE, TIMED_EVENT,
};
use palisade_abi::plan;

use super::System;
use super::bytes::u64_at;
use super::rules::{
    BOOT_INFO_TRUE, CODE_IS_TEXT, ENTRY_EXECUTABLE, Findings, INIT_TABLE_TRUE, KERNEL_WRITES_TRUE,
};
use super::space::Access;
use super::subjects::Subject;

/// Checks how every subject starts.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    for subject in &system.subjects {
        check_entry(subject, findings);
        check_boot_info(subject, findings);
        check_kernel_writes(system, subject, findings);
        check_code(system, subject, findings);
        if subject.record.rip == INIT_STUB {
            match init_table(subject) {
                Some(table) => check_init_table(subject, &table, findings),
                None => findings.add(&INIT_TABLE_TRUE, || {
                    format!("{}: there is no init table at {INIT_TABLE:#x}", subject.name)
                }),
            }
        }
    }
}

/// An init table: what the init stub does before the program starts.
pub(super) struct InitTable {
    entry: u64,
    pub(super) copies: Vec<Copy>,
}

/// A copy, or a fill.
pub(super) struct Copy {
    pub(super) destination: u64,
    /// 0 for a fill.
    source: u64,
    pub(super) size: u64,
    fill: u64,
}

/// The init table of a subject that starts at the init stub, if it is there and complete.
pub(super) fn init_table(subject: &Subject<'_>) -> Option<InitTable> {
    if subject.record.rip != INIT_STUB {
        return None;
    }
    let piece = subject.reach.at(INIT_TABLE)?;
    let size = (piece.end() - INIT_TABLE).min(REPORT - INIT_TABLE);
    let bytes = subject.content(INIT_TABLE, size)?;
    let count = usize::try_from(u64_at(bytes, 8)?).ok()?;
    let copies = bytes.get(16..16_usize.checked_add(count.checked_mul(COPY)?)?)?;
    let copies = copies
        .chunks_exact(COPY)
        .map(|c| {
            Some(Copy {
                destination: u64_at(c, 0)?,
                source: u64_at(c, 8)?,
                size: u64_at(c, 16)?,
                fill: u64_at(c, 24)?,
            })
        })
        .collect::<Option<_>>()?;
    Some(InitTable { entry: u64_at(bytes, 0)?, copies })
}

fn check_init_table(subject: &Subject<'_>, table: &InitTable, findings: &mut Findings) {
    let name = subject.name;
    findings.require(subject.is_executable(table.entry), &INIT_TABLE_TRUE, || {
        format!("{name}: the init table ends at {:#x}, which is not executable", table.entry)
    });
    for copy in &table.copies {
        let (destination, source, size) = (copy.destination, copy.source, copy.size);
        findings.require(subject.reach.all(destination, size, is_memory), &INIT_TABLE_TRUE, || {
            format!(
                "{name}: the init table writes {size:#x} bytes at {destination:#x}, not all of them writable"
            )
        });
        let readable = source == 0 || subject.reach.all(source, size, |a| !a.write);
        findings.require(readable && copy.fill <= 0xff, &INIT_TABLE_TRUE, || {
            format!(
                "{name}: the init table copies {size:#x} bytes from {source:#x}, not all of them constant"
            )
        });
    }
}

fn check_entry(subject: &Subject<'_>, findings: &mut Findings) {
    let record = subject.record;
    findings.require(subject.is_executable(record.rip), &ENTRY_EXECUTABLE, || {
        format!("{}: it starts at {:#x}, which is not executable", subject.name, record.rip)
    });
    let stack = record.rsp.is_multiple_of(8) && subject.is_writable(record.rsp, 8);
    findings.require(stack, &ENTRY_EXECUTABLE, || {
        format!("{}: its stack pointer {:#x} is not in writable memory", subject.name, record.rsp)
    });
}

fn check_boot_info(subject: &Subject<'_>, findings: &mut Findings) {
    let (name, address) = (subject.name, subject.record.rdi);
    let Some(bytes) = subject.content(address, BOOT_INFO_SIZE) else {
        findings.add(&BOOT_INFO_TRUE, || {
            format!("{name}: the {BOOT_INFO_SIZE:#x} bytes of boot info at {address:#x} are not in the image")
        });
        return;
    };
    let memory_end = u64_at(bytes, 0).unwrap_or(0);
    let in_ram = memory_end.is_multiple_of(PAGE)
        && memory_end > 0
        && subject.is_writable(memory_end - 1, 1)
        && subject.record.rsp < memory_end;
    findings.require(in_ram, &BOOT_INFO_TRUE, || {
        format!("{name}: the memory size {memory_end:#x} in its boot info is not the end of its RAM")
    });
    let line = u64_at(bytes, 24).and_then(|p| p.checked_sub(address)).and_then(|at| usize::try_from(at).ok());
    let line = line.and_then(|at| bytes.get(at..));
    let ends = line.is_some_and(|line| line.iter().take(MAX_COMMAND_LINE).any(|b| *b == 0));
    findings.require(ends, &BOOT_INFO_TRUE, || {
        format!("{name}: its command line does not end inside its boot info")
    });
}

/// The kernel writes to pages of a subject, and reads its timed event, by their physical addresses.
fn check_kernel_writes(system: &System<'_>, subject: &Subject<'_>, findings: &mut Findings) {
    let record = subject.record;
    let partition = system.plan.partitions.get(usize::from(record.partition));
    let scheduling_info = partition.map_or(0, |p| p.scheduling_info);
    let pages = [
        ("subject info", SUBJECT_INFO, SUBJECT_INFO_SIZE, record.subject_info, Access::READ),
        ("boot info", record.rdi, BOOT_INFO_SIZE, record.boot_info, Access::READ),
        ("scheduling info", SCHEDULING_INFO, PAGE, scheduling_info, Access::READ),
        ("timed event", TIMED_EVENT, PAGE, record.timed_event, Access::READ_WRITE),
    ];
    for (what, address, size, phys, access) in pages {
        if phys == 0 && what == "timed event" {
            let mapped = !subject.reach.none(address, size);
            findings.require(!mapped, &KERNEL_WRITES_TRUE, || {
                format!("{}: it has a timed-event page that the plan does not know", subject.name)
            });
            continue;
        }
        let agrees = subject.reach.translate_range(address, size) == Some(phys)
            && subject.reach.all(address, size, |a| a == access);
        findings.require(agrees, &KERNEL_WRITES_TRUE, || {
            format!(
                "{}: the plan's {what} at {phys:#x} is not what it sees, {}, at {address:#x}",
                subject.name,
                access.name()
            )
        });
    }
}

fn check_code(system: &System<'_>, subject: &Subject<'_>, findings: &mut Findings) {
    let record = subject.record;
    for code in plan::slice(system.plan.code, record.first_code, record.codes) {
        let agrees = code.size > 0
            && subject.reach.translate_range(code.virt, code.size) == Some(code.phys)
            && subject.reach.all(code.virt, code.size, |a| a == Access::READ_EXECUTE);
        findings.require(agrees, &CODE_IS_TEXT, || {
            format!(
                "{}: the code range at {:#x}, {:#x} bytes, is not executable memory at {:#x}",
                subject.name, code.virt, code.size, code.phys
            )
        });
    }
}

impl Subject<'_> {
    fn is_executable(&self, address: u64) -> bool {
        self.reach.at(address).is_some_and(|p| p.access == Access::READ_EXECUTE)
    }

    fn is_writable(&self, address: u64, size: u64) -> bool {
        self.reach.all(address, size, is_memory)
    }
}

/// Whether what can be accessed like this is writable, and no registers.
const fn is_memory(access: Access) -> bool {
    access.write && !access.uncached
}

const COPY: usize = 32;
