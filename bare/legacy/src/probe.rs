//! What the probe does, from its first instruction to its last.

use core::arch::x86_64::{__cpuid, _rdrand64_step};
use core::arch::{asm, naked_asm};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::channel::{Found, Reader};
use crate::console::Console;
use crate::descriptors;
use crate::info::{self, SCHEDULING_INFO, SUBJECT_INFO, load, load_unaligned};
use crate::station;

/// Entry: RDI = boot info, RSP = end of the RAM - 8.
///
/// # Safety
///
/// For the kernel only.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "jmp {}", sym start)
}

extern "C" fn start(boot_info: u64) -> ! {
    descriptors::install();
    unsafe extern "C" {
        safe static LEGACY_MAGIC: u64;
        static program_end: u8;
    }
    // The probe knows one version of the subject info, and only that. Without a console nothing can be said.
    let console = if load(SUBJECT_INFO) == LEGACY_MAGIC { Console::start() } else { None };
    let Some(mut console) = console else { halt() };
    let memory_end = load(boot_info);
    let command_line = text(load(boot_info + 24));
    say(&mut console, format_args!("command line '{command_line}'"));
    say(&mut console, format_args!("subject info version {:02x}", LEGACY_MAGIC >> 56));
    say(&mut console, format_args!("TSC {} kHz", load_unaligned::<u32>(SUBJECT_INFO + 8)));
    check_memory((&raw const program_end) as u64, memory_end, &mut console);
    check_processor(&mut console);
    check_clock(&mut console);

    let mut words = command_line.split_ascii_whitespace();
    match words.next() {
        Some("serve") => station::serve(&mut console, words.next().unwrap_or("")),
        Some("receive") => receive(&mut console, words.next().unwrap_or(""), words.next().unwrap_or("")),
        // SAFETY: the handler of the exception does not return.
        Some("trap") => unsafe { asm!("ud2") },
        _ => {}
    }
    say(&mut console, format_args!("ends"));
    if let Some(event) = info::event("solo5_exit") {
        // SAFETY: the kernel goes on after the instruction.
        unsafe { asm!("vmcall", in("rax") u64::from(event)) }
    }
    halt()
}

/// The RAM follows the program without a hole, and the stack lies at its end.
fn check_memory(start: u64, end: u64, console: &mut Console) {
    let start = start.next_multiple_of(4096);
    let untouched = end - 64 * 1024;
    for page in (start..untouched).step_by(4096) {
        // SAFETY: the boot info says that this is memory of this program. The stack is above it.
        unsafe { (page as *mut u64).write_volatile(page) }
    }
    let right = (start..untouched).step_by(4096).all(|page| load(page) == page);
    // A program's data is as it was linked, at every start.
    let pristine = DATA.swap(0, Ordering::Relaxed) == LINKED;
    say(console, format_args!("data {}", if pristine { "is pristine" } else { "IS SPOILED" }));
    say(console, format_args!("RAM {start:#x} - {end:#x} {}", if right { "works" } else { "DOES NOT WORK" }));
}

/// FS base, CPUID and random numbers, as runtime systems use them.
fn check_processor(console: &mut Console) {
    let (base, low, high): (u64, u32, u32) = (0x1234_5678_9000, 0x5678_9000, 0x1234);
    let (low_read, high_read): (u32, u32);
    // SAFETY: nothing here uses FS.
    unsafe {
        asm!("wrmsr", in("ecx") FS_BASE, in("eax") low, in("edx") high);
        asm!("rdmsr", in("ecx") FS_BASE, out("eax") low_read, out("edx") high_read);
    }
    let kept = u64::from(high_read) << 32 | u64::from(low_read) == base;
    say(console, format_args!("FS base {}", if kept { "works" } else { "DOES NOT WORK" }));
    let leaf = __cpuid(1);
    let random = leaf.ecx & 1 << 30 != 0 && {
        let mut number = 0;
        // SAFETY: CPUID says that the instruction exists.
        unsafe { _rdrand64_step(&mut number) == 1 }
    };
    say(console, format_args!("CPUID {:#x}, random numbers {random}", leaf.eax));
}

/// The time of day, and a clock that moves with the minor frames.
fn check_clock(console: &mut Console) {
    let Some((time, _)) = info::memory("time_info") else { return say(console, format_args!("NO TIME")) };
    while load(time) == 0 {
        pause();
    }
    // The multiplier has 32 bits. At or below 1 GHz it would wrap, and the clock would stand still.
    let multiplier = ((1_000_000_000_u64 << 32) / load(time + 8)) as u32;
    let now = || ((u128::from(load(SCHEDULING_INFO)) * u128::from(multiplier)) >> 32) as u64;
    let (start, mut polls) = (now(), 0_u64);
    while now() - start < 50_000_000 {
        pause();
        polls += 1;
    }
    say(console, format_args!("clock moved by 50 ms in {polls} polls"));
    say(console, format_args!("it is {} s after 1970", load(time) / 1_000_000 + now() / 1_000_000_000));
}

/// Reads elements of the channel `name` until it has `count`, or until an overrun, after which nothing works any more.
fn receive(console: &mut Console, name: &str, count: &str) {
    let (Some((address, _)), Ok(count)) = (info::memory(name), count.parse::<u64>()) else {
        return say(console, format_args!("no channel '{name}'"));
    };
    let (mut reader, mut received, mut element) = (Reader::new(address), 0, [0; 8]);
    while received < count {
        match reader.read(&mut element) {
            Found::Element if u64::from_le_bytes(element) == received => received += 1,
            Found::Element => {
                return say(console, format_args!("not element {received}, but {element:?}"));
            }
            Found::Nothing => pause(),
            Found::Overrun => return say(console, format_args!("overrun after {received} elements")),
        }
    }
    say(console, format_args!("received {received} elements in order"));
}

/// Called by the exception handlers.
pub(crate) extern "C" fn trap(vector: u64) -> ! {
    if let Some(mut console) = Console::start() {
        say(&mut console, format_args!("trap {vector}"));
    }
    halt()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if let Some(mut console) = Console::start() {
        say(&mut console, format_args!("{info}"));
    }
    halt()
}

pub(crate) fn say(console: &mut Console, line: core::fmt::Arguments<'_>) {
    let _ = writeln!(console, "legacy: {line}");
}

fn text(address: u64) -> &'static str {
    // SAFETY: the boot info says that a text lies there, and that it ends with NUL.
    unsafe { core::ffi::CStr::from_ptr(address as *const _) }.to_str().unwrap_or("")
}

pub(crate) fn pause() {
    core::hint::spin_loop();
}

fn halt() -> ! {
    loop {
        // SAFETY: nothing runs after it.
        unsafe { asm!("cli", "hlt") }
    }
}

static DATA: AtomicU64 = AtomicU64::new(LINKED);
const LINKED: u64 = 0x5eed_5eed;

const FS_BASE: u32 = 0xc000_0100;
