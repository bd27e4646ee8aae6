use std::cell::RefCell;
use std::collections::BTreeMap;

use palisade_abi::plan::Device;

use super::*;
use crate::device::tests::{ECAM, REGISTERS, TABLE, leak, plan_with_card};

/// Functions with a word of configuration each for what they hold and which of its bits can be set.
#[derive(Default)]
struct Bus {
    words: RefCell<BTreeMap<u64, (u32, u32)>>,
    writes: RefCell<Vec<(u64, u32)>>,
}

impl Bus {
    /// A function that decodes memory and masters the bus, with this class, header type and further registers.
    fn with(self, bdf: u16, class: u32, header: u32, registers: &[(u64, u32, u32)]) -> Self {
        let own = [(ID, 0x2918_8086, 0), (COMMAND, 0x0010_0006, 0x507), (CLASS, class << 16, 0)];
        for (offset, value, mask) in own.iter().chain(&[(HEADER, header << 16, 0)]).chain(registers) {
            self.words.borrow_mut().insert(place(bdf, *offset), (*value, *mask));
        }
        self
    }

    fn word(&self, bdf: u16, offset: u64) -> u32 {
        self.read(place(bdf, offset))
    }
}

impl DeviceRegisters for Bus {
    fn read(&self, address: u64) -> u32 {
        let words = self.words.borrow();
        let absent = if words.contains_key(&(address & !(CONFIG_SIZE - 1))) { 0 } else { ABSENT };
        words.get(&address).map_or(absent, |word| word.0)
    }

    fn write(&self, address: u64, value: u32) {
        self.writes.borrow_mut().push((address, value));
        if let Some((word, mask)) = self.words.borrow_mut().get_mut(&address) {
            *word = *word & !*mask | value & *mask;
        }
    }
}

fn place(bdf: u16, offset: u64) -> u64 {
    ECAM + u64::from(bdf) * CONFIG_SIZE + offset
}

/// Who is in the way of the card's registers if a disk controller has this base address register.
fn beside(low: u32, mask: u32, high: u32) -> Option<u16> {
    let bar = [(0x10, low, mask), (0x14, high, if low & BAR_WIDE != 0 { u32::MAX } else { 0 })];
    let bus = Bus::default().with(DISK, 0x0106, 0, &bar);
    let found = first_in_the_way(&plan_with_card(), &bus);
    assert_eq!((bus.word(DISK, COMMAND), bus.word(DISK, 0x10)), (0x0010_0006, low), "it is as it was");
    found
}

/// Who is in the way if a bridge to bus 1 passes these addresses on.
fn behind(buses: u32, memory: u32, prefetchable: u32, upper: u32, plan: &Plan<'_>) -> Option<u16> {
    let windows =
        [(0x18, buses, 0), (0x20, memory, 0), (0x24, prefetchable, 0), (0x28, upper, 0), (0x2c, upper, 0)];
    first_in_the_way(plan, &Bus::default().with(BRIDGE, 0x0604, 1, &windows))
}

const DISK: u16 = 0xf8;
const BRIDGE: u16 = 0x08;
const NO_WINDOW: u32 = 0x0000_fff0;

#[test]
fn devices_of_nobody_reach_no_memory() {
    let plan = plan_with_card();
    let bus = Bus::default().with(DISK, 0x0106, 0, &[]).with(BRIDGE, 0x0604, 1, &[(0x18, 0x02_01_00, 0)]);
    silence(&plan, &bus);
    for bdf in [DISK, BRIDGE] {
        assert_eq!(bus.word(bdf, COMMAND), 0x0010_0000 | MEMORY, "and stay as they are otherwise");
    }
    assert_eq!(bus.writes.borrow().len(), 2, "nothing else is written, least of all where nothing is");
}

#[test]
fn a_bridge_on_the_way_to_a_device_lets_it_through_and_silences_its_neighbours() {
    let mut plan = plan_with_card();
    plan.devices = leak(vec![Device { bdf: 0x200, config: place(0x200, 0), ..plan.devices[0] }]);
    let bus = Bus::default()
        .with(BRIDGE, 0x0604, 1, &[(0x18, 0x02_01_00, 0)])
        .with(DISK, 0x0106, 0, &[])
        .with(0x208, 0x0106, 0, &[]);
    silence(&plan, &bus);
    assert_eq!(bus.word(BRIDGE, COMMAND) & BUS_MASTER, BUS_MASTER);
    assert_eq!([DISK, 0x208].map(|bdf| bus.word(bdf, COMMAND) & BUS_MASTER), [0, 0]);
}

#[test]
fn a_function_that_answers_where_a_device_is_to_be_is_found() {
    let (table, registers) = (TABLE as u32, REGISTERS as u32);
    assert_eq!(beside(registers, !0xfff, 0), Some(DISK));
    assert_eq!(beside(registers + 0x3000, !0xfff, 0), Some(DISK), "on the last page");
    assert_eq!(beside(registers + 0x4000, !0xfff, 0), None, "behind it");
    assert_eq!(beside(table - 0x1000, !0xfff, 0), None, "before it");
    assert_eq!(beside(registers & !0xff_ffff, !0xff_ffff, 0), Some(DISK), "all around it");
    assert_eq!(beside(registers | BAR_WIDE, !0xfff, 0), Some(DISK));
    assert_eq!(beside(registers | BAR_WIDE, !0xfff, 1), None, "4 GiB above it");
    assert_eq!(beside(registers | BAR_PORTS, !3, 0), None, "ports are no memory");
    assert_eq!(beside(0, 0, 0), None, "a register that does not exist");
}

#[test]
fn an_expansion_rom_counts_while_it_is_enabled() {
    for (enabled, found) in [(0, None), (ROM_ENABLED, Some(DISK))] {
        let rom = (EXPANSION_ROM, REGISTERS as u32 | enabled, !0xfffe);
        let bus = Bus::default().with(DISK, 0x0106, 0, &[rom]);
        assert_eq!(first_in_the_way(&plan_with_card(), &bus), found);
    }
}

#[test]
fn functions_that_decode_no_memory_are_in_nobodys_way() {
    let bar = [(0x10, REGISTERS as u32, !0xfff), (COMMAND, 0x0010_0004, 0x507)];
    let bus = Bus::default().with(DISK, 0x0106, 0, &bar);
    assert_eq!(first_in_the_way(&plan_with_card(), &bus), None);
    assert!(bus.writes.borrow().is_empty());
}

#[test]
fn the_bridge_from_the_processor_is_never_turned_off() {
    let bus = Bus::default().with(0, HOST_BRIDGE, 0, &[(0x10, REGISTERS as u32, !0xfff)]);
    assert_eq!(first_in_the_way(&plan_with_card(), &bus), None);
    assert!(bus.writes.borrow().is_empty());
}

#[test]
fn a_device_that_answers_for_functions_it_does_not_have_is_not_in_its_own_way() {
    let bar = [(0x10, REGISTERS as u32, !0xfff)];
    let echo = |header| Bus::default().with(0x18, 0x0200, header, &bar).with(0x19, 0x0200, header, &bar);
    assert_eq!(first_in_the_way(&plan_with_card(), &echo(0)), None);
    assert_eq!(first_in_the_way(&plan_with_card(), &echo(0x80)), Some(0x19));
}

#[test]
fn a_bridge_that_passes_on_what_is_for_a_device_elsewhere_is_found() {
    let plan = plan_with_card();
    let around = (REGISTERS as u32 & 0xfff0_0000) | REGISTERS as u32 >> 16 & 0xfff0;
    let buses = 0x02_01_00;
    assert_eq!(behind(buses, NO_WINDOW, NO_WINDOW, 0, &plan), None);
    assert_eq!(behind(buses, around, NO_WINDOW, 0, &plan), Some(BRIDGE));
    assert_eq!(behind(buses, NO_WINDOW, around, 0, &plan), Some(BRIDGE));
    assert_eq!(behind(buses, NO_WINDOW, around | 0x1_0001, 0, &plan), Some(BRIDGE));
    assert_eq!(behind(buses, NO_WINDOW, around | 0x1_0001, 1, &plan), None, "4 GiB above it");
    let mut plan = plan_with_card();
    plan.devices = leak(vec![Device { bdf: 0x100, config: place(0x100, 0), ..plan.devices[0] }]);
    assert_eq!(behind(buses, around, NO_WINDOW, 0, &plan), None, "the device is behind it");
}
