//! Why a subject stopped running, in words that do not depend on the processor's vendor.

use palisade_abi::crash::Reason;
use palisade_abi::plan::trap;

/// Why a subject stopped running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// An interrupt of the host arrived.
    Interrupt,
    /// `vmcall` or `vmmcall`: the number in RAX.
    Hypercall(u64),
    /// `cpuid`.
    Cpuid,
    /// `pause`.
    Pause,
    /// `hlt` with interrupts enabled.
    Halt,
    /// `xsetbv` of register ECX with this value.
    SetExtendedState(u32, u64),
    /// There is nothing left to do but to decide again who runs.
    Resume,
    /// Something that stops the subject.
    Trap(Trap),
    /// Something is wrong with the machine or the kernel; the processor's own code for it.
    Fatal(Reason, u64),
}

/// What stopped a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// A number of [`palisade_abi::plan::trap`].
    pub kind: u8,
    /// As in [`palisade_abi::report::SubjectReport::address`].
    pub address: u64,
    /// As in [`palisade_abi::report::SubjectReport::info`].
    pub info: u64,
    /// The processor's own exit code.
    pub code: u64,
}

impl Trap {
    /// `xsetbv` of `register` with a value the subject may not set.
    #[must_use]
    pub const fn extended_state(register: u32, value: u64) -> Self {
        Self { kind: trap::EXTENDED_STATE, address: register as u64, info: value, code: 0 }
    }
}
