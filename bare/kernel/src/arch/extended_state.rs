//! x87, SSE and AVX state: switched with XSAVE and XRSTOR when another subject runs.

use core::arch::asm;

use palisade_abi::layout::PAGE;
use palisade_abi::plan::Subject;
use palisade_abi::volatile::Memory;

use super::processor;
use crate::memory::PlanMemory;

/// The extended state that this processor has, of x87, SSE and AVX.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtendedState {
    available: u64,
}

impl ExtendedState {
    /// Turns XSAVE on. `None` if the processor has none.
    pub(crate) fn enable() -> Option<Self> {
        if processor::cpuid(1, 0)[2] & 1 << 26 == 0 {
            return None;
        }
        let [low, _, size, _] = processor::cpuid(0xd, 0);
        let available = u64::from(low) & KNOWN;
        if available & 3 != 3 || (available == KNOWN && u64::from(size) > PAGE && low == KNOWN as u32) {
            return None;
        }
        // SAFETY: CPUID announces XSAVE; the bits are among those it announces, x87 and SSE included.
        unsafe {
            processor::set_cr4(processor::control_registers().2 | CR4_OSXSAVE);
            set_xcr0(available);
        }
        Some(Self { available })
    }

    /// The state that `subject` may use: what the plan allows of what the processor has.
    pub(crate) const fn allowed(self, subject: &Subject) -> u64 {
        subject.xcr0 & self.available
    }

    /// Whether `subject` may set XCR0 to `value`.
    pub(crate) const fn accepts(self, subject: &Subject, value: u64) -> bool {
        value & !self.allowed(subject) == 0 && value & 1 != 0 && (value & 4 == 0 || value & 2 != 0)
    }

    /// Puts a subject's saved state into its initial condition: XSTATE_BV = 0 has XRSTOR do the rest.
    pub(crate) fn reset(subject: &Subject) {
        let area = PlanMemory::extended_state(subject);
        for offset in (0..area.size()).step_by(8) {
            area.store(offset, 0);
        }
        area.store_u32(MXCSR, 0x1f80);
    }

    /// Saves the state of `subject`, which ran last.
    pub(crate) fn save(self, subject: &Subject) {
        let area = subject.xsave;
        // SAFETY: the area is this subject's page, page-aligned and large enough; all state the processor has is enabled.
        unsafe {
            set_xcr0(self.available);
            xsave(area);
        }
    }

    /// Loads the state of `subject`, which runs next, and gives it `xcr0`.
    pub(crate) fn load(self, subject: &Subject, xcr0: u64) {
        let area = subject.xsave;
        // SAFETY: as above. XMM registers that the compiler uses are lost, which it is told.
        unsafe {
            set_xcr0(self.available);
            xrstor(area);
            set_xcr0(xcr0);
        }
    }
}

/// # Safety
/// XSAVE is on; `value` is a valid XCR0.
unsafe fn set_xcr0(value: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// # Safety
/// XSAVE is on; `area` is a writable page.
unsafe fn xsave(area: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("xsave64 [{area}]", area = in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, preserves_flags))
    };
}

/// # Safety
/// XSAVE is on; `area` holds what XSAVE or [`ExtendedState::reset`] put there.
unsafe fn xrstor(area: u64) {
    // AMD processors without the CPUID bit RstrFpErrPtrs leave the x87 instruction and data pointers as they are unless an
    // exception is pending. An instruction of the kernel replaces those of the subject that ran before.
    // SAFETY: promised by the caller.
    unsafe {
        asm!("fnclex", "emms", "fild dword ptr [{area}]", "xrstor64 [{area}]", area = in(reg) area, in("eax") u32::MAX, in("edx") u32::MAX,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
            out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _,
            out("xmm14") _, out("xmm15") _, options(nostack, preserves_flags));
    }
}

/// x87, SSE, AVX.
const KNOWN: u64 = 7;
const CR4_OSXSAVE: u64 = 1 << 18;
/// Offset of MXCSR in an XSAVE area.
const MXCSR: usize = 24;
