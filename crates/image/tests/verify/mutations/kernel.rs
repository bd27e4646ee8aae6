//! Damage to the kernel's memory and its tables.

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{Cpu, MemoryRange, Table};

use super::{Mutation, breaks};
use crate::damage::{NO_EXECUTE, Rights, Tree, UNCACHED, WRITE};
use crate::system::{DATA, HELLO, TEXT, TIME};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks(
        "kernel-memory-distinct",
        &["kernel-tables"],
        "two subjects share a page for saved registers",
        |d| {
            let state = d.read_subject(TIME).state;
            d.subject(HELLO, |s| s.state = state);
        },
    ),
    breaks(
        "kernel-memory-distinct",
        &["kernel-tables"],
        "a control block is another subject's extended state",
        |d| {
            let xsave = d.read_subject(TIME).xsave;
            d.subject(HELLO, |s| s.control = xsave);
        },
    ),
    breaks(
        "kernel-memory-distinct",
        &["kernel-memory-cleared", "kernel-tables", "memory-has-source"],
        "the report page is the crash record",
        |d| {
            d.header(|h| h.report = h.crash_record);
        },
    ),
    breaks(
        "kernel-memory-distinct",
        &["kernel-memory-cleared", "kernel-tables", "memory-has-source", "memory-listed"],
        "the kernel stack has no guard page",
        |d| {
            let mut bottom = 0;
            d.record(Table::Cpus, 0, |c: &mut Cpu| bottom = c.stack_top - 4 * PAGE);
            d.header(|h| h.report = bottom - PAGE);
        },
    ),
    breaks(
        "kernel-memory-distinct",
        &["kernel-memory-cleared", "kernel-tables"],
        "saved registers lie in the image",
        |d| {
            let end = d.read_header().image_end;
            d.subject(HELLO, |s| s.state = end - PAGE);
        },
    ),
    breaks("kernel-tables", &[], "the kernel maps memory of a subject", |d| {
        let data = d.phys(TIME, DATA);
        d.map_kernel(data, Rights::Read);
    }),
    breaks("kernel-tables", &[], "the kernel maps a page somewhere else", |d| {
        let report = d.read_header().report;
        d.entry(Tree::Kernel, report, 1, |e| e + PAGE);
    }),
    breaks("kernel-tables", &[], "the kernel can write to the plan", |d| {
        let plan = d.plan_address();
        d.entry(Tree::Kernel, plan, 1, |e| e | WRITE);
    }),
    breaks("kernel-tables", &[], "the kernel does not map the report page", |d| {
        let report = d.read_header().report;
        d.entry(Tree::Kernel, report, 1, |_| 0);
    }),
    breaks("kernel-tables", &[], "the kernel can write to a subject's text", |d| {
        let text = d.phys(HELLO, TEXT);
        d.entry(Tree::Kernel, text, 1, |e| e | WRITE);
    }),
    breaks("kernel-segments", &[], "the kernel can write to its constants", |d| {
        d.entry(Tree::Kernel, 0x10_2000, 1, |e| e | WRITE);
    }),
    breaks("kernel-segments", &["write-xor-execute"], "the kernel can write to its text", |d| {
        d.entry(Tree::Kernel, 0x10_0000, 1, |e| e | WRITE);
    }),
    breaks("kernel-segments", &["write-xor-execute"], "the kernel can execute its data", |d| {
        d.entry(Tree::Kernel, 0x10_3000, 1, |e| e & !NO_EXECUTE);
    }),
    breaks("kernel-segments", &[], "the kernel cannot execute its text", |d| {
        d.entry(Tree::Kernel, 0x10_0000, 1, |e| e | NO_EXECUTE);
    }),
    breaks("kernel-segments", &[], "the gap between the kernel's segments is mapped", |d| {
        d.map_kernel(0x10_1000, Rights::Read);
    }),
    breaks("registers-uncached", &[], "the local APIC is cached", |d| {
        d.entry(Tree::Kernel, 0xfee0_0000, 1, |e| e & !UNCACHED);
    }),
    breaks("registers-uncached", &[], "the report page is uncached", |d| {
        let report = d.read_header().report;
        d.entry(Tree::Kernel, report, 1, |e| e | UNCACHED);
    }),
    breaks("table-bits", &["registers-uncached"], "the local APIC is written through", |d| {
        d.entry(Tree::Kernel, 0xfee0_0000, 1, |e| e & !(1 << 4));
    }),
    breaks("memory-listed", &[], "the image is longer than the listed memory", |d| {
        d.record(Table::Ram, 0, |r: &mut MemoryRange| r.size -= PAGE);
    }),
    breaks("memory-listed", &[], "listed memory overlaps", |d| {
        d.record(Table::Ram, 0, |r: &mut MemoryRange| r.size += 60 << 20);
    }),
    breaks(
        "memory-listed",
        &["device-space-distinct", "registers-uncached"],
        "listed memory goes beyond 4 GiB",
        |d| {
            let last = d.read_header().tables[Table::Ram as usize].count as usize - 1;
            d.record(Table::Ram, last, |r: &mut MemoryRange| r.size = 4 << 30);
        },
    ),
    breaks(
        "memory-listed",
        &["device-space-distinct", "registers-uncached"],
        "the local APIC lies in RAM",
        |d| {
            let last = d.read_header().tables[Table::Ram as usize].count as usize - 1;
            d.record(Table::Ram, last, |r: &mut MemoryRange| r.size = (4 << 30) - r.start);
        },
    ),
    breaks("kernel-memory-cleared", &["memory-restored"], "nothing is cleared", |d| {
        d.header(|h| h.tables[Table::Clear as usize].count = 0);
    }),
    breaks("kernel-memory-cleared", &[], "memory is cleared that is not listed", |d| {
        let last = d.read_header().tables[Table::Clear as usize].count as usize - 1;
        d.record(Table::Clear, last, |r: &mut MemoryRange| r.size += PAGE);
    }),
];
