//! Why a subject was stopped, in a line that a person understands.

use palisade_abi::plan::trap;
use palisade_abi::report::SubjectReport;
use palisade_abi::status::Abort;

use crate::text::Text;

/// The longest cause.
pub const MAX_CAUSE: usize = 120;

/// The text of a cause.
pub type Cause = Text<MAX_CAUSE>;

/// What the kernel reports about a stopped subject.
#[must_use]
pub fn of_report(report: &SubjectReport) -> Cause {
    let text = Text::new();
    let text = match u8::try_from(report.trap).unwrap_or(trap::UNKNOWN) {
        PAGE_FAULT | trap::MEMORY => memory(text, report.address, report.info),
        vector @ 0..32 => exception(text, vector),
        trap::TRIPLE_FAULT => text.str("triple fault"),
        trap::IO_PORT => text.str("port ").hex(report.address).str(direction(report.info)),
        trap::MSR_READ => text.str("MSR ").hex(report.address).str(" read"),
        trap::MSR_WRITE => text.str("MSR ").hex(report.address).str(" write"),
        trap::PAGE_TABLE => text.str("page tables outside its memory, at ").hex(report.address),
        trap::CONTROL_REGISTER => text.str("control register ").decimal(report.address).str(" write"),
        trap::DEBUG_REGISTER => text.str("debug register access"),
        trap::VIRTUALISATION => text.str("virtualisation instruction"),
        trap::FORBIDDEN_INSTRUCTION => text.str("forbidden instruction"),
        trap::EXTENDED_STATE => text.str("forbidden extended state"),
        trap::TASK_SWITCH => text.str("task switch"),
        trap::HALT => text.str("halt"),
        trap::INVALID_STATE => text.str("invalid processor state"),
        // A process that Linux has killed leaves no registers.
        trap::SYSTEM_CALL => return text.str("forbidden system call"),
        trap::KILLED => return text.str("killed by signal ").decimal(report.address),
        trap::NOT_STARTED => {
            return text.str("could not be started, error ").decimal(report.address).str(" of Linux");
        }
        trap::UNHANDLED => return text.str("exception in an exception handler"),
        _ => text.str("unknown exit ").hex(report.exit_code),
    };
    text.str(" at rip ").hex(report.rip)
}

/// What a subject's own exception handler reported.
#[must_use]
pub fn of_abort(abort: &Abort) -> Cause {
    if *abort == (Abort { vector: BREAKPOINT, error_code: 0, rip: 0, fault_address: 0 }) {
        return Text::new().str("gave up");
    }
    let text = match u8::try_from(abort.vector).unwrap_or(u8::MAX) {
        PAGE_FAULT => memory(Text::new(), abort.fault_address, u64::from(abort.error_code)),
        vector => exception(Text::new(), vector),
    };
    text.str(" at rip ").hex(abort.rip)
}

fn memory(text: Cause, address: u64, error: u64) -> Cause {
    let access = match (error & FETCH != 0, error & WRITE != 0) {
        (true, _) => "execution of ",
        (false, true) => "write to ",
        (false, false) => "read of ",
    };
    let why = if error & PRESENT != 0 { " not permitted" } else { " not mapped" };
    text.str("memory: ").str(access).hex(address).str(why)
}

fn exception(text: Cause, vector: u8) -> Cause {
    match EXCEPTIONS.get(usize::from(vector)).copied().filter(|name| !name.is_empty()) {
        Some(name) => text.str(name),
        None => text.str("exception ").decimal(u64::from(vector)),
    }
}

fn direction(info: u64) -> &'static str {
    if info & INPUT != 0 { " read" } else { " write" }
}

/// Bits of a memory fault.
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 4;
/// Bit of a port access.
const INPUT: u64 = 1 << 0;

const BREAKPOINT: u32 = 3;
const PAGE_FAULT: u8 = 14;

/// Exceptions by vector (Intel SDM volume 3, table 6-1; AMD APM volume 2, table 8-1).
const EXCEPTIONS: [&str; 32] = [
    "division error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "x87 not available",
    "double fault",
    "",
    "invalid task state",
    "segment not present",
    "stack segment fault",
    "general protection fault",
    "page fault",
    "",
    "x87 error",
    "misaligned access",
    "machine check",
    "SIMD error",
    "virtualisation exception",
    "control protection fault",
    "",
    "",
    "",
    "",
    "",
    "",
    "hypervisor injection",
    "VMM communication",
    "security exception",
    "",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn report(trap: u8, address: u64, info: u64) -> SubjectReport {
        SubjectReport { trap: u32::from(trap), address, info, rip: 0x20_134a, ..SubjectReport::default() }
    }

    #[test]
    fn a_memory_fault_says_what_was_tried_and_why_it_failed() {
        for (info, text) in [
            (0, "memory: read of 0x10 not mapped at rip 0x20134a"),
            (WRITE, "memory: write to 0x10 not mapped at rip 0x20134a"),
            (WRITE | PRESENT, "memory: write to 0x10 not permitted at rip 0x20134a"),
            (FETCH | PRESENT, "memory: execution of 0x10 not permitted at rip 0x20134a"),
        ] {
            assert_eq!(of_report(&report(trap::MEMORY, 0x10, info)).as_str(), text);
            assert_eq!(of_report(&report(PAGE_FAULT, 0x10, info)).as_str(), text);
            let abort = Abort { vector: 14, error_code: info as u32, rip: 0x20_134a, fault_address: 0x10 };
            assert_eq!(of_abort(&abort).as_str(), text);
        }
    }

    #[test]
    fn ports_and_registers_are_named() {
        assert_eq!(of_report(&report(trap::IO_PORT, 0x60, 1)).as_str(), "port 0x60 read at rip 0x20134a");
        assert_eq!(of_report(&report(trap::IO_PORT, 0x80, 0)).as_str(), "port 0x80 write at rip 0x20134a");
        assert_eq!(of_report(&report(trap::MSR_WRITE, 0x1b, 1)).as_str(), "MSR 0x1b write at rip 0x20134a");
        let text = of_report(&report(trap::CONTROL_REGISTER, 4, 0));
        assert_eq!(text.as_str(), "control register 4 write at rip 0x20134a");
    }

    #[test]
    fn every_trap_has_a_text_that_fits() {
        for number in 0..=u8::MAX {
            let text = of_report(&SubjectReport {
                trap: u32::from(number),
                address: u64::MAX,
                rip: u64::MAX,
                exit_code: u64::MAX,
                info: 3,
                ..SubjectReport::default()
            });
            let hosted =
                [trap::SYSTEM_CALL, trap::KILLED, trap::UNHANDLED, trap::NOT_STARTED].contains(&number);
            assert!(text.room() > 0 && !text.as_str().is_empty(), "{text:?}");
            assert_eq!(text.as_str().ends_with(" at rip 0xffffffffffffffff"), !hosted, "{text:?}");
        }
    }

    #[test]
    fn a_program_that_gives_up_has_no_address() {
        let abort = Abort { vector: 3, error_code: 0, rip: 0, fault_address: 0 };
        assert_eq!(of_abort(&abort).as_str(), "gave up");
    }
}
