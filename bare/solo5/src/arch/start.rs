//! From the kernel's first jump to Rust.

use core::arch::naked_asm;

use super::memory;
use crate::program;

/// Entry of the program. RDI = boot info, RSI = generation, RSP = end of the RAM - 8, interrupts disabled.
///
/// # Safety
///
/// For the kernel only.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "mov r12, rdi",
        "mov r13, rsi",
        // The first stack lies at the end of the RAM. It serves to find the guarded one, if there is one.
        "and rsp, -16",
        "call {stack_top}",
        "test rax, rax",
        "cmovnz rsp, rax",
        "and rsp, -16",
        "xor ebp, ebp",
        "mov rdi, r12",
        "mov rsi, r13",
        "call {start}",
        "ud2",
        stack_top = sym memory::stack_top,
        start = sym program::start,
    )
}
