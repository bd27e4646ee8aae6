//! Where the processor enters the program when an exception or interrupt arrives.

use core::arch::global_asm;

use palisade_abi::platform::ExceptionFrame;

use super::platform::{self, Place};
use super::{descriptors, global, instructions};
use crate::{interrupt, trap};

/// Has exceptions reported, and interrupts given to their handlers.
pub(crate) fn catch_exceptions() {
    match platform::place() {
        Place::Process(platform) => (platform.handle_exceptions)(hosted_exception),
        Place::Kernel | Place::KernelOnAmd => descriptors::install(),
    }
}

/// Number of interrupt vectors.
pub(crate) const COUNT: usize = 256;
/// The first vectors belong to the processor's exceptions.
pub(crate) const EXCEPTIONS: usize = 32;

/// Address of a vector's entry.
pub(crate) fn stub(vector: usize) -> u64 {
    unsafe extern "C" {
        static vector_stubs: u8;
    }
    (&raw const vector_stubs) as u64 + (vector * STUB_SIZE) as u64
}

const STUB_SIZE: usize = 16;

// Each stub completes the processor's frame by an error code, if it pushed none, and the vector. Handlers are Rust, which
// uses SSE registers: FXSAVE keeps the interrupted ones. The vectors with an error code: Intel SDM volume 3, table 6-1,
// and AMD's 29 and 30.
global_asm!(
    ".balign {size}",
    "vector_stubs:",
    ".set vector, 0",
    ".rept {count}",
    ".balign {size}",
    ".if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    "pushq $0",
    ".endif",
    "pushq $vector",
    "jmp 2f",
    ".set vector, vector + 1",
    ".endr",
    "2:",
    "pushq %rax",
    "pushq %rbx",
    "pushq %rcx",
    "pushq %rdx",
    "pushq %rsi",
    "pushq %rdi",
    "pushq %rbp",
    "pushq %r8",
    "pushq %r9",
    "pushq %r10",
    "pushq %r11",
    "pushq %r12",
    "pushq %r13",
    "pushq %r14",
    "pushq %r15",
    "movq %rsp, %rdi",
    "movq %rsp, %rbx",
    "subq $512, %rsp",
    "andq $-16, %rsp",
    "fxsave64 (%rsp)",
    "cld",
    "call {dispatch}",
    "fxrstor64 (%rsp)",
    "movq %rbx, %rsp",
    "popq %r15",
    "popq %r14",
    "popq %r13",
    "popq %r12",
    "popq %r11",
    "popq %r10",
    "popq %r9",
    "popq %r8",
    "popq %rbp",
    "popq %rdi",
    "popq %rsi",
    "popq %rdx",
    "popq %rcx",
    "popq %rbx",
    "popq %rax",
    "addq $16, %rsp",
    "iretq",
    size = const STUB_SIZE,
    count = const COUNT,
    dispatch = sym dispatch,
    options(att_syntax),
);

extern "C" fn dispatch(frame: &ExceptionFrame) {
    if frame.vector < EXCEPTIONS as u64 {
        // SAFETY: the report of an exception does not return.
        unsafe { global::abandon_interrupted() };
        trap::report(frame, instructions::fault_address());
    }
    interrupt::arrived(frame.vector);
}

extern "C" fn hosted_exception(frame: &ExceptionFrame, address: u64) -> ! {
    // SAFETY: the report of an exception does not return.
    unsafe { global::abandon_interrupted() };
    trap::report(frame, address)
}
