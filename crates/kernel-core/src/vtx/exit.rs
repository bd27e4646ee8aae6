//! Exit reasons of VT-x (Intel SDM volume 3, appendix C and section 28.2) in the words of the plan.

use palisade_abi::crash::Reason;
use palisade_abi::plan::trap;

use crate::exit::{Exit, Trap};

/// What the processor tells about an exit. What a field means depends on the reason.
#[derive(Debug, Clone, Copy, Default)]
pub struct Details {
    /// Exit reason.
    pub reason: u32,
    /// Exit qualification.
    pub qualification: u64,
    /// Guest-physical address.
    pub address: u64,
    /// VM-exit interruption information.
    pub event: u32,
    /// VM-exit interruption error code.
    pub error_code: u64,
    /// Whether the subject can be interrupted, as its RFLAGS say.
    pub interrupts_enabled: bool,
    /// Whether the subject ran at privilege level 0.
    pub ring0: bool,
    /// RAX.
    pub rax: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
}

/// What an exit means.
///
/// An undefined instruction is a trap here, also if it is a hypercall of the other vendor or if the subject handles its
/// own exceptions: to know that takes a look at the subject.
#[must_use]
pub fn classify(details: &Details) -> Exit {
    let Details { reason, qualification, .. } = *details;
    let stop = |kind, address, info| Exit::Trap(Trap { kind, address, info, code: u64::from(reason) });
    match reason {
        EXCEPTION => exception(details),
        EXTERNAL_INTERRUPT | INIT => Exit::Interrupt,
        INTERRUPT_WINDOW | TIMER => Exit::Resume,
        CPUID => Exit::Cpuid,
        HLT if details.interrupts_enabled => Exit::Halt,
        VMCALL if details.ring0 => Exit::Hypercall(details.rax),
        VMCALL => stop(INVALID_OPCODE, 0, 0),
        CONTROL_REGISTER => {
            stop(trap::CONTROL_REGISTER, qualification & 0xf, control_register_write(qualification))
        }
        DEBUG_REGISTER => stop(trap::DEBUG_REGISTER, qualification & 7, !qualification >> 4 & 1),
        IO => stop(trap::IO_PORT, qualification >> 16 & 0xffff, qualification >> 3 & 1),
        MSR_READ => stop(trap::MSR_READ, details.rcx & 0xffff_ffff, 0),
        MSR_WRITE => stop(trap::MSR_WRITE, details.rcx & 0xffff_ffff, 1),
        PAUSE => Exit::Pause,
        MEMORY => stop(memory_kind(qualification), details.address, memory_access(qualification)),
        XSETBV => Exit::SetExtendedState(details.rcx as u32, details.rdx << 32 | details.rax & 0xffff_ffff),
        ENTRY_STATE | ENTRY_MSR => stop(trap::INVALID_STATE, 0, qualification),
        ENTRY_MACHINE_CHECK => Exit::Fatal(Reason::MachineCheck, u64::from(reason)),
        _ if reason & ENTRY_FAILED != 0 => Exit::Fatal(Reason::Entry, u64::from(reason)),
        _ => stop(trap_kind(reason), 0, qualification),
    }
}

fn exception(details: &Details) -> Exit {
    let code = u64::from(details.reason);
    let stop = |kind, address, info| Exit::Trap(Trap { kind, address, info, code });
    let error_code = if details.event & EVENT_ERROR_CODE != 0 { details.error_code } else { 0 };
    match (details.event >> 8 & 7, details.event as u8) {
        (EVENT_NMI, _) => Exit::Fatal(Reason::NonMaskableInterrupt, code),
        // `int1`
        (EVENT_PRIVILEGED, _) => stop(trap::FORBIDDEN_INSTRUCTION, 0, 0),
        (_, MACHINE_CHECK) => Exit::Fatal(Reason::MachineCheck, code),
        (_, PAGE_FAULT) => stop(PAGE_FAULT, details.qualification, error_code),
        (_, vector) => stop(vector & 31, 0, error_code),
    }
}

/// Everything that accesses a control register writes it, but for one form of `mov`.
const fn control_register_write(qualification: u64) -> u64 {
    (qualification >> 4 & 3 != 1) as u64
}

/// An access on the way through the subject's own page tables is not one to the address that the subject named.
const fn memory_kind(qualification: u64) -> u8 {
    const ADDRESS_VALID: u64 = 1 << 7;
    const TRANSLATED: u64 = 1 << 8;
    if qualification & (ADDRESS_VALID | TRANSLATED) == ADDRESS_VALID {
        trap::PAGE_TABLE
    } else {
        trap::MEMORY
    }
}

/// The kind of access in the bits of a page fault's error code.
const fn memory_access(qualification: u64) -> u64 {
    let present = (qualification & 0x38 != 0) as u64;
    let write = qualification >> 1 & 1;
    let fetch = qualification >> 2 & 1;
    present | write << 1 | fetch << 4
}

/// The trap kind of an exit that carries no further information.
const fn trap_kind(reason: u32) -> u8 {
    match reason {
        TRIPLE_FAULT => trap::TRIPLE_FAULT,
        TASK_SWITCH => trap::TASK_SWITCH,
        HLT => trap::HALT,
        GETSEC | VMCLEAR..=VMXON | INVEPT | INVVPID | VMFUNC => trap::VIRTUALISATION,
        INVD | RDPMC | RSM | MWAIT | MONITOR | WBINVD | ENCLS => trap::FORBIDDEN_INSTRUCTION,
        _ => trap::UNKNOWN,
    }
}

/// An exception, or a non-maskable interrupt.
pub const EXCEPTION: u32 = 0;
/// An interrupt of the host.
pub const EXTERNAL_INTERRUPT: u32 = 1;
/// Vector of the exception for an undefined instruction.
pub const INVALID_OPCODE: u8 = 6;

const TRIPLE_FAULT: u32 = 2;
const INIT: u32 = 3;
const INTERRUPT_WINDOW: u32 = 7;
const TASK_SWITCH: u32 = 9;
const CPUID: u32 = 10;
const GETSEC: u32 = 11;
const HLT: u32 = 12;
const INVD: u32 = 13;
const RDPMC: u32 = 15;
const RSM: u32 = 17;
const VMCALL: u32 = 18;
const VMCLEAR: u32 = 19;
const VMXON: u32 = 27;
const CONTROL_REGISTER: u32 = 28;
const DEBUG_REGISTER: u32 = 29;
const IO: u32 = 30;
const MSR_READ: u32 = 31;
const MSR_WRITE: u32 = 32;
const MWAIT: u32 = 36;
const MONITOR: u32 = 39;
const PAUSE: u32 = 40;
const MEMORY: u32 = 48;
const INVEPT: u32 = 50;
const TIMER: u32 = 52;
const INVVPID: u32 = 53;
const WBINVD: u32 = 54;
const XSETBV: u32 = 55;
const VMFUNC: u32 = 59;
const ENCLS: u32 = 60;
/// Set in the reason if the subject was not entered.
const ENTRY_FAILED: u32 = 1 << 31;
const ENTRY_STATE: u32 = ENTRY_FAILED | 33;
const ENTRY_MSR: u32 = ENTRY_FAILED | 34;
const ENTRY_MACHINE_CHECK: u32 = ENTRY_FAILED | 41;

const EVENT_NMI: u32 = 2;
const EVENT_PRIVILEGED: u32 = 5;
const EVENT_ERROR_CODE: u32 = 1 << 11;
const PAGE_FAULT: u8 = 14;
const MACHINE_CHECK: u8 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: u32 = 1 << 31;

    fn trap(details: Details) -> Trap {
        match classify(&details) {
            Exit::Trap(trap) => trap,
            other => panic!("{details:?} is {other:?}"),
        }
    }

    fn by_qualification(reason: u32, qualification: u64) -> (u8, u64, u64) {
        let Trap { kind, address, info, code } = trap(Details {
            reason,
            qualification,
            address: 0x1234,
            rcx: 0x5_0000_0010,
            ..Details::default()
        });
        assert_eq!(code, u64::from(reason));
        (kind, address, info)
    }

    fn event(event: u32, error_code: u64, qualification: u64) -> Exit {
        classify(&Details { event: VALID | event, error_code, qualification, ..Details::default() })
    }

    #[test]
    fn what_a_subject_may_not_touch_is_reported_with_its_number_and_direction() {
        assert_eq!(by_qualification(IO, 0x3f8_0000), (trap::IO_PORT, 0x3f8, 0));
        assert_eq!(by_qualification(IO, 0xffff_0009), (trap::IO_PORT, 0xffff, 1));
        assert_eq!(by_qualification(MSR_READ, 0), (trap::MSR_READ, 0x10, 0));
        assert_eq!(by_qualification(MSR_WRITE, 0), (trap::MSR_WRITE, 0x10, 1));
        assert_eq!(by_qualification(DEBUG_REGISTER, 0x307), (trap::DEBUG_REGISTER, 7, 1));
        assert_eq!(by_qualification(DEBUG_REGISTER, 0x313), (trap::DEBUG_REGISTER, 3, 0));
    }

    #[test]
    fn every_way_of_changing_a_control_register_is_a_write() {
        assert_eq!(by_qualification(CONTROL_REGISTER, 0x204), (trap::CONTROL_REGISTER, 4, 1));
        assert_eq!(by_qualification(CONTROL_REGISTER, 0x013), (trap::CONTROL_REGISTER, 3, 0), "mov from");
        assert_eq!(by_qualification(CONTROL_REGISTER, 0x020), (trap::CONTROL_REGISTER, 0, 1), "clts");
        assert_eq!(by_qualification(CONTROL_REGISTER, 0xf_0030), (trap::CONTROL_REGISTER, 0, 1), "lmsw");
    }

    #[test]
    fn memory_faults_tell_the_access_and_whether_it_was_the_subjects_own() {
        assert_eq!(by_qualification(MEMORY, 0x181), (trap::MEMORY, 0x1234, 0), "read, nothing mapped");
        assert_eq!(by_qualification(MEMORY, 0x182), (trap::MEMORY, 0x1234, 2), "write, nothing mapped");
        assert_eq!(by_qualification(MEMORY, 0x18a), (trap::MEMORY, 0x1234, 3), "write to read-only memory");
        assert_eq!(by_qualification(MEMORY, 0x19c), (trap::MEMORY, 0x1234, 0x11), "fetch of data");
        assert_eq!(by_qualification(MEMORY, 0x081), (trap::PAGE_TABLE, 0x1234, 0), "walk");
        assert_eq!(by_qualification(MEMORY, 0x08b), (trap::PAGE_TABLE, 0x1234, 3), "walk that sets a bit");
    }

    #[test]
    fn exceptions_carry_their_vector_and_an_error_code_only_if_they_have_one() {
        let stopped = |kind, address, info| Exit::Trap(Trap { kind, address, info, code: 0 });
        assert_eq!(event(0x30d | EVENT_ERROR_CODE, 0x18, 7), stopped(13, 0, 0x18));
        assert_eq!(event(0x306, 0x18, 7), stopped(INVALID_OPCODE, 0, 0));
        assert_eq!(event(0x603, 0, 0), stopped(3, 0, 0), "int3 is a software exception");
        assert_eq!(event(0x30e | EVENT_ERROR_CODE, 2, 0xdead), stopped(PAGE_FAULT, 0xdead, 2));
        assert_eq!(event(0x501, 0, 0), stopped(trap::FORBIDDEN_INSTRUCTION, 0, 0), "int1");
    }

    #[test]
    fn trouble_of_the_machine_is_no_subjects_fault() {
        assert_eq!(event(0x202, 0, 0), Exit::Fatal(Reason::NonMaskableInterrupt, 0));
        assert_eq!(event(0x312, 0, 0), Exit::Fatal(Reason::MachineCheck, 0));
        let entry = |reason| classify(&Details { reason: ENTRY_FAILED | reason, ..Details::default() });
        assert_eq!(entry(41), Exit::Fatal(Reason::MachineCheck, 0x8000_0029));
        assert_eq!(entry(99), Exit::Fatal(Reason::Entry, 0x8000_0063));
        assert!(matches!(entry(33), Exit::Trap(Trap { kind: trap::INVALID_STATE, .. })));
        assert!(matches!(entry(34), Exit::Trap(Trap { kind: trap::INVALID_STATE, .. })));
    }

    #[test]
    fn hypercalls_come_from_ring_0_only() {
        let vmcall = Details { reason: VMCALL, rax: 7, ring0: true, ..Details::default() };
        assert_eq!(classify(&vmcall), Exit::Hypercall(7));
        assert_eq!(trap(Details { ring0: false, ..vmcall }).kind, INVALID_OPCODE);
    }

    #[test]
    fn a_halt_that_nothing_can_end_is_the_end() {
        let halt = Details { reason: HLT, interrupts_enabled: true, ..Details::default() };
        assert_eq!(classify(&halt), Exit::Halt);
        assert_eq!(trap(Details { interrupts_enabled: false, ..halt }).kind, trap::HALT);
    }

    #[test]
    fn xsetbv_is_handed_on_with_register_and_value() {
        let details = Details {
            reason: XSETBV,
            rcx: 0xffff_ffff_0000_0000,
            rdx: 1,
            rax: !0 << 32 | 7,
            ..Details::default()
        };
        assert_eq!(classify(&details), Exit::SetExtendedState(0, 0x1_0000_0007));
    }

    #[test]
    fn interrupts_and_the_end_of_its_time_do_not_stop_a_subject() {
        let plain = |reason| classify(&Details { reason, ..Details::default() });
        assert_eq!(plain(EXTERNAL_INTERRUPT), Exit::Interrupt);
        assert_eq!(plain(INIT), Exit::Interrupt);
        assert_eq!(plain(INTERRUPT_WINDOW), Exit::Resume);
        assert_eq!(plain(TIMER), Exit::Resume);
    }

    #[test]
    fn whatever_is_not_named_stops_the_subject() {
        let go_on = [EXCEPTION, EXTERNAL_INTERRUPT, INIT, INTERRUPT_WINDOW, CPUID, PAUSE, TIMER, XSETBV];
        for reason in (0..200).filter(|r| !go_on.contains(r)) {
            let kind = trap(Details { reason, ..Details::default() }).kind;
            assert!(usize::from(kind) < trap::COUNT, "{reason}");
        }
        for unknown in [4, 5, 8, 14, 16, 37, 49, 51, 57, 66, 0x7fff] {
            assert_eq!(by_qualification(unknown, 0).0, trap::UNKNOWN, "{unknown}");
        }
        for forbidden in [13, 15, 17, 36, 39, 54, 60] {
            assert_eq!(by_qualification(forbidden, 0).0, trap::FORBIDDEN_INSTRUCTION, "{forbidden}");
        }
        for virtualisation in (19..=27).chain([11, 50, 53, 59]) {
            assert_eq!(by_qualification(virtualisation, 0).0, trap::VIRTUALISATION, "{virtualisation}");
        }
    }
}
