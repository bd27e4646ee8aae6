//! Platform page: what a program calls where a process of an operating system hosts it, and no kernel is below it.
//!
//! A program that runs there has the bit [`HOSTED`] in its boot info, and at [`crate::layout::PLATFORM`] a page with the
//! functions that take the place of privileged instructions. On a kernel the bit is 0 and the page does not exist. The
//! program's file is the same.

#![forbid(unsafe_code)]

/// Bit of [`crate::boot_info::BootInfo::host_features`]: the platform page exists.
pub const HOSTED: u32 = 1 << 0;

/// The page. Its functions keep to the calling convention of C, and run on the caller's stack.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Platform {
    /// Raises the source event with this number, as a hypercall does: in place of `vmcall`. Numbers that the policy does
    /// not define do nothing.
    pub raise: extern "C" fn(u64),
    /// Ends the subject: in place of `hlt` with interrupts disabled.
    pub halt: extern "C" fn() -> !,
    /// Has exceptions given to this function: in place of an interrupt descriptor table. Without it an exception ends the
    /// subject, and so does a second exception while the first one is handled.
    pub handle_exceptions: extern "C" fn(ExceptionHandler),
}

/// Takes an exception, on a stack that the host provides. The second argument is the address whose access caused it, if
/// it is a page fault. It must not return.
pub type ExceptionHandler = extern "C" fn(&ExceptionFrame, u64) -> !;

/// The registers at an exception or interrupt, in the order in which a handler's entry pushes them, the last one first.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct ExceptionFrame {
    /// R15 first, then R14 to R8, RBP, RDI, RSI, RDX, RCX, RBX and RAX.
    pub general: [u64; 15],
    /// Vector.
    pub vector: u64,
    /// Pushed by the processor for some exceptions; 0 for the others.
    pub error_code: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}
