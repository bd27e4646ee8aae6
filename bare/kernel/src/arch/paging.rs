//! The kernel's own page tables: made by the builder, loaded here.

use core::arch::asm;

use palisade_abi::plan::Cpu;

use super::processor::{self, read_msr, write_msr};

/// Whether the processor can forbid execution of pages.
pub(crate) fn no_execute_exists() -> bool {
    processor::cpuid(0x8000_0001, 0)[3] & 1 << 20 != 0
}

/// Whether the kernel's tables and AMD's nested ones mean what the builder meant: pages without caching bits are write-back,
/// those with both are uncached (Intel SDM volume 3, 13.12.4). Processors start so, and firmware has no reason to change it.
pub(crate) fn memory_types_are_usual() -> bool {
    // SAFETY: every 64-bit processor has the register.
    let types = unsafe { read_msr(PAT) };
    types as u8 == WRITE_BACK && (types >> 24) as u8 == UNCACHED
}

/// Leaves the boot page tables for the plan's tables of `cpu`, and goes on with `next` on the CPU's own stack.
///
/// # Safety
/// The tables map the kernel's text, data and this CPU's stack at their physical addresses. Nothing on the present
/// stack is needed any more.
pub(crate) unsafe fn enter(cpu: &Cpu, next: extern "C" fn(usize) -> !, argument: usize) -> ! {
    // SAFETY: promised by the caller; EFER exists on every 64-bit processor and no-execute was announced.
    unsafe {
        write_msr(EFER, read_msr(EFER) | EFER_NXE);
        asm!(
            "mov cr3, {root}",
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {next}",
            "ud2",
            root = in(reg) cpu.kernel_root,
            stack = in(reg) cpu.stack_top,
            next = in(reg) next,
            in("rdi") argument,
            options(noreturn)
        );
    }
}

const EFER: u32 = 0xc000_0080;
const EFER_NXE: u64 = 1 << 11;
/// The memory types that the caching bits of table entries choose from.
pub(super) const PAT: u32 = 0x277;
const WRITE_BACK: u8 = 6;
const UNCACHED: u8 = 0;
