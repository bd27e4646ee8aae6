//! The hardware of systems made by hand. The unit tests of this crate have this file, too.

use palisade_abi::layout::PAGE;
use palisade_policy::plan::{Bar, Driver, Machine, MachineDevice, Msix, PortWrite};

/// A machine with these ranges of usable memory, and 64 MiB in all.
pub(crate) fn machine(usable: Vec<(u64, u64)>) -> Machine {
    Machine {
        name: "test".into(),
        memory: 64 << 20,
        usable,
        cpus: 1,
        apic_ids: vec![0],
        local_apic: 0xfee0_0000,
        debug_port: Some(0xe9),
        pm_timer_port: Some(0x608),
        reset: vec![PortWrite { port: 0xcf9, width: 1, value: 6 }],
        serial_port: 0x3f8,
        iommu: None,
        pci: None,
        devices: Vec::new(),
    }
}

/// A network card at 00:03.0. Its MSI-X table has a page of its own, and begins at this offset there.
pub(crate) fn network_card(table_offset: u64) -> MachineDevice {
    let bar = |index, address, size| Bar { index, address, size, wide: index == 4, prefetchable: index == 4 };
    MachineDevice {
        name: "net0".into(),
        driver: Driver::VirtioNet,
        bdf: 0x18,
        vendor: 0x1af4,
        device: 0x1041,
        bars: vec![bar(1, MSIX_TABLE, PAGE), bar(4, REGISTERS, 4 * PAGE)],
        msix: Some(Msix { bar: 1, offset: table_offset, entries: 4 }),
    }
}

/// Physical addresses of the network card: its page of configuration space, its registers, and the page of its MSI-X table.
pub(crate) const CONFIGURATION: u64 = 0xb001_8000;
pub(crate) const REGISTERS: u64 = 0xfe00_0000;
pub(crate) const MSIX_TABLE: u64 = 0xfe01_0000;
