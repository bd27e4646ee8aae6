//! What the compiler expects of its surroundings: memory functions, and a panic handler that must not exist.

use core::arch::asm;
use core::panic::PanicInfo;

/// No panic is left in the kernel: this handler calls a function that nobody defines, so a kernel with a panic path in
/// it does not link.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_path_is_left_in_the_kernel() -> !;
    }
    // SAFETY: never executed: the function does not exist, and the linker has proved that this handler is not reached.
    unsafe { a_panic_path_is_left_in_the_kernel() }
}

/// Copies `count` bytes; the regions do not overlap.
///
/// # Safety
/// As for C's `memcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: promised by the caller; the direction flag is clear, as the calling convention has it.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags))
    };
    to
}

/// Fills `count` bytes.
///
/// # Safety
/// As for C's `memset`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, count: usize) -> *mut u8 {
    let words = u64::from(value as u8) * 0x0101_0101_0101_0101;
    // SAFETY: promised by the caller. Whole words first: an emulated processor is eight times as fast with them.
    unsafe {
        asm!("rep stosq", "mov rcx, {rest}", "rep stosb", rest = in(reg) count & 7,
            inout("rcx") count >> 3 => _, inout("rdi") to => _, in("rax") words, options(nostack, preserves_flags));
    }
    to
}

/// Compares `count` bytes.
///
/// # Safety
/// As for C's `memcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: promised by the caller. Volatile reads keep the compiler from recognising a call of this very function.
        let (l, r) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
        if l != r {
            return i32::from(l) - i32::from(r);
        }
    }
    0
}

/// As `memcmp`, where only equality matters.
///
/// # Safety
/// As for C's `bcmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: promised by the caller.
    unsafe { memcmp(left, right, count) }
}
