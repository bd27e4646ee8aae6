//! Damage to the tables of both kinds of IOMMUs, and to who reaches them.

use palisade_abi::layout::{DMA, PAGE};
use palisade_abi::nic_config::Header;
use palisade_abi::plan::{Interrupt, Iommu, MemoryRange, NONE, Table};
use palisade_policy::plan::IommuKind::{Amd, Intel};
use zerocopy::{FromBytes, IntoBytes};

use super::{Mutation, breaks_behind as breaks};
use crate::damage::{Damage, Rights, Tree, UNCACHED};
use crate::system::{CARD, HELLO, IOMMU, NIC, RAM};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks(Amd, "iommu-units", &[], "AMD: the second unit has tables of its own", |d| {
        d.record(Table::Iommus, 1, |unit: &mut Iommu| unit.device_table += PAGE);
    }),
    breaks(Intel, "iommu-units", &[], "Intel: the second unit passes other interrupts on", |d| {
        d.record(Table::Iommus, 1, |unit: &mut Iommu| unit.interrupt_table += PAGE);
    }),
    breaks(Amd, "kernel-memory-distinct", &["kernel-tables"], "two units have one queue", |d| {
        let queues = d.read_iommu().queues;
        d.record(Table::Iommus, 1, |unit: &mut Iommu| unit.queues = queues);
    }),
    breaks(Amd, "device-confined", &[], "AMD: another function reaches all memory", |d| {
        entry(d, OTHER, 0, |_| AMD_VALID | AMD_READ_WRITE);
    }),
    breaks(Amd, "device-confined", &[], "AMD: another function has no entry", |d| entry(d, OTHER, 0, |_| 0)),
    breaks(Amd, "device-confined", &[], "AMD: another function raises any interrupt", |d| {
        entry(d, OTHER, 16, |word| word | 1 << 60);
    }),
    breaks(Amd, "device-confined", &["no-hidden-bytes"], "AMD: the card is not translated", |d| {
        entry(d, CARD, 0, |_| AMD_VALID | AMD_READ_WRITE);
    }),
    breaks(Amd, "device-confined", &["no-hidden-bytes"], "AMD: the card has no domain of its own", |d| {
        entry(d, CARD, 8, |_| 0);
    }),
    breaks(Amd, "device-confined", &["no-hidden-bytes"], "AMD: the card's errors are not reported", |d| {
        entry(d, CARD, 8, |word| word | 1 << 33);
    }),
    breaks(
        Amd,
        "interrupts-remapped",
        &["device-confined", "no-hidden-bytes", "tables-are-trees"],
        "AMD: the card's interrupts are looked up in a page table",
        |d| {
            let table = entry_word(d, CARD, 0) & ADDRESS;
            entry(d, CARD, 16, |word| word & !ADDRESS | table);
        },
    ),
    breaks(Amd, "interrupts-remapped", &[], "AMD: non-maskable interrupts pass", |d| {
        entry(d, CARD, 16, |word| word | 1 << 58);
    }),
    breaks(Amd, "interrupts-remapped", &[], "AMD: the card's interrupts are not remapped", |d| {
        entry(d, CARD, 16, |word| word & !(3 << 60) | 1 << 60);
    }),
    breaks(Amd, "interrupts-remapped", &[], "AMD: an interrupt has another vector", |d| {
        amd_interrupt(d, 0, |entry| entry ^ 1 << 20);
    }),
    breaks(Amd, "interrupts-remapped", &[], "AMD: an interrupt goes to another CPU", |d| {
        amd_interrupt(d, 1, |entry| entry | 1 << 8);
    }),
    breaks(Amd, "interrupts-remapped", &[], "AMD: the card has one interrupt more", |d| {
        amd_interrupt(d, 7, |_| 1 | 0xf0 << 16);
    }),
    breaks(
        Amd,
        "tables-inside-image",
        &["device-confined", "iommu-units", "no-hidden-bytes"],
        "AMD: the device table is memory",
        |d| {
            let queues = d.read_iommu().queues;
            iommu(d, |i| i.device_table = queues);
        },
    ),
    breaks(Amd, "table-bits", &[], "AMD: a page of the card has a reserved bit", |d| {
        d.entry(Tree::Device, DMA, 1, |e| e | 1 << 58);
    }),
    breaks(Amd, "table-bits", &[], "AMD: an absent entry has an address", |d| {
        d.entry(Tree::Device, DMA + (1 << 30), 3, |_| PAGE);
    }),
    breaks(Amd, "plan-valid", &[], "AMD: an interrupt's index is a delivery mode", |d| {
        interrupt(d, |i| i.remap_index = 0x400);
    }),
    breaks(Intel, "device-confined", &[], "Intel: another function reaches what the card does", |d| {
        let root = entry_word(d, CARD, 0);
        entry(d, OTHER, 0, |_| root);
    }),
    breaks(Intel, "device-confined", &[], "Intel: a bus without devices of the plan has an entry", |d| {
        let iommu = d.read_iommu();
        d.word(iommu.device_table + 16, |_| iommu.interrupt_table | 1);
    }),
    breaks(Intel, "device-confined", &["no-hidden-bytes"], "Intel: the card is passed through", |d| {
        entry(d, CARD, 0, |word| word | 2 << 2);
    }),
    breaks(
        Intel,
        "device-confined",
        &["no-hidden-bytes"],
        "Intel: the card's errors are not reported",
        |d| {
            entry(d, CARD, 0, |word| word | 2);
        },
    ),
    breaks(
        Intel,
        "device-confined",
        &["no-hidden-bytes"],
        "Intel: the card's tables have three levels",
        |d| {
            entry(d, CARD, 8, |word| word & !7 | 1);
        },
    ),
    breaks(Intel, "interrupts-remapped", &[], "Intel: anybody may raise the card's interrupt", |d| {
        intel_interrupt(d, 0, 8, |word| word & !(3 << 18));
    }),
    breaks(Intel, "interrupts-remapped", &[], "Intel: an interrupt has another vector", |d| {
        intel_interrupt(d, 0, 0, |word| word ^ 1 << 20);
    }),
    breaks(Intel, "interrupts-remapped", &[], "Intel: an interrupt is no fixed one", |d| {
        intel_interrupt(d, 1, 0, |word| word | 4 << 5);
    }),
    breaks(Intel, "interrupts-remapped", &[], "Intel: there is one interrupt more", |d| {
        intel_interrupt(d, 200, 0, |_| 1 | 0xf0 << 16);
    }),
    breaks(Intel, "interrupts-remapped", &[], "Intel: an interrupt is refused", |d| {
        intel_interrupt(d, 1, 0, |word| word & !1);
    }),
    breaks(Intel, "table-bits", &[], "Intel: a page of the card has a reserved bit", |d| {
        d.entry(Tree::Device, DMA, 1, |e| e | 1 << 11);
    }),
    breaks(Amd, "device-confined", &[], "AMD: the card reaches another subject", |d| {
        let ram = d.phys(HELLO, RAM);
        d.entry(Tree::Device, DMA, 1, |e| e & !ADDRESS | ram);
    }),
    breaks(Intel, "device-confined", &[], "Intel: the card reaches another subject", |d| {
        let ram = d.phys(HELLO, RAM);
        d.entry(Tree::Device, DMA, 1, |e| e & !ADDRESS | ram);
    }),
    breaks(Amd, "device-confined", &[], "AMD: the card reaches more than it shares", reach_more),
    breaks(Intel, "device-confined", &[], "Intel: the card reaches more than it shares", reach_more),
    breaks(Amd, "device-confined", &[], "AMD: the card can only read", |d| {
        d.entry(Tree::Device, DMA, 1, |e| e & !(1 << 62));
    }),
    breaks(Intel, "device-confined", &[], "Intel: the card can only read", |d| {
        d.entry(Tree::Device, DMA, 1, |e| e & !2);
    }),
    breaks(Amd, "device-confined", &[], "the card is told another address", |d| {
        let place = d.phys(NIC, palisade_abi::layout::CONFIG);
        let (mut header, _) = Header::read_from_prefix(d.at(place)).expect("it is there");
        header.dma_address += PAGE;
        header.write_to_prefix(d.at(place)).expect("it is there");
    }),
    breaks(Amd, "interrupts-remapped", &[], "the plan says that an interrupt is not remapped", |d| {
        interrupt(d, |i| i.iommu = NONE);
    }),
    breaks(
        Amd,
        "kernel-unreachable",
        &["content-read-only", "memory-restored"],
        "a subject writes to the device table",
        |d| {
            let table = d.read_iommu().device_table;
            d.map(HELLO, FREE, table, Rights::ReadWrite);
        },
    ),
    breaks(Intel, "kernel-unreachable", &[], "a subject reads the table of interrupts", |d| {
        let table = d.read_iommu().interrupt_table;
        d.map(HELLO, FREE, table, Rights::Read);
    }),
    breaks(
        Intel,
        "kernel-unreachable",
        &["memory-listed", "memory-restored"],
        "a subject reaches the registers of the IOMMU",
        |d| {
            d.map(HELLO, FREE, IOMMU, Rights::ReadWrite);
            d.entry(Tree::Guest(HELLO), FREE, 1, |e| e | UNCACHED);
            d.entry(Tree::Npt(HELLO), FREE, 1, |e| e | UNCACHED);
            d.entry(Tree::Ept(HELLO), FREE, 1, |e| e & !(7 << 3));
        },
    ),
    breaks(Amd, "kernel-memory-cleared", &[], "the IOMMU's queues are cleared when it is on", |d| {
        let queues = d.read_iommu().queues;
        d.record(Table::Clear, 0, |r: &mut MemoryRange| {
            (r.start, r.size) = (queues, r.start + r.size - queues);
        });
    }),
    breaks(Amd, "kernel-tables", &[], "the kernel cannot reach the IOMMU", |d| {
        d.entry(Tree::Kernel, IOMMU + 2 * PAGE, 1, |_| 0);
    }),
    breaks(Amd, "registers-uncached", &[], "the kernel maps the IOMMU cached", |d| {
        d.entry(Tree::Kernel, IOMMU, 1, |e| e & !UNCACHED);
    }),
    breaks(
        Intel,
        "memory-listed",
        &["kernel-tables", "kernel-unreachable"],
        "the registers of the IOMMU are memory",
        |d| {
            let ram = d.phys(HELLO, RAM);
            iommu(d, |i| i.registers = ram);
        },
    ),
];

/// Lets the card reach the page behind the shared memory.
fn reach_more(d: &mut Damage) {
    let mut last = 0;
    d.entry(Tree::Device, DMA + PAGE, 1, |e| {
        last = e;
        e
    });
    d.entry(Tree::Device, DMA + 2 * PAGE, 1, |_| last + PAGE);
}

/// Changes a word of the entry for a function, at this offset.
fn entry(d: &mut Damage, function: u64, at: u64, change: impl FnOnce(u64) -> u64) {
    let place = d.device_entry(function);
    d.word(place + at, change);
}

fn entry_word(d: &mut Damage, function: u64, at: u64) -> u64 {
    let mut found = 0;
    entry(d, function, at, |word| {
        found = word;
        word
    });
    found
}

fn amd_interrupt(d: &mut Damage, index: u64, change: impl FnOnce(u32) -> u32) {
    let place = d.interrupt_entry(index);
    let entry = u32::from_le_bytes(d.at(place)[..4].try_into().expect("four bytes"));
    d.at(place)[..4].copy_from_slice(&change(entry).to_le_bytes());
}

fn intel_interrupt(d: &mut Damage, index: u64, at: u64, change: impl FnOnce(u64) -> u64) {
    let place = d.interrupt_entry(index);
    d.word(place + at, change);
}

fn interrupt(d: &mut Damage, change: impl FnOnce(&mut Interrupt)) {
    d.record(Table::Interrupts, 0, change);
}

fn iommu(d: &mut Damage, change: impl FnOnce(&mut Iommu)) {
    d.record(Table::Iommus, 0, change);
}

/// A function of nobody's: 00:04.0.
const OTHER: u64 = 0x20;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const AMD_VALID: u64 = 3;
const AMD_READ_WRITE: u64 = 3 << 61;
/// Nothing is mapped here, but there are tables for it.
const FREE: u64 = 0xe_0007_0000;
