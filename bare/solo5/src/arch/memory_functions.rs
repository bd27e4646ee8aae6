//! The functions that the compiler calls for copying, filling and comparing memory.
//!
//! Copying goes by blocks of SSE2's registers, which took half the time of string instructions at all lengths; the loop
//! is assembly so that the compiler does not turn it into a call of `memcpy`. Where string instructions are used, they go
//! by words: emulators and old processors go through single bytes slowly.

use core::arch::asm;
use core::mem::MaybeUninit;

/// Copies `count` bytes between ranges that do not overlap, or of which the destination begins before the source.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges, and each arm for a type that is no longer than them.
    unsafe {
        match count {
            0 => {}
            1 => to.write(from.read()),
            2..=4 => copy_ends::<u16>(to, from, count),
            5..=8 => copy_ends::<u32>(to, from, count),
            9..=16 => copy_ends::<u64>(to, from, count),
            17..=32 => copy_ends::<u128>(to, from, count),
            33..=64 => copy_ends::<[u128; 2]>(to, from, count),
            65.. => copy_blocks(to, from, count),
        }
    }
    to
}

/// Copies the first and the last `T` of a range that is no longer than both together. Both are read before one is
/// written.
///
/// # Safety
/// Both ranges are `count` bytes, at least one `T`.
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, count: usize) {
    let last = count - size_of::<T>();
    let (from, to) = (from.cast::<MaybeUninit<T>>(), to.cast::<MaybeUninit<T>>());
    // SAFETY: both accesses of each range are inside it. What is copied need not have been written.
    unsafe {
        let ends = (from.read_unaligned(), from.byte_add(last).read_unaligned());
        to.write_unaligned(ends.0);
        to.byte_add(last).write_unaligned(ends.1);
    }
}

/// Copies blocks of 64 bytes, the last of which may share bytes with the one before. It is read first: in ranges that
/// overlap its bytes are written over before its turn comes.
///
/// # Safety
/// Both ranges are `count` bytes, more than 64.
unsafe fn copy_blocks(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the loop ends with 1 to 64 bytes left, which are among the last 64; the direction flag is not used.
    unsafe {
        asm!(
            "movups xmm4, [rsi + {count} - 64]",
            "movups xmm5, [rsi + {count} - 48]",
            "movups xmm6, [rsi + {count} - 32]",
            "movups xmm7, [rsi + {count} - 16]",
            "lea {end}, [rdi + {count}]",
            "2:",
            "movups xmm0, [rsi]",
            "movups xmm1, [rsi + 16]",
            "movups xmm2, [rsi + 32]",
            "movups xmm3, [rsi + 48]",
            "movups [rdi], xmm0",
            "movups [rdi + 16], xmm1",
            "movups [rdi + 32], xmm2",
            "movups [rdi + 48], xmm3",
            "add rsi, 64",
            "add rdi, 64",
            "sub {count}, 64",
            "cmp {count}, 64",
            "ja 2b",
            "movups [{end} - 64], xmm4",
            "movups [{end} - 48], xmm5",
            "movups [{end} - 32], xmm6",
            "movups [{end} - 16], xmm7",
            count = inout(reg) count => _,
            end = out(reg) _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            options(nostack),
        );
    }
}

/// Copies `count` bytes between ranges that may overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= count {
        // SAFETY: the destination begins before the source or behind its end: copying upwards reads each byte before
        // it is overwritten.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: the caller vouches for both ranges. Copying downwards reads each byte before it is overwritten. The
    // direction flag is clear again afterwards.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") count => _,
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    to
}

/// Fills `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    let word = u64::from(byte as u8) * 0x0101_0101_0101_0101;
    // SAFETY: the caller vouches for the range, which holds a word where one is written; the direction flag is clear by
    // convention.
    unsafe {
        if count < 8 {
            asm!(
                "rep stosb",
                inout("rcx") count => _,
                inout("rdi") to => _,
                in("al") byte as u8,
                options(nostack, preserves_flags),
            );
        } else {
            asm!(
                "rep stosq",
                inout("rcx") count / 8 => _,
                inout("rdi") to => _,
                in("rax") word,
                options(nostack, preserves_flags),
            );
            to.add(count - 8).cast::<u64>().write_unaligned(word);
        }
    }
    to
}

/// Compares `count` bytes: negative, zero or positive, as the first difference says.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: the caller vouches for `count` bytes behind both pointers.
        let (left, right) = unsafe { (left.add(at).read(), right.add(at).read()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// Compares `count` bytes: zero if they are equal.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the contract is that of `memcmp`.
    unsafe { memcmp(left, right, count) }
}
