//! The interface between the run loop and a processor's virtualisation extension. Nothing above it knows which one it is.

use palisade_abi::plan::{Subject, trap};

/// A subject's registers that the processor does not keep in its control block.
///
/// The assembly of the back ends knows this layout.
#[repr(C, align(16))]
#[derive(Default)]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rbx: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) rbp: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r11: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) mxcsr: u64,
    /// The XCR0 it has set; 0 until it first runs.
    pub(crate) xcr0: u64,
    pub(crate) xmm: [Xmm; 16],
}

/// An XMM register. The alignment is what `movaps` demands.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default)]
pub(crate) struct Xmm([u64; 2]);

/// Why a subject stopped running.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Exit {
    /// An interrupt of the host is waiting to be taken.
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
    /// The back end has dealt with it; go on with the subject.
    Resume,
    /// Something that stops the subject.
    Trap(Trap),
    /// Something is wrong with the machine or the kernel.
    Fatal(u64),
}

/// What stopped a subject.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    /// A number of [`palisade_abi::plan::trap`].
    pub(crate) kind: u8,
    /// As in [`palisade_abi::report::SubjectReport::address`].
    pub(crate) address: u64,
    /// As in [`palisade_abi::report::SubjectReport::info`].
    pub(crate) info: u64,
    /// The processor's own exit code.
    pub(crate) code: u64,
}

impl Trap {
    /// `xsetbv` of `register` with a value the subject may not set.
    pub(crate) const fn extended_state(register: u32, value: u64) -> Self {
        Self { kind: trap::EXTENDED_STATE, address: register as u64, info: value, code: 0 }
    }
}

/// A processor's virtualisation extension, enabled on this CPU.
///
/// The subject's control block and registers live in pages that the plan gives it; the back end reaches them through its record.
pub(crate) trait Virtualisation {
    /// Puts the subject with this index in the plan into its initial state for its start number `generation`.
    fn reset(&mut self, subject: &Subject, index: usize, generation: u64);
    /// The subject's registers.
    fn registers(&mut self, subject: &Subject) -> &mut Registers;
    /// Moves the subject past the instruction that caused the last exit (`cpuid`, `pause`, `xsetbv`, `hlt` or a hypercall).
    fn skip_instruction(&mut self, subject: &Subject, exit: &Exit);
    /// Makes `vector` the interrupt the subject takes as soon as it can, or `None` to have it take none.
    fn offer_interrupt(&mut self, subject: &Subject, vector: Option<u8>);
    /// Whether the interrupt offered last has been taken.
    fn interrupt_was_taken(&mut self, subject: &Subject) -> bool;
    /// The subject's instruction and stack pointers.
    fn position(&mut self, subject: &Subject) -> (u64, u64);
    /// Runs the subject with this index in the plan until it exits.
    fn run(&mut self, subject: &Subject, index: usize) -> Exit;
}
