//! Instructions that have no name in Rust.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::sync::atomic::{AtomicU8, Ordering};

/// The time-stamp counter, unscaled.
#[must_use]
pub fn cycles() -> u64 {
    // SAFETY: reads a counter; every x86-64 processor has it, and CR4.TSD is clear in ring 0.
    unsafe { _rdtsc() }
}

/// Raises the source event `number`: the one place that holds the instruction by which a program calls its kernel.
///
/// A kernel understands both on any processor. The one that the processor does not know arrives as an undefined opcode,
/// which costs it another look at the program.
pub(crate) fn hypercall(number: u64) {
    match hypercall_instruction() {
        // SAFETY: the kernel reads RAX and resumes after the instruction. Other subjects may have changed shared memory
        // meanwhile, hence no `nomem`.
        AMD => unsafe { asm!("vmmcall", inout("rax") number => _, options(nostack)) },
        // SAFETY: as above.
        _ => unsafe { asm!("vmcall", inout("rax") number => _, options(nostack)) },
    }
}

/// Lets interrupt handlers run.
pub fn enable_interrupts() {
    // SAFETY: handlers run on a stack of their own and preserve every register.
    unsafe { asm!("sti", options(nostack)) }
}

/// Keeps interrupt handlers from running. Interrupts that arrive wait.
pub fn disable_interrupts() {
    // SAFETY: changes nothing but the interrupt flag.
    unsafe { asm!("cli", options(nostack)) }
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
    loop {
        // SAFETY: nothing runs after it.
        unsafe { asm!("cli", "hlt", options(nostack)) }
    }
}

/// The address whose access caused the last page fault.
pub(crate) fn fault_address() -> u64 {
    let address;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) }
    address
}

fn hypercall_instruction() -> u8 {
    match INSTRUCTION.load(Ordering::Relaxed) {
        UNKNOWN => {
            // CPUID leaf 0 spells the vendor in EBX, EDX, ECX: `AuthenticAMD` or `HygonGenuine`.
            let instruction =
                if matches!(&__cpuid(0).ebx.to_le_bytes(), b"Auth" | b"Hygo") { AMD } else { OTHER };
            INSTRUCTION.store(instruction, Ordering::Relaxed);
            instruction
        }
        known => known,
    }
}

/// What [`hypercall_instruction`] found. Its place is the data segment, so it is found anew after a restart.
static INSTRUCTION: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const AMD: u8 = 1;
const OTHER: u8 = 2;
