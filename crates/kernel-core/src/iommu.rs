//! The IOMMU: what the kernel checks and programs before a device could reach memory, and what it learns of refused accesses.
//!
//! The tables are the builder's and never change: the kernel says where they are, has the unit forget what it knew before,
//! and turns it on. After that it only reads reports. Vendors differ in how that is done; what is the same is here.

mod amd;
mod intel;

pub use amd::lack as amd_lack;
pub use intel::lack as intel_lack;

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{self, iommu_kind};

use crate::device::DeviceRegisters;

/// Why an IOMMU cannot be used as the plan says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Nothing answers at its place.
    Missing,
    /// It cannot do this.
    Lacks(&'static str),
    /// It does not do what it is told.
    Stuck,
}

/// An access or an interrupt of a device that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The device: bus (8 bits), device (5), function (3).
    pub function: u16,
    /// The address that it used, or `None` if an interrupt was refused that is not its own.
    pub address: Option<u64>,
}

/// A unit of the plan's IOMMU.
#[derive(Debug, Clone, Copy)]
pub struct Iommu<'a, R> {
    record: &'a plan::Iommu,
    registers: &'a R,
}

impl<'a, R: DeviceRegisters> Iommu<'a, R> {
    /// The unit that a record of a checked plan describes. `registers` reach its registers and its queues.
    pub const fn new(record: &'a plan::Iommu, registers: &'a R) -> Self {
        Self { record, registers }
    }

    /// Turns it on, for so many `devices` with page tables of their own. When this returns, every device behind it reaches what its
    /// tables say and nothing else. Until then, a device that nobody has silenced reaches all memory: what the firmware turned on is off
    /// meanwhile.
    ///
    /// # Errors
    /// What it lacks; then devices are not confined.
    pub fn set_up(&self, devices: usize) -> Result<(), Problem> {
        for offset in (0..plan::Iommu::QUEUES_SIZE).step_by(4) {
            self.registers.write(self.record.queues + offset, 0);
        }
        if self.is_amd() { self.set_up_amd() } else { self.set_up_intel(devices) }
    }

    /// Takes the next report of a refused access. There may be more; and there may have been more, for the unit keeps only so
    /// many until they are taken.
    pub fn take_fault(&self) -> Option<Fault> {
        if self.is_amd() { self.take_amd_fault() } else { self.take_intel_fault() }
    }

    const fn is_amd(&self) -> bool {
        self.record.kind == iommu_kind::AMD
    }

    /// Reads again and again until all bits of `mask` are as wanted.
    fn wait(&self, address: u64, mask: u32, set: bool) -> Result<(), Problem> {
        let wanted = if set { mask } else { 0 };
        let done = (0..PATIENCE).any(|_| self.registers.read(address) & mask == wanted);
        if done { Ok(()) } else { Err(Problem::Stuck) }
    }

    /// Has the unit do commands that were put at the beginning of the queue, and waits for the word that the last of them
    /// writes.
    fn wait_for_commands(&self) -> Result<(), Problem> {
        self.wait(self.done_word(), u32::MAX, true)
    }

    /// Where the unit says that it has done all commands: the last word of the queue, which is never used up to there.
    const fn done_word(&self) -> u64 {
        self.record.queues + PAGE - 8
    }

    fn put_command(&self, number: u64, words: [u64; 2]) {
        for (word, at) in words.into_iter().zip([0, 8]) {
            self.write_memory(self.record.queues + number * COMMAND_SIZE + at, word);
        }
    }

    fn write_memory(&self, address: u64, value: u64) {
        self.registers.write(address, value as u32);
        self.registers.write(address + 4, (value >> 32) as u32);
    }

    fn read(&self, offset: u64) -> u32 {
        self.registers.read(self.record.registers + offset)
    }

    fn write(&self, offset: u64, value: u32) {
        self.registers.write(self.record.registers + offset, value);
    }

    /// Both vendors allow 64 bits to be accessed as two halves, the lower one first.
    fn read_wide(&self, offset: u64) -> u64 {
        u64::from(self.read(offset)) | u64::from(self.read(offset + 4)) << 32
    }

    fn write_wide(&self, offset: u64, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }
}

/// Whether this is what is read where nothing answers: ones, in QEMU zeros. (AMD's first units have no features to be read
/// either, and lack what the kernel needs.)
const fn is_nothing(capabilities: u64) -> bool {
    capabilities == 0 || capabilities == u64::MAX
}

/// The message with which a device raises the remapped interrupt with this index: address and data.
#[must_use]
pub const fn message(record: &plan::Iommu, index: u16) -> (u32, u32) {
    if record.kind == iommu_kind::AMD { amd::message(index) } else { intel::message(index) }
}

/// Before the address of the registers of a unit that has a problem.
pub const UNIT_AT: &str = "the IOMMU at ";
/// Behind that address, and before the name of what the unit lacks.
pub const HAS_NO: &str = " has no ";

/// Bytes of a command, to either vendor.
const COMMAND_SIZE: u64 = 16;
/// How often a word is read until the unit counts as stuck: some milliseconds at least, where the answer takes microseconds.
const PATIENCE: u32 = 1 << 22;
/// Where writes are interrupts (Intel SDM volume 3, 11.11.1).
const INTERRUPT_ADDRESS: u32 = 0xfee0_0000;

#[cfg(test)]
mod tests;
