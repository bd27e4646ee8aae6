//! Intel VT-d: Virtualization Technology for Directed I/O specification, chapters 5 (interrupts), 6.5.2 (queued invalidation) and
//! 11.4 (registers).

use palisade_abi::layout::{self, PAGE};

use super::{Fault, INTERRUPT_ADDRESS, Iommu, Problem, is_nothing};
use crate::device::DeviceRegisters;

impl<R: DeviceRegisters> Iommu<'_, R> {
    pub(super) fn set_up_intel(&self, devices: usize) -> Result<(), Problem> {
        let (capabilities, extended) = (self.read_wide(CAPABILITIES), self.read_wide(EXTENDED_CAPABILITIES));
        if is_nothing(capabilities) {
            return Err(Problem::Missing);
        }
        if let Some(what) = lack(capabilities, extended, devices) {
            return Err(Problem::Lacks(what));
        }
        // Firmware may have left it on, with tables or interrupts in another format, which must not change meanwhile.
        for bit in [TRANSLATION_ON, INTERRUPTS_ON, QUEUE_ON] {
            if self.read(STATUS) & bit != 0 {
                self.command(bit, false)?;
            }
        }
        if capabilities & NEEDS_WRITE_BUFFER_FLUSH != 0 {
            self.write(COMMAND, self.read(STATUS) & STAYS | FLUSH_WRITE_BUFFER);
            self.wait(self.record.registers + STATUS, FLUSH_WRITE_BUFFER, false)?;
        }
        self.write_wide(ROOT_TABLE, self.record.device_table);
        self.command(SET_ROOT_TABLE, true)?;
        self.write_wide(INTERRUPT_TABLE, self.record.interrupt_table | ENTRIES_256);
        self.command(SET_INTERRUPT_TABLE, true)?;
        self.forget_faults(capabilities);
        self.invalidate()?;
        self.command(TRANSLATION_ON, true)?;
        // Interrupts in the old format, which nothing checks, are no longer passed on.
        if self.read(STATUS) & COMPATIBLE_FORMAT != 0 {
            self.command(COMPATIBLE_FORMAT, false)?;
        }
        self.command(INTERRUPTS_ON, true)?;
        if capabilities & PROTECTED_RANGES != 0 {
            self.write(PROTECTED_MEMORY, 0);
        }
        Ok(())
    }

    pub(super) fn take_intel_fault(&self) -> Option<Fault> {
        let status = self.read(FAULT_STATUS);
        if status & FAULT_OVERFLOW != 0 {
            self.write(FAULT_STATUS, FAULT_OVERFLOW);
        }
        if status & FAULT_PENDING == 0 {
            return None;
        }
        let (first, end) = fault_records(self.read_wide(CAPABILITIES));
        let mut records = (first..end).step_by(FAULT_RECORD as usize);
        let record = records.find(|record| self.read(record + 12) & RECORD_VALID != 0)?;
        let [low, high, source, state] = [0, 4, 8, 12].map(|at| self.read(record + at));
        self.write(record + 12, RECORD_VALID);
        let address = u64::from(low) & !(PAGE - 1) | u64::from(high) << 32;
        let is_interrupt = state & 0xff >= FIRST_INTERRUPT_REASON;
        Some(Fault { function: source as u16, address: (!is_interrupt).then_some(address) })
    }

    /// Removes what the unit reported to the firmware: it is about none of the plan's devices, and after an error in a queue no
    /// further commands are done. The unit's interrupt for faults, which nothing remaps, is off from here on; it has another one for
    /// commands, and none of the kernel's asks for it.
    fn forget_faults(&self, capabilities: u64) {
        self.write(FAULT_CONTROL, FAULTS_INTERRUPT_NOBODY);
        let (first, end) = fault_records(capabilities);
        for record in (first..end).step_by(FAULT_RECORD as usize) {
            self.write(record + 12, RECORD_VALID);
        }
        self.write(FAULT_STATUS, EVERY_FAULT);
    }

    /// Has the unit forget what it knows from tables before these.
    fn invalidate(&self) -> Result<(), Problem> {
        self.write_wide(QUEUE_TAIL, 0);
        self.write_wide(QUEUE_ADDRESS, self.record.queues);
        self.command(QUEUE_ON, true)?;
        self.put_command(0, [CONTEXTS_GLOBALLY, 0]);
        self.put_command(1, [TRANSLATIONS_GLOBALLY, 0]);
        self.put_command(2, [INTERRUPTS_GLOBALLY, 0]);
        self.put_command(3, [STORE_WHEN_DONE | u64::from(u32::MAX) << 32, self.done_word()]);
        self.write_wide(QUEUE_TAIL, 4 * 16);
        self.wait_for_commands()
    }

    /// Changes one bit of the global command register, and waits until the status register says that it is done.
    fn command(&self, bit: u32, on: bool) -> Result<(), Problem> {
        let others = self.read(STATUS) & STAYS & !bit;
        self.write(COMMAND, others | if on { bit } else { 0 });
        self.wait(self.record.registers + STATUS, bit, on)
    }
}

/// What a unit with these two capability registers lacks, if so many `devices` have page tables of their own.
#[must_use]
pub fn lack(capabilities: u64, extended: u64, devices: usize) -> Option<&'static str> {
    // Domain 0 is no device's.
    let domains = 1 << (4 + 2 * (capabilities & 7));
    let lacking = [
        (capabilities & FOUR_LEVELS == 0, "addresses of 48 bits"),
        ((capabilities >> 16 & 0x3f) + 1 < u64::from(DMA_END.ilog2()), "room for the addresses of drivers"),
        (capabilities & LARGE_PAGES == 0, "large pages"),
        (devices >= domains, "domain for each device"),
        (extended & QUEUE == 0, "invalidation queue"),
        (extended & INTERRUPTS == 0, "interrupt remapping"),
        (fault_records(capabilities).1 > PAGE, "fault records on the first page of its registers"),
    ];
    lacking.into_iter().find(|(lacks, _)| *lacks).map(|(_, what)| what)
}

/// The address says that the interrupt is remapped, and has its index; there is no data.
pub(super) const fn message(index: u16) -> (u32, u32) {
    (INTERRUPT_ADDRESS | 1 << 4 | (index as u32) << 5, 0)
}

/// Where the fault records begin and end.
const fn fault_records(capabilities: u64) -> (u64, u64) {
    let first = (capabilities >> 24 & 0x3ff) * 16;
    (first, first + ((capabilities >> 40 & 0xff) + 1) * FAULT_RECORD)
}

// Registers.
const CAPABILITIES: u64 = 0x08;
const EXTENDED_CAPABILITIES: u64 = 0x10;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT_TABLE: u64 = 0x20;
const FAULT_STATUS: u64 = 0x34;
const FAULT_CONTROL: u64 = 0x38;
const PROTECTED_MEMORY: u64 = 0x64;
const QUEUE_TAIL: u64 = 0x88;
const QUEUE_ADDRESS: u64 = 0x90;
const INTERRUPT_TABLE: u64 = 0xb8;

/// No address of a driver's memory is higher.
const DMA_END: u64 = 1 << 36;
const _: () = assert!(layout::DMA < layout::TIME_INFO && layout::TIME_INFO < DMA_END);

const NEEDS_WRITE_BUFFER_FLUSH: u64 = 1 << 4;
/// Low and high memory can be protected from all devices, which firmware may have asked for.
const PROTECTED_RANGES: u64 = 3 << 5;
const FOUR_LEVELS: u64 = 4 << 8;
const LARGE_PAGES: u64 = 1 << 34;
const QUEUE: u64 = 1 << 1;
const INTERRUPTS: u64 = 1 << 3;

// Bits of the command register, and the same ones of the status register.
const TRANSLATION_ON: u32 = 1 << 31;
const SET_ROOT_TABLE: u32 = 1 << 30;
const FLUSH_WRITE_BUFFER: u32 = 1 << 27;
const QUEUE_ON: u32 = 1 << 26;
const INTERRUPTS_ON: u32 = 1 << 25;
const SET_INTERRUPT_TABLE: u32 = 1 << 24;
const COMPATIBLE_FORMAT: u32 = 1 << 23;
/// What is written again with every command; the others are commands to do something once.
const STAYS: u32 = TRANSLATION_ON | QUEUE_ON | INTERRUPTS_ON | COMPATIBLE_FORMAT;

/// In the register of the interrupt table: it has 2 to the power of one more than this many entries, which fill a page.
const ENTRIES_256: u64 = 7;

const CONTEXTS_GLOBALLY: u64 = 1 | 1 << 4;
/// Reads and writes that were translated by what is forgotten are done first, where the unit can wait for them.
const TRANSLATIONS_GLOBALLY: u64 = 2 | 1 << 4 | 3 << 6;
const INTERRUPTS_GLOBALLY: u64 = 4;
/// A word is stored when everything before it is done.
const STORE_WHEN_DONE: u64 = 5 | 1 << 5;

const FAULT_OVERFLOW: u32 = 1 << 0;
const FAULT_PENDING: u32 = 1 << 1;
/// Everything in the status that goes away when it is written: overflows, and errors of the queue.
const EVERY_FAULT: u32 = 0x7d;
const FAULTS_INTERRUPT_NOBODY: u32 = 1 << 31;
/// Bytes of a fault record: address (64 bits), source, reason and type.
const FAULT_RECORD: u64 = 16;
/// In the last word of a record; writing it makes room for another fault.
const RECORD_VALID: u32 = 1 << 31;
/// From here on the reasons are those of interrupts.
const FIRST_INTERRUPT_REASON: u32 = 0x20;
