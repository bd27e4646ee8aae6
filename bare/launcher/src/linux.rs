//! The system calls that the launcher makes. Numbers, constants and layouts are those of Linux on x86-64: syscall_64.tbl
//! and the headers under include/uapi of its sources.

use core::arch::asm;

/// Number of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u32);

/// Makes a system call.
///
/// # Safety
///
/// The call must not do to the memory of this process what Rust relies on not being done.
pub(crate) unsafe fn call(number: u64, arguments: [u64; 6]) -> Result<u64, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: i64;
    // SAFETY: the kernel preserves all registers but RAX, RCX and R11. What the call does is the caller's business.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    match u64::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => Err(Errno(result.unsigned_abs() as u32)),
    }
}

/// Makes a system call that has nothing to do with memory of this process.
pub(crate) fn plain(number: u64, arguments: [u64; 3]) -> Result<u64, Errno> {
    let [a, b, c] = arguments;
    // SAFETY: the callers in this crate give it numbers and no addresses.
    unsafe { call(number, [a, b, c, 0, 0, 0]) }
}

/// Ends the process.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // It cannot fail.
        let _ = plain(EXIT_GROUP, [u64::from(status.cast_unsigned()), 0, 0]);
    }
}

pub(crate) const READ: u64 = 0;
pub(crate) const WRITE: u64 = 1;
pub(crate) const MMAP: u64 = 9;
pub(crate) const MPROTECT: u64 = 10;
pub(crate) const MUNMAP: u64 = 11;
pub(crate) const RT_SIGACTION: u64 = 13;
pub(crate) const RT_SIGPROCMASK: u64 = 14;
pub(crate) const SCHED_YIELD: u64 = 24;
pub(crate) const SIGALTSTACK: u64 = 131;
pub(crate) const PRCTL: u64 = 157;
pub(crate) const EXIT_GROUP: u64 = 231;
pub(crate) const PPOLL: u64 = 271;
pub(crate) const SECCOMP: u64 = 317;
pub(crate) const CLOSE_RANGE: u64 = 436;
