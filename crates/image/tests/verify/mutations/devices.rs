//! Damage to devices and their interrupts, and to who reaches registers, private keys and the driver.

use palisade_abi::layout::{CONFIG, DEVICES, PAGE, STATUS};
use palisade_abi::nic_config::Header;
use palisade_abi::plan::{
    Bar, Device, Interrupt, MemoryRange, MsixEntry, Table, TargetEvent, bar_flags, source_action,
    source_flags, target_action, trap,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{Mutation, breaks};
use crate::damage::{Damage, Rights, Tree, UNCACHED};
use crate::hardware::{CONFIGURATION, MSIX_TABLE, REGISTERS};
use crate::system::{CONSTANTS, DRIVER_REGISTERS, HELLO, KEY, LOG, NIC, PAUSED, RAM, START};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks("names-unique", &[], "a device's name ends the line of the log in which it stands", |d| {
        d.record(Table::Devices, 0, |device: &mut Device| device.name[1] = b'\n');
    }),
    breaks("unjudged-none", &[], "a device interrupt has a pin", |d| interrupt(d, |i| i.pin = 9)),
    breaks("plan-valid", &[], "a device interrupt is remapped without an IOMMU", |d| {
        interrupt(d, |i| i.remap_index = 1)
    }),
    breaks("unjudged-none", &[], "a base address register is for ports", |d| {
        bar(d, 1, |b| b.flags |= bar_flags::PORTS);
    }),
    breaks("device-records", &[], "a device is another function than its page", |d| {
        device(d, |r| r.bdf = 0x20);
    }),
    breaks("device-records", &[], "a reserved field of a device has a value", |d| {
        device(d, |r| r.reserved = 1);
    }),
    breaks("device-records", &[], "a reserved field of an MSI-X entry has a value", |d| {
        msix(d, 0, |e| e.reserved[2] = 1);
    }),
    breaks("device-records", &[], "a base address register is there twice", |d| bar(d, 0, |b| b.index = 4)),
    breaks("device-records", &[], "a base address register is the upper half of another one", |d| {
        bar(d, 0, |b| b.index = 5);
    }),
    breaks("plan-valid", &[], "a base address register of 64 bits has no upper half", |d| {
        bar(d, 1, |b| b.index = 5);
    }),
    breaks("plan-valid", &[], "a base address register does not exist", |d| bar(d, 1, |b| b.index = 6)),
    breaks(
        "device-records",
        &["interrupts-owned", "kernel-tables", "memory-has-source", "memory-listed", "memory-restored"],
        "base address registers belong to no device",
        |d| device(d, |r| r.bars = 1),
    ),
    breaks("device-space-distinct", &["memory-listed"], "registers are no whole page", |d| {
        bar(d, 1, |b| b.size = 0x800)
    }),
    breaks("device-space-distinct", &[], "registers are not aligned to their size", |d| {
        bar(d, 1, |b| (b.address, b.size) = (REGISTERS - 4 * PAGE, 8 * PAGE));
    }),
    breaks(
        "device-space-distinct",
        &["interrupt-tables-hidden"],
        "registers overlap an MSI-X table and the chipset",
        |d| {
            bar(d, 1, |b| b.size = 1 << 25);
        },
    ),
    breaks("device-space-distinct", &["memory-listed", "memory-restored"], "registers lie in memory", |d| {
        let ram = d.phys(HELLO, RAM);
        bar(d, 1, |b| b.address = ram);
    }),
    breaks(
        "device-space-distinct",
        &["memory-listed", "memory-restored"],
        "registers lie in configuration space",
        |d| {
            bar(d, 1, |b| b.address = 0xb000_0000);
        },
    ),
    breaks(
        "device-space-distinct",
        &["kernel-tables", "kernel-unreachable"],
        "registers lie where the local APIC is",
        |d| {
            d.header(|h| h.local_apic = REGISTERS);
        },
    ),
    breaks(
        "device-space-distinct",
        &["kernel-tables"],
        "the local APIC lies where another function is configured",
        |d| d.header(|h| h.local_apic = 0xb000_0000),
    ),
    breaks("device-space-distinct", &[], "memory lies where another function is configured", |d| {
        let last = d.read_header().tables[Table::Ram as usize].count as usize - 1;
        d.record(Table::Ram, last, |r: &mut MemoryRange| r.size = 0xb000_1000 - r.start);
    }),
    breaks("plan-valid", &[], "two interrupts have one vector", |d| {
        interrupt(d, |i| i.host_vector = 0x31);
    }),
    breaks("interrupts-owned", &[], "an interrupt goes to another subject", |d| {
        interrupt(d, |i| i.subject = HELLO as u16);
    }),
    breaks("interrupts-owned", &[], "two MSI-X entries raise one interrupt", |d| {
        msix(d, 1, |e| e.interrupt = 0);
    }),
    breaks("interrupts-owned", &["kernel-tables"], "an MSI-X entry lies in memory", |d| {
        let data = d.phys(HELLO, STATUS);
        msix(d, 1, |e| e.address = data);
    }),
    breaks("interrupts-owned", &[], "MSI-X entries are out of order", |d| {
        msix(d, 1, |e| e.address += 16);
    }),
    breaks("plan-valid", &[], "a device interrupt has the vector of the timer", |d| {
        interrupt(d, |i| i.host_vector = 0xf0);
    }),
    breaks("plan-valid", &[], "a device interrupt has the vector of an exception", |d| {
        interrupt(d, |i| i.guest_vector = 14);
    }),
    breaks("plan-valid", &[], "a subject starts another one's device", |d| {
        d.source_event(HELLO, PAUSED, |e| e.action = source_action::START_DEVICE);
    }),
    breaks(
        "drivers-trusted",
        &["pause-only-wakes", "subject-info-true"],
        "the network driver has another name",
        |d| d.subject(NIC, |s| s.name[0] = b'x'),
    ),
    breaks("device-control", &[], "a device reaches memory while its driver is reset", |d| {
        device(d, |r| r.stop = 0);
    }),
    breaks("device-control", &[], "a fault starts a device", |d| {
        d.subject(NIC, |s| s.trap_events[14] = START);
    }),
    breaks("plan-matches-image", &[], "an event that starts nothing names a device", |d| {
        d.source_event(HELLO, PAUSED, |e| e.device = 1);
    }),
    breaks("registers-owned", &["sharing-declared"], "another subject reaches registers", |d| {
        map_uncached(d, HELLO, FREE, REGISTERS + PAGE, Rights::Read);
    }),
    breaks("registers-owned", &["subject-info-true"], "registers can be executed", |d| {
        map_uncached(d, NIC, DRIVER_REGISTERS, REGISTERS, Rights::ReadExecute)
    }),
    breaks("one-writer", &["registers-owned"], "two subjects write to registers", |d| {
        map_uncached(d, LOG, FREE, REGISTERS, Rights::ReadWrite);
    }),
    breaks("memory-listed", &["memory-restored"], "a driver reaches what is behind its registers", |d| {
        map_uncached(d, NIC, DRIVER_REGISTERS, REGISTERS + 4 * PAGE, Rights::ReadWrite);
    }),
    breaks("configuration-read-only", &["subject-info-true"], "a driver configures its device", |d| {
        map_uncached(d, NIC, DEVICES, CONFIGURATION, Rights::ReadWrite);
    }),
    breaks("configuration-read-only", &[], "another subject reads configuration", |d| {
        map_uncached(d, HELLO, FREE, CONFIGURATION, Rights::Read);
    }),
    breaks("memory-listed", &["memory-has-source"], "a driver reads another function's configuration", |d| {
        map_uncached(d, NIC, DEVICES, CONFIGURATION + PAGE, Rights::Read);
    }),
    breaks("memory-listed", &["memory-restored"], "a driver reaches the first I/O APIC", |d| {
        map_uncached(d, NIC, FREE, 0xfec0_0000, Rights::ReadWrite);
    }),
    breaks("interrupt-tables-hidden", &[], "a driver writes where its interrupts go", |d| {
        map_uncached(d, NIC, FREE, MSIX_TABLE, Rights::ReadWrite);
    }),
    breaks(
        "interrupt-tables-hidden",
        &["kernel-tables"],
        "the MSI-X table lies among a driver's registers",
        |d| {
            for entry in 0..2 {
                msix(d, entry, |e| e.address = REGISTERS + 16 * entry as u64);
            }
        },
    ),
    breaks("registers-uncached", &[], "registers are cached", |d| {
        d.map(NIC, DRIVER_REGISTERS, REGISTERS, Rights::ReadWrite);
    }),
    breaks("registers-uncached", &["init-table-true"], "memory is uncached", |d| {
        let status = d.phys(HELLO, STATUS);
        map_uncached(d, HELLO, STATUS, status, Rights::ReadWrite);
    }),
    breaks("registers-uncached", &[], "the kernel maps the MSI-X table cached", |d| {
        d.entry(Tree::Kernel, MSIX_TABLE, 1, |e| e & !UNCACHED);
    }),
    breaks("shared-with-device", &[], "a driver tells its device another address", |d| {
        nic_config(d, |config| config.dma_address += PAGE);
    }),
    breaks("shared-with-device", &[], "a driver shares more than its memory", |d| {
        nic_config(d, |config| config.dma_size += 1);
    }),
    breaks("shared-with-device", &[], "a driver shares its constants with its device", |d| {
        let constants = d.phys(NIC, CONSTANTS);
        nic_config(d, |c| (c.dma, c.dma_size, c.dma_address) = (CONSTANTS, PAGE, constants));
    }),
    breaks("shared-with-device", &[], "a driver has no configuration", |d| {
        nic_config(d, |config| config.magic = 0);
    }),
    breaks("nested-tables-equal", &[], "registers are cached on Intel processors", |d| {
        d.entry(Tree::Ept(NIC), DRIVER_REGISTERS, 1, |e| e | 6 << 3);
    }),
    breaks("guest-rights-equal-nested", &[], "registers are cached in a driver's own tables", |d| {
        d.entry(Tree::Guest(NIC), DRIVER_REGISTERS, 1, |e| e & !UNCACHED);
    }),
    breaks("kernel-tables", &[], "the kernel cannot mask interrupts", |d| {
        d.entry(Tree::Kernel, MSIX_TABLE, 1, |_| 0);
    }),
    breaks("kernel-tables", &[], "the kernel maps another function's configuration", |d| {
        d.map_kernel(CONFIGURATION + PAGE, Rights::Read);
    }),
    breaks("private-keys", &[], "a subject reads another one's private key", |d| {
        let key = d.phys(HELLO, KEY);
        d.map(NIC, FREE, key, Rights::Read);
    }),
    breaks(
        "private-keys",
        &["content-hashes"],
        "a private key lies in two pieces, one of them another's",
        |d| {
            let constants = d.phys(NIC, CONSTANTS);
            d.map(HELLO, KEY + PAGE, constants, Rights::Read);
        },
    ),
    breaks(
        "private-keys",
        &["content-read-only", "memory-restored", "subject-info-true"],
        "a subject writes to its private key",
        |d| d.protect(HELLO, KEY, Rights::ReadWrite),
    ),
    breaks("pause-only-wakes", &[], "a pause puts its subject to sleep", |d| {
        d.source_event(HELLO, PAUSED, |e| e.action = source_action::SLEEP);
    }),
    breaks("pause-only-wakes", &[], "a pause resets another subject", |d| {
        d.record(Table::TargetEvents, NIC * 64, |e: &mut TargetEvent| e.action = target_action::RESET);
    }),
    breaks("pause-only-wakes", &[], "a pause wakes another subject than the network driver", |d| {
        d.record(Table::TargetEvents, LOG * 64, |e: &mut TargetEvent| e.action = target_action::NONE);
        d.source_event(HELLO, PAUSED, |e| (e.target, e.target_event) = (LOG as u16, 0));
    }),
    breaks("pause-only-wakes", &["events-closed"], "a pause raises an undefined event", |d| {
        d.subject(HELLO, |s| s.trap_events[usize::from(trap::PAUSE)] = 40);
    }),
    breaks("plan-valid", &[], "a pause hands its time to another group", |d| {
        d.source_event(HELLO, PAUSED, |e| e.flags = source_flags::HANDOVER);
    }),
];

fn device(d: &mut Damage, change: impl FnOnce(&mut Device)) {
    d.record(Table::Devices, 0, change);
}

fn bar(d: &mut Damage, number: usize, change: impl FnOnce(&mut Bar)) {
    d.record(Table::Bars, number, change);
}

fn msix(d: &mut Damage, number: usize, change: impl FnOnce(&mut MsixEntry)) {
    d.record(Table::MsixEntries, number, change);
}

/// Changes the first device interrupt.
fn interrupt(d: &mut Damage, change: impl FnOnce(&mut Interrupt)) {
    d.record(Table::Interrupts, 0, change);
}

/// Changes the configuration of the network driver.
fn nic_config(d: &mut Damage, change: impl FnOnce(&mut Header)) {
    let place = d.phys(NIC, CONFIG);
    let (mut header, _) = Header::read_from_prefix(d.at(place)).expect("it is there");
    change(&mut header);
    header.write_to_prefix(d.at(place)).expect("it is there");
}

/// Maps a page in all tables of a subject as registers are mapped.
fn map_uncached(d: &mut Damage, subject: usize, address: u64, phys: u64, rights: Rights) {
    d.map(subject, address, phys, rights);
    d.entry(Tree::Guest(subject), address, 1, |e| e | UNCACHED);
    d.entry(Tree::Npt(subject), address, 1, |e| e | UNCACHED);
    d.entry(Tree::Ept(subject), address, 1, |e| e & !(7 << 3));
}

/// Nothing is mapped here, but there are tables for it.
const FREE: u64 = 0xe_0007_0000;
