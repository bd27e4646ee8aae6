//! Instructions that have no name in Rust.

use core::arch::asm;
use core::arch::x86_64::_rdtsc;

use super::platform::{self, Place};

/// The time-stamp counter, unscaled.
#[must_use]
pub fn cycles() -> u64 {
    // SAFETY: reads a counter; every x86-64 processor has it. CR4.TSD does not matter in ring 0, and a process that hosts
    // programs may read it.
    unsafe { _rdtsc() }
}

/// Raises the source event `number`: the one place that holds the instruction by which a program calls its kernel.
///
/// A kernel understands both on any processor. The one that the processor does not know arrives as an undefined opcode,
/// which costs it another look at the program. A process that hosts the program understands neither.
pub(crate) fn hypercall(number: u64) {
    match platform::place() {
        Place::Kernel => {
            // SAFETY: the kernel reads RAX and resumes after the instruction. Other subjects may have changed shared memory
            // meanwhile, hence no `nomem`.
            unsafe { asm!("vmcall", inout("rax") number => _, options(nostack)) }
        }
        Place::KernelOnAmd => {
            // SAFETY: as above.
            unsafe { asm!("vmmcall", inout("rax") number => _, options(nostack)) }
        }
        Place::Process(platform) => (platform.raise)(number),
    }
}

/// Lets interrupt handlers run. In a process there are no interrupts.
pub fn enable_interrupts() {
    if !platform::place().is_process() {
        // SAFETY: handlers run on a stack of their own and preserve every register.
        unsafe { asm!("sti", options(nostack)) }
    }
}

/// Keeps interrupt handlers from running. Interrupts that arrive wait.
pub fn disable_interrupts() {
    if !platform::place().is_process() {
        // SAFETY: changes nothing but the interrupt flag.
        unsafe { asm!("cli", options(nostack)) }
    }
}

/// Keeps interrupt handlers from running, and tells whether they could run before. In a process there are none.
#[must_use]
pub fn suspend_interrupts() -> bool {
    if platform::place().is_process() {
        return false;
    }
    let flags: u64;
    // SAFETY: reads the flags and clears the interrupt flag. Not `nomem`: memory accesses stay on their side.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & INTERRUPT_FLAG != 0
}

/// Reads a byte from an I/O port.
#[must_use]
pub fn read_port(port: u16) -> u8 {
    let value;
    // SAFETY: the ports that policies give away belong to devices without access to memory; any other stops the subject.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) }
    value
}

/// Writes a byte to an I/O port.
pub fn write_port(port: u16, value: u8) {
    // SAFETY: as above.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) }
}

/// Gives the CPU away until an event or the next minor frame.
pub(crate) fn pause() {
    core::hint::spin_loop();
}

/// Ends the program: the kernel does not resume a subject that halts with interrupts disabled.
pub(crate) fn halt_forever() -> ! {
    if let Place::Process(platform) = platform::place() {
        (platform.halt)()
    }
    loop {
        // SAFETY: nothing runs after it.
        unsafe { asm!("cli", "hlt", options(nostack)) }
    }
}

/// The address whose access caused the last page fault. For the handlers of a kernel's exceptions only.
pub(super) fn fault_address() -> u64 {
    let address;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) }
    address
}

/// RFLAGS.IF (Intel SDM volume 1, 3.4.3).
const INTERRUPT_FLAG: u64 = 1 << 9;
