//! The launcher: makes a process of Linux the address space of a subject, and takes the kernel's place in it.
//!
//! The host executes it in a new process with a few descriptors and a launch table: [`palisade_abi::launch`]. It maps what
//! the table lists, at the plan's addresses and with the plan's rights, removes everything else, closes what the subject
//! does not need, gives up all system calls but those of the table's filter, and jumps to the program. What is left of it
//! are the functions of the platform page, and the handler of exceptions.
//!
//! Once the program runs, nothing in this process is trusted: whoever calls these functions, or makes a system call
//! without them, can do no more than the filter and the descriptors allow.

#![no_std]
#![no_main]
#![allow(unsafe_code)]

mod address_space;
mod exceptions;
mod linux;
mod platform;
mod process;

use core::arch::{asm, naked_asm};
use core::cell::UnsafeCell;

use palisade_abi::launch::{Header, Word, stage};

use crate::linux::Errno;

/// Entry of the process. The stack that Linux provides is not used: it is removed.
///
/// # Safety
///
/// For Linux only.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "lea rsp, [{stack} + {size}]",
        "xor ebp, ebp",
        "call {launch}",
        "ud2",
        stack = sym STACK,
        size = const STACK_SIZE,
        launch = sym launch,
    )
}

extern "C" fn launch() -> ! {
    match prepare() {
        Ok(header) => enter(header),
        Err(failure) => process::give_up(&failure),
    }
}

/// Everything up to the program's first instruction.
fn prepare() -> Result<&'static Header, Word> {
    let table = address_space::map_table()?;
    process::restrict(table.header)?;
    address_space::clear();
    address_space::map(&table)?;
    address_space::restore(table.operations);
    platform::publish()?;
    exceptions::catch(STACK.0.get() as u64, STACK_SIZE)?;
    process::ask_to_begin()?;
    process::close_descriptors()?;
    process::filter_system_calls(table.filter)?;
    Ok(table.header)
}

/// Jumps to the program, with nothing of the launch in a register.
fn enter(header: &Header) -> ! {
    // SAFETY: the host's table says where the program is, what stack it begins on and what it finds in its registers. The
    // launcher's own stack is free from here on.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "cld",
            "jmp rax",
            in("rax") header.entry,
            in("rcx") header.stack_pointer,
            in("rdi") header.boot_info,
            in("rsi") header.generation,
            options(noreturn),
        )
    }
}

/// Says what failed.
fn failure(stage: u32, error: Errno) -> Word {
    Word { stage, region: 0, error: error.0 }
}

/// The launcher's stack, and later the one on which exceptions are handled.
#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_SIZE]>);

// SAFETY: the process has one thread, and nobody makes references into the stack.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(UnsafeCell::new([0; STACK_SIZE]));

/// The extended state that Linux saves for a handler has up to 11 KiB (AMX); a handler may write a line of text.
const STACK_SIZE: usize = 64 * 1024;

/// A panic could come from a defect only: the host sees that the launch failed.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    process::give_up(&failure(stage::PROCESS, Errno(0)))
}
