//! The interface between the run loop and a processor's virtualisation extension. Nothing above it knows which one it is.

use palisade_abi::plan::{Cpu, Subject};
use palisade_kernel_core::exit::Exit;

use super::registers::Registers;
use super::tables::CpuData;
use crate::memory::PlanMemory;

/// A processor's virtualisation extension, enabled on this CPU.
///
/// The subject's control block and registers live in pages that the plan gives it; the back end reaches them through its record.
pub(crate) trait Virtualisation: Sized {
    /// Whether [`Virtualisation::run`] ends at the time it is given. If not, the caller has an interrupt arrive then.
    const KEEPS_TIME: bool;

    /// Whether this processor has the extension.
    fn exists() -> bool;
    /// What the kernel needs of the extension and this processor, which has it, does not offer: the first such thing.
    fn missing_feature() -> Option<&'static str>;
    /// Enables the extension on this CPU, or names what is missing.
    ///
    /// # Safety
    /// The extension exists; `data` is this CPU's installed data; the kernel's own page tables are in use.
    unsafe fn enable(
        cpu: &Cpu,
        data: *const CpuData,
        memory: PlanMemory<'static>,
    ) -> Result<Self, &'static str>;

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
    /// Runs the subject with this index in the plan until it exits; see [`Virtualisation::KEEPS_TIME`] for the TSC value `until`.
    fn run(&mut self, subject: &Subject, index: usize, until: u64) -> Exit;
}
