//! PCI devices: what the kernel checks and programs before their subject may use them, and how it takes them back.
//!
//! Everything goes through the device's memory-mapped configuration page and its MSI-X table, which no subject can write.
//! The facts are from the PCI Local Bus Specification 3.0 (chapter 6) and the PCI Express Base Specification (6.6.2 for
//! function-level resets). The command register is written with zeros in the half of the status register, which stays as it is.

pub mod others;

use palisade_abi::pci::{
    self, ABSENT, BAR_KIND, BAR_PORTS, BAR_PREFETCHABLE, BAR_WIDE, BARS, BUS_MASTER, CAPABILITY_EXPRESS,
    CAPABILITY_MSI, CAPABILITY_MSIX, COMMAND, COMMAND_MASK, EXPANSION_ROM, HEADER, ID, INTX_DISABLED, MEMORY,
    MSIX_ENTRY_SIZE, bar_register,
};
use palisade_abi::plan::{self, Bar, Device, Interrupt, MsixEntry, Plan, bar_flags, device_stop};

use crate::iommu;

/// Access to the registers of the plan's devices and IOMMUs, and to the latter's queues: aligned double words at physical
/// addresses.
pub trait DeviceRegisters {
    /// Reads the register at `address`.
    fn read(&self, address: u64) -> u32;
    /// Writes the register at `address`; accesses that precede it are not moved after it.
    fn write(&self, address: u64, value: u32);
}

/// Why a device cannot be used as the plan says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Nothing answers at its place.
    Missing,
    /// Another device is there: its vendor identifier, and its device identifier in the upper half.
    Other(u32),
    /// It is a bridge, or something else without the registers of a plain device: its header type.
    HeaderType(u32),
    /// A base address register that the plan does not name: its number.
    UnknownBar(u8),
    /// A base address register of another kind or size than the plan says: its number.
    OtherBar(u8),
    /// A base address register that must not be moved and is elsewhere, or cannot be moved to its place: its number.
    Misplaced(u8),
    /// No MSI-X capability, or a table elsewhere or shorter than the plan says.
    Msix,
    /// The pending bits of its MSI-X table are not among the registers that the table is among: its driver would have them.
    PendingBits,
    /// An interrupt of another subject's, or of a CPU that no message reaches (local APIC identifiers above 254).
    Interrupt,
    /// It cannot be reset on its own, and the plan has it reset so.
    NoFunctionReset,
}

/// Masks or unmasks the MSI-X entries of the interrupt with this index in the plan.
///
/// When this returns, every message that the device sent before it was masked has arrived at the local APIC: the answer to a
/// read does not overtake them (PCI Express Base Specification, 2.4.1).
pub fn set_masked(plan: &Plan<'_>, interrupt: u16, masked: bool, registers: &impl DeviceRegisters) {
    for entry in plan.msix.iter().filter(|e| e.interrupt == interrupt) {
        registers.write(entry.address + ENTRY_CONTROL, u32::from(masked));
        registers.read(entry.address + ENTRY_CONTROL);
    }
}

/// A device of the plan.
#[derive(Debug, Clone, Copy)]
pub struct Function<'a, R> {
    plan: &'a Plan<'a>,
    device: &'a Device,
    registers: &'a R,
}

impl<'a, R: DeviceRegisters> Function<'a, R> {
    /// The `device` of a checked `plan`.
    pub const fn new(plan: &'a Plan<'a>, device: &'a Device, registers: &'a R) -> Self {
        Self { plan, device, registers }
    }

    /// Takes memory from whatever is in the device's place, as the firmware left it. The plan's device answers at no address any more: it
    /// may be moved. Another one does, for it may be a bridge to what the kernel needs.
    pub fn silence(&self) {
        let command = match self.check_identity() {
            Ok(()) => INTX_DISABLED,
            Err(_) => self.read(COMMAND) & COMMAND_MASK & !BUS_MASTER,
        };
        self.set_command(command);
    }

    /// Checks at boot that the device is what the plan says, and prepares it. It reaches no memory from the first step on.
    ///
    /// # Errors
    /// The first thing that is not as the plan says.
    pub fn set_up(&self) -> Result<(), Problem> {
        self.check_identity()?;
        self.set_command(INTX_DISABLED);
        self.check_bars()?;
        let table = self.check_capabilities()?;
        self.check_interrupts()?;
        self.place();
        for number in 0..table.entries {
            self.registers.write(table.address + number * MSIX_ENTRY_SIZE + ENTRY_CONTROL, ENTRY_MASKED);
        }
        self.program_interrupts();
        Ok(())
    }

    /// Puts the device's base address registers and interrupts into the condition in which its subject starts: placed, and every
    /// interrupt masked. It reaches no memory.
    pub fn prepare(&self) {
        self.place();
        self.program_interrupts();
    }

    /// Lets the device reach memory, if it is still there.
    pub fn start(&self) {
        if self.check_identity().is_ok() {
            self.set_command(INTX_DISABLED | MEMORY | BUS_MASTER);
        }
    }

    /// Takes memory and interrupts from the device.
    ///
    /// When this returns, whatever the device wrote before is in memory, and nothing follows: the answer to the last read does
    /// not overtake the device's writes, through an IOMMU either. That has nothing to forget here, for its tables never change. The
    /// device's own reads may still be answered; that changes no memory.
    pub fn stop(&self) {
        for entry in self.entries() {
            self.registers.write(entry.address + ENTRY_CONTROL, ENTRY_MASKED);
        }
        self.set_command(INTX_DISABLED | MEMORY);
    }

    /// Stops the device and begins the reset of its function, if the plan has one. Gives the microseconds after which
    /// [`Function::prepare`] may follow; until then nothing may touch the device.
    pub fn reset(&self) -> u64 {
        self.stop();
        if self.device.stop & device_stop::FUNCTION_RESET == 0 {
            return 0;
        }
        // Answers to the function's own reads that come in after the reset are dropped by it: they are no writes to memory.
        let Some(express) = self.capability(CAPABILITY_EXPRESS) else { return 0 };
        let control = self.read(express + EXPRESS_CONTROL) & COMMAND_MASK;
        self.write(express + EXPRESS_CONTROL, control | FUNCTION_RESET);
        FUNCTION_RESET_US
    }

    fn check_identity(&self) -> Result<(), Problem> {
        match self.read(ID) {
            ABSENT => Err(Problem::Missing),
            id if id == u32::from(self.device.vendor) | u32::from(self.device.device) << 16 => Ok(()),
            id => Err(Problem::Other(id)),
        }
    }

    /// Whether every base address register of the device is in the plan, and what the plan says. Addresses are off meanwhile:
    /// the sizes are probed by writing ones.
    fn check_bars(&self) -> Result<(), Problem> {
        let header = self.read(HEADER) >> 16 & 0x7f;
        if header != 0 {
            return Err(Problem::HeaderType(header));
        }
        self.write(EXPANSION_ROM, 0);
        let mut upper_half = None;
        for index in 0..BARS {
            let bar = self.bars().iter().find(|bar| bar.index == index);
            match bar {
                Some(bar) => {
                    self.check_bar(bar)?;
                    upper_half = (bar.flags & bar_flags::WIDE != 0).then_some(index + 1);
                }
                None if upper_half == Some(index) => {}
                None => self.check_unused_bar(index)?,
            }
        }
        Ok(())
    }

    fn check_bar(&self, bar: &Bar) -> Result<(), Problem> {
        let (low, high) = self.read_bar(bar);
        let found = u64::from(low & !BAR_KIND) | u64::from(high) << 32;
        if bar.flags & bar_flags::MOVABLE == 0 && found != bar.address {
            return Err(Problem::Misplaced(bar.index));
        }
        self.write_bar(bar, u64::MAX);
        let (low, high) = self.read_bar(bar);
        let wide = bar.flags & bar_flags::WIDE != 0;
        let high = if wide { high } else { u32::MAX };
        let size = !(u64::from(low & !BAR_KIND) | u64::from(high) << 32);
        let kind = if wide { BAR_WIDE } else { 0 }
            | if bar.flags & bar_flags::PREFETCHABLE != 0 { BAR_PREFETCHABLE } else { 0 };
        if low & BAR_KIND != kind || size.wrapping_add(1) != bar.size {
            return Err(Problem::OtherBar(bar.index));
        }
        self.write_bar(bar, bar.address);
        let (low, high) = self.read_bar(bar);
        let found = u64::from(low & !BAR_KIND) | u64::from(high) << 32;
        if found == bar.address { Ok(()) } else { Err(Problem::Misplaced(bar.index)) }
    }

    /// A register that the plan does not name must not decode memory when the others do. I/O ports are never decoded.
    fn check_unused_bar(&self, index: u8) -> Result<(), Problem> {
        let register = bar_register(index);
        self.write(register, u32::MAX);
        let kind = self.read(register);
        self.write(register, 0);
        if kind == 0 || kind & BAR_PORTS != 0 { Ok(()) } else { Err(Problem::UnknownBar(index)) }
    }

    /// Whether the device has what the plan uses. Gives its MSI-X table.
    fn check_capabilities(&self) -> Result<Table, Problem> {
        if self.device.stop & device_stop::FUNCTION_RESET != 0 {
            let express = self.capability(CAPABILITY_EXPRESS).ok_or(Problem::NoFunctionReset)?;
            if self.read(express + EXPRESS_CAPABILITIES) & CAN_RESET == 0 {
                return Err(Problem::NoFunctionReset);
            }
        }
        if let Some(msi) = self.capability(CAPABILITY_MSI) {
            self.write(msi, self.read(msi) & !MSI_ENABLED);
        }
        let Some(msix) = self.capability(CAPABILITY_MSIX) else {
            let unused = self.entries().is_empty();
            return if unused { Ok(Table { address: 0, entries: 0 }) } else { Err(Problem::Msix) };
        };
        self.write(msix, self.read(msix) & !MSIX_ENABLED);
        let entries = u64::from(self.read(msix) >> 16 & 0x7ff) + 1;
        let [place, pending] = [MSIX_TABLE, MSIX_PENDING].map(|register| self.read(msix + register));
        let offset = u64::from(place & !7);
        let bar = self.bars().iter().find(|bar| u32::from(bar.index) == place & 7).ok_or(Problem::Msix)?;
        let table = Table { address: bar.address + offset, entries };
        let inside = offset + entries * MSIX_ENTRY_SIZE <= bar.size;
        let agrees = self.entries().iter().all(|entry| table.contains(entry.address));
        if !inside || !agrees {
            return Err(Problem::Msix);
        }
        let inside = u64::from(pending & !7) + entries.div_ceil(64) * 8 <= bar.size;
        if pending & 7 == place & 7 && inside { Ok(table) } else { Err(Problem::PendingBits) }
    }

    fn check_interrupts(&self) -> Result<(), Problem> {
        let reachable = |entry: &MsixEntry| {
            self.destination(entry).is_some_and(|(interrupt, apic_id)| {
                interrupt.subject == self.device.subject && apic_id <= Interrupt::LAST_APIC_ID
            })
        };
        if self.entries().iter().all(reachable) { Ok(()) } else { Err(Problem::Interrupt) }
    }

    fn place(&self) {
        self.set_command(INTX_DISABLED);
        for bar in self.bars() {
            self.write_bar(bar, bar.address);
        }
        self.set_command(INTX_DISABLED | MEMORY);
    }

    fn program_interrupts(&self) {
        for entry in self.entries() {
            let Some((address, data)) = self.message(entry) else { continue };
            let registers = self.registers;
            registers.write(entry.address + ENTRY_CONTROL, ENTRY_MASKED);
            registers.write(entry.address, address);
            registers.write(entry.address + 4, 0);
            registers.write(entry.address + 8, data);
        }
        if let Some(msix) = self.capability(CAPABILITY_MSIX).filter(|_| !self.entries().is_empty()) {
            self.write(msix, self.read(msix) & !MSIX_MASKED | MSIX_ENABLED);
        }
    }

    /// Address and data of the message of an MSI-X entry: what an IOMMU remaps, or the vector for the CPU itself.
    fn message(&self, entry: &MsixEntry) -> Option<(u32, u32)> {
        let (interrupt, apic_id) = self.destination(entry)?;
        match self.plan.iommus.get(usize::from(interrupt.iommu)) {
            Some(iommu) => Some(iommu::message(iommu, interrupt.remap_index)),
            None => Some((MESSAGE_ADDRESS | apic_id << 12, u32::from(interrupt.host_vector))),
        }
    }

    /// Of an MSI-X entry: its interrupt, and the local APIC that it is for.
    fn destination(&self, entry: &MsixEntry) -> Option<(&'a Interrupt, u32)> {
        let interrupt = self.plan.interrupts.get(usize::from(entry.interrupt))?;
        let subject = self.plan.subjects.get(usize::from(interrupt.subject))?;
        let cpu = self.plan.cpus.get(usize::from(subject.cpu))?;
        Some((interrupt, cpu.apic_id))
    }

    /// The place of a capability in the configuration page.
    fn capability(&self, wanted: u8) -> Option<u64> {
        pci::capabilities(|offset| self.read(offset)).find(|c| c.id == wanted).map(|c| c.at)
    }

    fn read_bar(&self, bar: &Bar) -> (u32, u32) {
        let register = bar_register(bar.index);
        let high = if bar.flags & bar_flags::WIDE != 0 { self.read(register + 4) } else { 0 };
        (self.read(register), high)
    }

    fn write_bar(&self, bar: &Bar, address: u64) {
        let register = bar_register(bar.index);
        self.write(register, address as u32);
        if bar.flags & bar_flags::WIDE != 0 {
            self.write(register + 4, (address >> 32) as u32);
        }
    }

    /// Writes the command register, and waits until that has happened.
    fn set_command(&self, command: u32) {
        self.write(COMMAND, command);
        self.read(COMMAND);
    }

    fn bars(&self) -> &'a [Bar] {
        plan::slice(self.plan.bars, self.device.first_bar, self.device.bars)
    }

    fn entries(&self) -> &'a [MsixEntry] {
        plan::slice(self.plan.msix, self.device.first_msix, self.device.msix)
    }

    fn read(&self, offset: u64) -> u32 {
        self.registers.read(self.device.config + offset)
    }

    fn write(&self, offset: u64, value: u32) {
        self.registers.write(self.device.config + offset, value);
    }
}

/// An MSI-X table.
struct Table {
    address: u64,
    entries: u64,
}

impl Table {
    fn contains(&self, entry: u64) -> bool {
        let offset = entry.checked_sub(self.address);
        offset.is_some_and(|o| o % MSIX_ENTRY_SIZE == 0 && o / MSIX_ENTRY_SIZE < self.entries)
    }
}

const MSI_ENABLED: u32 = 1 << 16;
const MSIX_ENABLED: u32 = 1 << 31;
/// Masks every entry.
const MSIX_MASKED: u32 = 1 << 30;
/// From the capability: where the table and its pending bits are, with the number of the base address register in the lowest
/// three bits.
const MSIX_TABLE: u64 = 4;
const MSIX_PENDING: u64 = 8;

/// In an MSI-X entry.
const ENTRY_CONTROL: u64 = 12;
const ENTRY_MASKED: u32 = 1;
/// Message address of a fixed interrupt for one CPU: its identifier follows at bit 12 (Intel SDM volume 3, 11.11.1).
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;

const EXPRESS_CAPABILITIES: u64 = 4;
const CAN_RESET: u32 = 1 << 28;
const EXPRESS_CONTROL: u64 = 8;
const FUNCTION_RESET: u32 = 1 << 15;
/// A function is ready again 100 ms after the beginning of its reset.
const FUNCTION_RESET_US: u64 = 100_000;

#[cfg(test)]
pub(crate) mod tests;
