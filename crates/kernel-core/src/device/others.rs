//! PCI functions that the plan gives to nobody. They are on the buses up to the last one with a device of the plan; further
//! ones reach memory through bridges on these, or through another root complex, which nobody looks for.
//!
//! Without a device in the plan the place of the configuration space is not known: then nobody looks at any of them.

use palisade_abi::pci::{
    ABSENT, BAR_KIND, BAR_PORTS, BAR_WIDE, BARS, BUS_MASTER, CLASS, COMMAND, COMMAND_MASK, CONFIG_SIZE,
    EXPANSION_ROM, HEADER, ID, MEMORY, bar_register,
};
use palisade_abi::plan::Plan;

use super::DeviceRegisters;

/// Turns bus mastering off for every function that the plan gives to nobody and that leads to none of its devices: what the
/// firmware or a loader left running reaches memory no more.
pub fn silence(plan: &Plan<'_>, registers: &impl DeviceRegisters) {
    for other in others(plan, registers).filter(|other| !other.leads_to_a_device()) {
        other.set_command(other.command() & !BUS_MASTER);
    }
}

/// The first function (bus, device, function) that the plan gives to nobody and that answers at addresses which the plan
/// gives to a device: who reads or writes there would reach the one or the other, or both.
pub fn first_in_the_way(plan: &Plan<'_>, registers: &impl DeviceRegisters) -> Option<u16> {
    others(plan, registers).find(Other::is_in_the_way).map(|other| other.bdf)
}

/// Every function that answers and is not in the plan.
fn others<'a, R: DeviceRegisters>(
    plan: &'a Plan<'a>,
    registers: &'a R,
) -> impl Iterator<Item = Other<'a, R>> {
    let first = plan.devices.first();
    let space = first.and_then(|d| d.config.checked_sub(u64::from(d.bdf) * CONFIG_SIZE));
    let last = plan.devices.iter().map(|device| device.bdf | FUNCTION_OF_BUS).max().unwrap_or(0);
    let every = space
        .into_iter()
        .flat_map(move |space| (0..=last).map(move |bdf| Other { plan, registers, space, bdf }));
    every.filter(|other| !plan.devices.iter().any(|d| d.bdf == other.bdf) && other.read(ID) != ABSENT)
}

/// A function that is not in the plan.
struct Other<'a, R> {
    plan: &'a Plan<'a>,
    registers: &'a R,
    /// Where the configuration space of bus 0 begins.
    space: u64,
    bdf: u16,
}

impl<R: DeviceRegisters> Other<'_, R> {
    /// Whether it is a bridge to a bus on which a device of the plan is, or is on the way to one.
    fn leads_to_a_device(&self) -> bool {
        if !self.is_bridge() {
            return false;
        }
        let buses = self.read(BRIDGE_BUSES);
        let behind = (buses >> 8) as u8..=(buses >> 16) as u8;
        self.plan.devices.iter().any(|device| behind.contains(&((device.bdf >> 8) as u8)))
    }

    /// Whether it answers at addresses of a device of the plan. Meanwhile it answers at none: sizes are probed by writing ones.
    /// Bridges from the processor have no such registers, and must not be turned off.
    fn is_in_the_way(&self) -> bool {
        let command = self.command();
        if command & MEMORY == 0 || self.read(CLASS) >> 16 == HOST_BRIDGE || self.is_an_echo() {
            return false;
        }
        self.set_command(command & !MEMORY);
        let is_in_the_way = self.has_a_register_in_the_way() || self.has_a_window_in_the_way();
        self.set_command(command);
        is_in_the_way
    }

    fn has_a_register_in_the_way(&self) -> bool {
        let (bars, rom) = if self.is_bridge() { (2, BRIDGE_ROM) } else { (BARS, EXPANSION_ROM) };
        let mut index = 0;
        while index < bars {
            let register = bar_register(index);
            let low = self.read(register);
            let wide = low & (BAR_PORTS | BAR_TYPE) == BAR_WIDE;
            if low & BAR_PORTS == 0 && self.meets_a_device(&self.range(register, wide, BAR_KIND)) {
                return true;
            }
            index += if wide { 2 } else { 1 };
        }
        self.read(rom) & ROM_ENABLED != 0 && self.meets_a_device(&self.range(rom, false, ROM_KIND))
    }

    /// Whether a bridge passes on what is for a device of the plan, and that device is not behind it.
    fn has_a_window_in_the_way(&self) -> bool {
        if !self.is_bridge() || self.leads_to_a_device() {
            return false;
        }
        let window = |at, upper: (u32, u32)| {
            let limits = self.read(at);
            let first = u64::from(limits & 0xfff0) << 16 | u64::from(upper.0) << 32;
            let last = u64::from(limits & 0xfff0_0000) | 0xf_ffff | u64::from(upper.1) << 32;
            Range { first, last }
        };
        let wide = self.read(BRIDGE_PREFETCHABLE) & 0xf == 1;
        let upper = if wide { (self.read(BRIDGE_UPPER_BASE), self.read(BRIDGE_UPPER_LIMIT)) } else { (0, 0) };
        self.meets_a_device(&window(BRIDGE_MEMORY, (0, 0)))
            || self.meets_a_device(&window(BRIDGE_PREFETCHABLE, upper))
    }

    fn meets_a_device(&self, range: &Range) -> bool {
        let meets = |start: u64, size: u64| start <= range.last && range.first.saturating_sub(start) < size;
        range.first <= range.last && self.plan.bars.iter().any(|bar| meets(bar.address, bar.size))
    }

    /// The addresses behind a register whose bits in `kind` are no address.
    fn range(&self, register: u64, wide: bool, kind: u32) -> Range {
        let (first, mask) = self.probe(register);
        let (upper, upper_mask) = if wide { self.probe(register + 4) } else { (0, u32::MAX) };
        let mask = u64::from(mask & !kind) | u64::from(upper_mask) << 32;
        if mask << 32 == 0 && (!wide || upper_mask == 0) {
            return Range { first: 1, last: 0 }; // there is no such register
        }
        let first = u64::from(first & !kind) | u64::from(upper) << 32;
        Range { first, last: first | !mask }
    }

    /// What a register holds, and which of its bits can be set.
    fn probe(&self, register: u64) -> (u32, u32) {
        let value = self.read(register);
        self.write(register, u32::MAX);
        let mask = self.read(register);
        self.write(register, value);
        (value, mask)
    }

    /// Whether a device without further functions answers in the place of this one, too.
    fn is_an_echo(&self) -> bool {
        let first = Other { bdf: self.bdf & !7, ..*self };
        self.bdf & 7 != 0 && first.read(HEADER) & SEVERAL_FUNCTIONS == 0
    }

    fn is_bridge(&self) -> bool {
        self.read(HEADER) >> 16 & 0x7f == HEADER_BRIDGE
    }

    fn command(&self) -> u32 {
        self.read(COMMAND) & COMMAND_MASK
    }

    fn set_command(&self, command: u32) {
        self.write(COMMAND, command);
    }

    fn read(&self, offset: u64) -> u32 {
        self.registers.read(self.space + u64::from(self.bdf) * CONFIG_SIZE + offset)
    }

    fn write(&self, offset: u64, value: u32) {
        self.registers.write(self.space + u64::from(self.bdf) * CONFIG_SIZE + offset, value);
    }
}

/// Addresses up to the last one; none if that comes before the first.
struct Range {
    first: u64,
    last: u64,
}

/// The bits of device and function.
const FUNCTION_OF_BUS: u16 = 0xff;
/// Class and subclass of a bridge from the processor to the bus.
const HOST_BRIDGE: u32 = 0x0600;
/// In the double word with the header type.
const SEVERAL_FUNCTIONS: u32 = 1 << 23;
const HEADER_BRIDGE: u32 = 1;
/// The bits of a base address register that say whether it has 64 bits.
const BAR_TYPE: u32 = 6;
const ROM_ENABLED: u32 = 1;
/// The bits of the register of an expansion ROM that are no address.
const ROM_KIND: u32 = 0x7ff;

// A bridge's registers (PCI-to-PCI Bridge Architecture Specification 1.2, 3.2): the numbers of its buses; the first and the
// last MiB of the addresses that it passes on, and the upper halves of the latter; its ROM.
const BRIDGE_BUSES: u64 = 0x18;
const BRIDGE_MEMORY: u64 = 0x20;
const BRIDGE_PREFETCHABLE: u64 = 0x24;
const BRIDGE_UPPER_BASE: u64 = 0x28;
const BRIDGE_UPPER_LIMIT: u64 = 0x2c;
const BRIDGE_ROM: u64 = 0x38;

#[cfg(test)]
mod tests;
