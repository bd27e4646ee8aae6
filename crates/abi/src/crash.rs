//! Crash record: what is left of a system that stopped for good, for the log of the next boot.
//!
//! One page of memory that neither a loader nor the kernel clears. It survives a warm reset. After power-on it contains
//! anything, so a record counts only with its checksum.

#![forbid(unsafe_code)]

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::PAGE;
use crate::plan::checksum;
use crate::volatile::{Memory, Shared};

/// The page's contents: how often the system booted since power-on, and the last crash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// [`MAGIC`].
    magic: u64,
    /// [`checksum`] of everything that follows.
    checksum: u64,
    /// Number of this boot, counted from power-on; the first is 1.
    pub boot: u64,
    /// Number of the boot that crashed, or 0.
    pub crashed_boot: u64,
    /// The crash. Zeros if there was none.
    pub crash: Crash,
}

/// A fatal condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Crash {
    /// A [`Reason`].
    pub reason: u32,
    /// Index of the CPU.
    pub cpu: u32,
    /// The subject that was running, or [`NO_SUBJECT`].
    pub subject: u32,
    /// With [`Reason::Exception`]: its vector.
    pub vector: u32,
    /// With [`Reason::Exception`]: its error code.
    pub error_code: u64,
    /// With [`Reason::Exit`] and [`Reason::Entry`]: the processor's exit code.
    pub exit_code: u64,
    /// The first word of detail that the processor gave with the exit code.
    pub exit_info_1: u64,
    /// The second one.
    pub exit_info_2: u64,
    /// The kernel's registers, or the subject's if the reason is about the subject.
    pub registers: Registers,
}

/// Registers at the time of a crash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[allow(missing_docs)] // The names say everything.
pub struct Registers {
    pub rip: u64,
    pub rsp: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

impl Record {
    /// The record in `memory`, if there is a whole one.
    #[must_use]
    pub fn load(memory: &Shared<'_>) -> Option<Self> {
        let mut record = Self::default();
        memory.copy_out(0, record.as_mut_bytes())?;
        (record.magic == MAGIC && record.checksum == record.sum()).then_some(record)
    }

    /// Kernel: counts this boot. A crash that was recorded stays; a record that is not whole is begun anew.
    pub fn count_boot(memory: &Shared<'_>) -> Option<Self> {
        let mut record = Self::load(memory).unwrap_or_default();
        record.boot = record.boot.wrapping_add(1);
        record.store(memory)?;
        Some(record)
    }

    /// Kernel: records a crash of this boot.
    pub fn record_crash(memory: &Shared<'_>, crash: &Crash) -> Option<()> {
        let mut record = Self::load(memory).unwrap_or(Self { boot: 1, ..Self::default() });
        record.crashed_boot = record.boot;
        record.crash = *crash;
        record.store(memory)
    }

    /// The crash that ended the boot before this one, if it crashed.
    #[must_use]
    pub fn crash_of_previous_boot(&self) -> Option<&Crash> {
        let recent = self.crashed_boot != 0 && self.crashed_boot.wrapping_add(1) == self.boot;
        recent.then_some(&self.crash)
    }

    fn store(mut self, memory: &Shared<'_>) -> Option<()> {
        self.magic = MAGIC;
        self.checksum = self.sum();
        memory.copy_in(0, self.as_bytes())
    }

    fn sum(&self) -> u64 {
        self.as_bytes().get(offset_of!(Self, boot)..).map_or(0, checksum)
    }
}

impl Crash {
    /// The reason in plain words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        Reason::from_number(self.reason).map_or("unknown reason", Reason::text)
    }
}

/// Why a system stopped for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// An exception in the kernel.
    Exception = 1,
    /// A non-maskable interrupt.
    NonMaskableInterrupt = 2,
    /// A machine check.
    MachineCheck = 3,
    /// The processor did not enter a subject.
    Entry = 4,
    /// An exit that must not be.
    Exit = 5,
    /// A subject raised the event for it.
    SubjectPanic = 6,
    /// The plan is not one that this kernel can run.
    Plan = 7,
    /// The machine lacks something that the kernel or the plan needs.
    Machine = 8,
    /// The kernel's own data contradict each other.
    Internal = 9,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Exception,
        Self::NonMaskableInterrupt,
        Self::MachineCheck,
        Self::Entry,
        Self::Exit,
        Self::SubjectPanic,
        Self::Plan,
        Self::Machine,
        Self::Internal,
    ];

    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u32 == number)
    }

    /// The reason in plain words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Exception => "exception in the kernel",
            Self::NonMaskableInterrupt => "non-maskable interrupt",
            Self::MachineCheck => "the processor reported a hardware error",
            Self::Entry => "the processor refused to run a subject",
            Self::Exit => "the processor left a subject for a reason that must not be",
            Self::SubjectPanic => "a subject asked for it",
            Self::Plan => "the plan is damaged or not for this kernel",
            Self::Machine => "the machine lacks something that the system needs",
            Self::Internal => "the kernel found its own data inconsistent",
        }
    }
}

/// First eight bytes of a record: `PALCRSH1`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PALCRSH1");
/// No subject was running.
pub const NO_SUBJECT: u32 = u32::MAX;

const _: () = {
    assert!(offset_of!(Record, crash) == 32 && offset_of!(Crash, registers) == 48);
    assert!(size_of::<Record>() == 264 && size_of::<Record>() <= PAGE as usize);
};

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn page(word: u64) -> Vec<AtomicU64> {
        (0..PAGE / 8).map(|_| AtomicU64::new(word)).collect()
    }

    fn crash() -> Crash {
        let registers = Registers { rip: 0x10_1234, r15: 15, ..Registers::default() };
        Crash {
            reason: Reason::Exception as u32,
            subject: NO_SUBJECT,
            vector: 14,
            registers,
            ..Crash::default()
        }
    }

    #[test]
    fn boots_are_counted_from_power_on() {
        let words = page(0x5555);
        let memory = Shared::from(words.as_slice());
        assert_eq!(Record::load(&memory), None, "whatever is in memory after power-on");
        for boot in 1..4 {
            assert_eq!(Record::count_boot(&memory).unwrap().boot, boot);
        }
    }

    #[test]
    fn a_crash_is_reported_by_the_next_boot_only() {
        let words = page(0);
        let memory = Shared::from(words.as_slice());
        assert_eq!(Record::count_boot(&memory).unwrap().crash_of_previous_boot(), None);
        assert_eq!(Record::record_crash(&memory, &crash()), Some(()));
        assert_eq!(Record::load(&memory).unwrap().crash_of_previous_boot(), None);
        assert_eq!(Record::count_boot(&memory).unwrap().crash_of_previous_boot(), Some(&crash()));
        assert_eq!(Record::count_boot(&memory).unwrap().crash_of_previous_boot(), None);
    }

    #[test]
    fn a_crash_before_the_boot_was_counted_is_not_lost() {
        let words = page(0);
        let memory = Shared::from(words.as_slice());
        assert_eq!(Record::record_crash(&memory, &crash()), Some(()));
        assert_eq!(Record::count_boot(&memory).unwrap().crash_of_previous_boot(), Some(&crash()));
    }

    #[test]
    fn a_single_wrong_bit_makes_a_record_void() {
        let words = page(0);
        let memory = Shared::from(words.as_slice());
        assert_eq!(Record::record_crash(&memory, &crash()), Some(()));
        for word in &words[..size_of::<Record>() / 8] {
            word.fetch_xor(1 << 17, Ordering::Relaxed);
            assert_eq!(Record::load(&memory), None);
            word.fetch_xor(1 << 17, Ordering::Relaxed);
        }
        assert!(Record::load(&memory).is_some());
    }

    #[test]
    fn every_reason_has_words() {
        for reason in Reason::ALL {
            let crash = Crash { reason: reason as u32, ..Crash::default() };
            assert_eq!(crash.reason(), reason.text());
        }
        assert_eq!(Crash::default().reason(), "unknown reason");
    }
}
