//! What the log says about the crash that ended the boot before this one.

use palisade_abi::crash::{NO_SUBJECT, Record};

use crate::text::Text;

/// The longest line.
pub const MAX_LINE: usize = 160;

/// The lines of a crash report; none if the boot before this one did not crash.
pub fn lines(record: &Record) -> impl Iterator<Item = Text<MAX_LINE>> {
    record.crash_of_previous_boot().into_iter().flat_map(|crash| {
        let place = Text::new().str("on CPU ").decimal(u64::from(crash.cpu));
        let place = match crash.subject {
            NO_SUBJECT => place,
            subject => place.str(", with subject ").decimal(u64::from(subject)),
        };
        let registers = &crash.registers;
        [
            Text::new().str("boot ").decimal(record.crashed_boot).str(" crashed: ").str(crash.reason()),
            place
                .str(", vector ")
                .decimal(u64::from(crash.vector))
                .str(", error code ")
                .hex(crash.error_code)
                .str(", exit code ")
                .hex(crash.exit_code)
                .str(" (")
                .hex(crash.exit_info_1)
                .str(", ")
                .hex(crash.exit_info_2)
                .str(")"),
            row(&[("rip", registers.rip), ("rsp", registers.rsp), ("rflags", registers.rflags)]),
            row(&[
                ("cr0", registers.cr0),
                ("cr2", registers.cr2),
                ("cr3", registers.cr3),
                ("cr4", registers.cr4),
            ]),
            row(&[
                ("rax", registers.rax),
                ("rbx", registers.rbx),
                ("rcx", registers.rcx),
                ("rdx", registers.rdx),
            ]),
            row(&[
                ("rsi", registers.rsi),
                ("rdi", registers.rdi),
                ("rbp", registers.rbp),
                ("efer", registers.efer),
            ]),
            row(&[
                ("r8", registers.r8),
                ("r9", registers.r9),
                ("r10", registers.r10),
                ("r11", registers.r11),
            ]),
            row(&[
                ("r12", registers.r12),
                ("r13", registers.r13),
                ("r14", registers.r14),
                ("r15", registers.r15),
            ]),
        ]
    })
}

fn row(registers: &[(&str, u64)]) -> Text<MAX_LINE> {
    registers.iter().fold(Text::new(), |text, (name, value)| {
        let separator = if text.as_bytes().is_empty() { "" } else { ", " };
        text.str(separator).str(name).str(" ").hex(*value)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use palisade_abi::crash::{Crash, Reason, Registers};
    use palisade_abi::volatile::Shared;

    use super::*;

    #[test]
    fn a_crash_is_reported_at_the_next_boot_and_only_then() {
        let words: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
        let page = Shared::from(words.as_slice());
        let crash = Crash {
            reason: Reason::Exception as u32,
            subject: NO_SUBJECT,
            vector: 14,
            error_code: 2,
            registers: Registers { rip: 0x10_0000, rsp: u64::MAX, rflags: u64::MAX, ..Registers::default() },
            ..Crash::default()
        };
        assert_eq!(lines(&Record::count_boot(&page).unwrap()).count(), 0);
        Record::record_crash(&page, &crash).unwrap();
        let texts: Vec<_> =
            lines(&Record::count_boot(&page).unwrap()).map(|l| l.as_str().to_owned()).collect();
        assert_eq!(texts[0], "boot 1 crashed: exception in the kernel");
        assert_eq!(texts[1], "on CPU 0, vector 14, error code 0x2, exit code 0x0 (0x0, 0x0)");
        assert_eq!(texts[2], "rip 0x100000, rsp 0xffffffffffffffff, rflags 0xffffffffffffffff");
        assert_eq!(lines(&Record::count_boot(&page).unwrap()).count(), 0);
    }
}
