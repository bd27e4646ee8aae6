//! Exit codes of SVM (AMD APM volume 2, appendix C) in the words of the plan.

use palisade_abi::plan::trap;

pub(super) const CR_WRITE_FIRST: u64 = 0x10;
pub(super) const CR_WRITE_LAST: u64 = 0x1f;
pub(super) const DR_READ_FIRST: u64 = 0x20;
pub(super) const DR_WRITE_LAST: u64 = 0x3f;
pub(super) const EXCEPTION_FIRST: u64 = 0x40;
pub(super) const EXCEPTION_UD: u64 = 0x46;
pub(super) const EXCEPTION_PF: u64 = 0x4e;
pub(super) const EXCEPTION_MC: u64 = 0x52;
pub(super) const EXCEPTION_LAST: u64 = 0x5f;
pub(super) const INTERRUPT: u64 = 0x60;
pub(super) const NMI: u64 = 0x61;
pub(super) const SMI: u64 = 0x62;
pub(super) const INIT: u64 = 0x63;
pub(super) const RDPMC: u64 = 0x6f;
pub(super) const CPUID: u64 = 0x72;
pub(super) const RSM: u64 = 0x73;
pub(super) const INVD: u64 = 0x76;
pub(super) const PAUSE: u64 = 0x77;
pub(super) const HLT: u64 = 0x78;
pub(super) const INVLPGA: u64 = 0x7a;
pub(super) const IO: u64 = 0x7b;
pub(super) const MSR: u64 = 0x7c;
pub(super) const TASK_SWITCH: u64 = 0x7d;
pub(super) const SHUTDOWN: u64 = 0x7f;
pub(super) const VMRUN: u64 = 0x80;
pub(super) const VMMCALL: u64 = 0x81;
pub(super) const SKINIT: u64 = 0x86;
pub(super) const ICEBP: u64 = 0x88;
pub(super) const WBINVD: u64 = 0x89;
pub(super) const MWAIT_CONDITIONAL: u64 = 0x8c;
pub(super) const XSETBV: u64 = 0x8d;
pub(super) const RDPRU: u64 = 0x8e;
pub(super) const NESTED_FAULT: u64 = 0x400;
pub(super) const INVALID: u64 = u64::MAX;
/// What QEMU reports for an invalid control block.
pub(super) const INVALID_32: u64 = 0xffff_ffff;

/// The trap kind of an exit that stops the subject and carries no further information.
pub(super) const fn trap_kind(code: u64) -> u8 {
    match code {
        EXCEPTION_FIRST..=EXCEPTION_LAST => (code - EXCEPTION_FIRST) as u8,
        SHUTDOWN => trap::TRIPLE_FAULT,
        CR_WRITE_FIRST..=CR_WRITE_LAST => trap::CONTROL_REGISTER,
        DR_READ_FIRST..=DR_WRITE_LAST => trap::DEBUG_REGISTER,
        VMRUN..=SKINIT | INVLPGA => trap::VIRTUALISATION,
        RDPMC | RSM | INVD | ICEBP | WBINVD..=MWAIT_CONDITIONAL | RDPRU => trap::FORBIDDEN_INSTRUCTION,
        TASK_SWITCH => trap::TASK_SWITCH,
        HLT => trap::HALT,
        INVALID | INVALID_32 => trap::INVALID_STATE,
        _ => trap::UNKNOWN,
    }
}
