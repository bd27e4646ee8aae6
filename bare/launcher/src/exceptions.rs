//! Exceptions: what Linux tells of them in a signal, in the form in which programs expect it from a processor.

use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use palisade_abi::launch::{FAULTED, Fault, Word, flags, stage};
use palisade_abi::layout::FAULT_RECORD;
use palisade_abi::platform::{ExceptionFrame, ExceptionHandler};

use crate::linux;
use crate::{failure, platform};

/// Has exceptions handled on the stack with this lowest address and size. All other signals are blocked.
pub(crate) fn catch(stack: u64, size: usize) -> Result<(), Word> {
    let signals = |error| failure(stage::SIGNALS, error);
    let alternative = Alternative { start: stack, flags: 0, size: size as u64 };
    // SAFETY: Linux reads the structure. The launcher does not use the stack once the program runs.
    unsafe { linux::call(linux::SIGALTSTACK, [(&raw const alternative) as u64, 0, 0, 0, 0, 0]) }
        .map_err(signals)?;
    for signal in EXCEPTIONS {
        // A second exception finds its signal blocked. Linux kills the process then.
        let action = Action { handler: caught, flags: FLAGS, restorer: never_restored, blocked: u64::MAX };
        let arguments = [signal, (&raw const action) as u64, 0, SET_SIZE, 0, 0];
        // SAFETY: Linux reads the structure. The handler does not return, so the program it interrupts never goes on.
        unsafe { linux::call(linux::RT_SIGACTION, arguments) }.map_err(signals)?;
    }
    let blocked = !EXCEPTIONS.iter().fold(0_u64, |set, signal| set | 1 << (signal - 1));
    let arguments = [SIG_SETMASK, (&raw const blocked) as u64, 0, SET_SIZE, 0, 0];
    // SAFETY: Linux reads the set.
    unsafe { linux::call(linux::RT_SIGPROCMASK, arguments) }.map_err(signals)?;
    Ok(())
}

/// Has exceptions given to `handler`.
pub(crate) extern "C" fn handle(handler: ExceptionHandler) {
    HANDLER.store(handler as *mut (), Ordering::Relaxed);
}

extern "C" fn caught(signal: u32, information: &Information, context: &Context) -> ! {
    let address = context.cr2;
    // What another process sends, and not the processor.
    if information.code <= 0 {
        leave(&Fault { vector: u64::MAX, rip: context.rip, rsp: context.rsp, ..Fault::default() });
    }
    let frame = frame(signal, context);
    if platform::header().flags & flags::GUEST_EXCEPTIONS != 0
        && let Some(handler) = handler()
    {
        handler(&frame, address);
    }
    let ExceptionFrame { vector, error_code, rip, rsp, .. } = frame;
    leave(&Fault { vector, error_code, rip, rsp, address: if vector == PAGE_FAULT { address } else { 0 } })
}

/// Leaves the host a record of the exception, and ends the process.
fn leave(fault: &Fault) -> ! {
    // SAFETY: the host's table maps the page here, writable; nobody has a reference to it.
    unsafe { ptr::write_volatile(FAULT_RECORD as *mut Fault, *fault) };
    linux::exit(FAULTED)
}

fn frame(signal: u32, context: &Context) -> ExceptionFrame {
    // Linux forbids some things by this signal without there being a trap.
    let vector = if signal == SIGILL { INVALID_OPCODE } else { context.trap };
    let mut error_code = context.error;
    if vector == PAGE_FAULT {
        // Ring 3 is nothing that a program knows of. And Linux calls a page absent that it has only not brought yet.
        error_code &= !USER;
        if platform::is_mapped(context.cr2) {
            error_code |= PRESENT;
        }
    }
    let c = context;
    ExceptionFrame {
        general: [
            c.r15, c.r14, c.r13, c.r12, c.r11, c.r10, c.r9, c.r8, c.rbp, c.rdi, c.rsi, c.rdx, c.rcx, c.rbx,
            c.rax,
        ],
        vector,
        error_code,
        rip: c.rip,
        cs: u64::from(c.cs),
        rflags: c.rflags,
        rsp: c.rsp,
        ss: u64::from(c.ss),
    }
}

fn handler() -> Option<ExceptionHandler> {
    let handler = HANDLER.load(Ordering::Relaxed);
    // SAFETY: `handle` stored a function of this type. A program that writes something else here harms itself only.
    (!handler.is_null()).then(|| unsafe { mem::transmute::<*mut (), ExceptionHandler>(handler) })
}

/// Nobody returns from a handler.
extern "C" fn never_restored() {
    leave(&Fault { vector: u64::MAX, ..Fault::default() })
}

/// `stack_t`.
#[repr(C)]
struct Alternative {
    start: u64,
    flags: u64,
    size: u64,
}

/// `struct sigaction` as the kernel has it.
#[repr(C)]
struct Action {
    handler: extern "C" fn(u32, &Information, &Context) -> !,
    flags: u64,
    restorer: extern "C" fn(),
    blocked: u64,
}

/// The beginning of `siginfo_t`.
#[repr(C)]
struct Information {
    signal: i32,
    error: i32,
    code: i32,
}

/// `struct ucontext` up to its last register.
#[repr(C)]
struct Context {
    flags: u64,
    link: u64,
    stack: Alternative,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
}

static HANDLER: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// SIGILL, SIGTRAP, SIGBUS, SIGFPE and SIGSEGV.
const EXCEPTIONS: [u64; 5] = [4, 5, 7, 8, 11];

/// SA_SIGINFO, SA_ONSTACK and SA_RESTORER, without which Linux on x86-64 calls no handler.
const FLAGS: u64 = 0x4 | 0x0800_0000 | 0x0400_0000;
const SIG_SETMASK: u64 = 2;
/// Bytes of a set of signals.
const SET_SIZE: u64 = 8;

const SIGILL: u32 = 4;

const INVALID_OPCODE: u64 = 6;
const PAGE_FAULT: u64 = 14;
/// Bits of a page fault's error code: the page is there but for the right, and ring 3.
const PRESENT: u64 = 1 << 0;
const USER: u64 = 1 << 2;

const _: () = assert!(mem::offset_of!(Context, cr2) == 40 + 22 * 8);
