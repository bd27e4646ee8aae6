//! AMD-Vi: AMD I/O virtualization technology specification (48882), 2.4 (commands), 2.5 (events), 3.4 (registers).

use palisade_abi::layout::PAGE;

use super::{Fault, INTERRUPT_ADDRESS, Iommu, Problem, is_nothing};
use crate::device::DeviceRegisters;

impl<R: DeviceRegisters> Iommu<'_, R> {
    pub(super) fn set_up_amd(&self) -> Result<(), Problem> {
        let features = self.read_wide(FEATURES);
        if is_nothing(features) {
            return Err(Problem::Missing);
        }
        if let Some(what) = lack(features) {
            return Err(Problem::Lacks(what));
        }
        // Firmware may have left it on, with other tables.
        self.write_wide(CONTROL, 0);
        self.wait(self.record.registers + STATUS, EVENTS_RUN | COMMANDS_RUN, false)?;
        // What lies there would be reached without translation, by every device if the firmware wanted that.
        self.write_wide(EXCLUSION, 0);
        let pages = u64::from(self.record.device_table_size) / PAGE;
        self.write_wide(DEVICE_TABLE, self.record.device_table | (pages - 1));
        self.write_wide(COMMANDS, self.record.queues | ENTRIES_256);
        self.write_wide(EVENTS, self.events() | ENTRIES_256);
        for pointer in [COMMAND_HEAD, COMMAND_TAIL, EVENT_HEAD, EVENT_TAIL] {
            self.write(pointer, 0);
        }
        self.write(STATUS, OVERFLOW);
        self.put_command(0, [INVALIDATE_ALL, 0]);
        self.put_command(1, [COMPLETION_WAIT | self.done_word() | STORE, u64::MAX]);
        self.write_wide(CONTROL, u64::from(ON));
        self.write(COMMAND_TAIL, 2 * ENTRY as u32);
        self.wait_for_commands()
    }

    pub(super) fn take_amd_fault(&self) -> Option<Fault> {
        // What the unit reports of itself is passed over.
        for _ in 0..LOG_SIZE / ENTRY {
            let head = u64::from(self.read(EVENT_HEAD)) & (LOG_SIZE - 1);
            let entry = self.events() + head;
            // An entry has a kind when all of it is there, so that is read first; the next one that is written to this place must
            // not inherit it.
            let kind = self.registers.read(entry + 4);
            if kind >> 28 == 0 && !self.is_given_up(head) {
                self.restart_log();
                return None;
            }
            let [source, low, high] = [0, 8, 12].map(|at| self.registers.read(entry + at));
            self.registers.write(entry + 4, 0);
            self.registers.write(self.looks(), 0);
            self.write(EVENT_HEAD, ((head + ENTRY) % LOG_SIZE) as u32);
            if matches!(kind >> 28, 0 | ILLEGAL_COMMAND | COMMAND_NOT_READ) {
                continue;
            }
            let address = u64::from(low) | u64::from(high) << 32;
            let is_interrupt =
                kind >> 28 == PAGE_FAULT && kind & OF_INTERRUPT != 0 && is_of_interrupts(address);
            return Some(Fault { function: source as u16, address: (!is_interrupt).then_some(address) });
        }
        None
    }

    /// Whether the entry at the head, which is not complete, has been looked at so often that it never will be. Others may be
    /// behind it.
    fn is_given_up(&self, head: u64) -> bool {
        if u64::from(self.read(EVENT_TAIL)) & (LOG_SIZE - 1) == head {
            return false;
        }
        let looks = self.registers.read(self.looks());
        self.registers.write(self.looks(), looks.saturating_add(1));
        looks >= MOST_LOOKS
    }

    /// Where the kernel counts its looks at an entry: memory in the page of the commands, which are never so many.
    const fn looks(&self) -> u64 {
        self.record.queues + PAGE - 16
    }

    /// A log that was full once stays silent until it is turned on anew. Nobody waits here while subjects run: if it has not
    /// stopped yet, it is turned on the next time.
    fn restart_log(&self) {
        if self.read(STATUS) & OVERFLOW == 0 {
            return;
        }
        self.write(CONTROL, ON & !EVENT_LOG);
        if self.read(STATUS) & EVENTS_RUN == 0 {
            self.write(STATUS, OVERFLOW);
            self.write(CONTROL, ON);
        }
    }

    const fn events(&self) -> u64 {
        self.record.queues + PAGE
    }
}

/// What a unit with these extended features lacks.
#[must_use]
pub const fn lack(features: u64) -> Option<&'static str> {
    if features & INVALIDATES_ALL == 0 {
        Some("command that invalidates everything")
    } else if features & LEVELS == NO_LEVELS {
        Some("page tables for devices")
    } else {
        None
    }
}

/// The index is the data; the table of the device says where the interrupt goes.
pub(super) const fn message(index: u16) -> (u32, u32) {
    (INTERRUPT_ADDRESS, index as u32)
}

/// Whether writes to this address are interrupts, as devices send them or as HyperTransport does (48882, 2.1.2).
const fn is_of_interrupts(address: u64) -> bool {
    address >> 20 == INTERRUPT_ADDRESS as u64 >> 20 || address & 0xff_ffff_ffff >= 0xfd_f800_0000
}

/// Bytes of a command, and of an event.
const ENTRY: u64 = 16;
const LOG_SIZE: u64 = PAGE;

// Registers.
const DEVICE_TABLE: u64 = 0x00;
const COMMANDS: u64 = 0x08;
const EVENTS: u64 = 0x10;
const CONTROL: u64 = 0x18;
const EXCLUSION: u64 = 0x20;
const FEATURES: u64 = 0x30;
const COMMAND_HEAD: u64 = 0x2000;
const COMMAND_TAIL: u64 = 0x2008;
const EVENT_HEAD: u64 = 0x2010;
const EVENT_TAIL: u64 = 0x2018;
const STATUS: u64 = 0x2020;

/// In the registers of command queue and event log: the binary logarithm of the number of entries, which fill a page.
const ENTRIES_256: u64 = 8 << 56;

/// The unit is on, with event log and commands; its own accesses to tables and queues are coherent with the caches.
const ON: u32 = 1 | EVENT_LOG | 1 << 10 | 1 << 12;
const EVENT_LOG: u32 = 1 << 2;

const OVERFLOW: u32 = 1 << 0;
const EVENTS_RUN: u32 = 1 << 3;
const COMMANDS_RUN: u32 = 1 << 4;

// In the second double word of an event: its kind is in the upper four bits.
const PAGE_FAULT: u32 = 2;
/// About the kernel's commands, and no device.
const ILLEGAL_COMMAND: u32 = 5;
const COMMAND_NOT_READ: u32 = 6;
/// What was refused is an interrupt. QEMU sets this for accesses to memory, too.
const OF_INTERRUPT: u32 = 1 << 19;

/// How often an entry may be incomplete when it is looked at, once in a major frame. The unit completes it in microseconds.
const MOST_LOOKS: u32 = 8;

/// Among the extended features.
const INVALIDATES_ALL: u64 = 1 << 6;
/// How many levels page tables of the host's may have, at least the four of the builder's. The last value is no number of levels: Linux
/// takes it for none, too.
const LEVELS: u64 = 3 << 10;
const NO_LEVELS: u64 = LEVELS;

const COMPLETION_WAIT: u64 = 1 << 60;
/// The second word of the command is stored.
const STORE: u64 = 1;
const INVALIDATE_ALL: u64 = 8 << 60;
