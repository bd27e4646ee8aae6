//! Makes a system call of Linux, which a subject's process must not survive.
//!
//! Arguments: `from NUMBER` makes the call with this number at the first start, the next one at the next, and so on; or the
//! name of one of the attempts below. Every call that returns is reported as `NOT CONTAINED`.

#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;

use solo5::{StartInfo, println, shared_memory};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let name = arguments.next().unwrap_or("");
    if name == "from" {
        let number = arguments.number(0) + start.generation - 1;
        println!("trying {number:#x}");
        report(call(number, [0; 6]));
    } else if let Some((_, attempt)) = ATTEMPTS.iter().find(|(known, _)| *known == name) {
        println!("trying {name}");
        report(attempt());
    }
    println!("there is no attempt `{name}`");
    98
}

fn report(result: i64) -> ! {
    println!("NOT CONTAINED: {result}");
    solo5::exit(99)
}

type Attempt = (&'static str, fn() -> i64);

/// What is more than a number with arguments that mean nothing.
const ATTEMPTS: &[Attempt] = &[
    // getpid by the numbers of 32-bit programs.
    ("int-80", || int_80(20)),
    // exit by those numbers.
    ("int-80-exit", || int_80(1)),
    // getpid with bits that Linux ignores.
    ("wide-number", || call(1 << 32 | 39, [0; 6])),
    // PTRACE_ATTACH to the first process of the namespace, and to one after it.
    ("trace-first", || call(PTRACE, [16, 1, 0, 0, 0, 0])),
    ("trace-neighbour", || call(PTRACE, [16, 2, 0, 0, 0, 0])),
    ("read-neighbour", || call(PROCESS_VM_READV, [2, 0, 0, 0, 0, 0])),
    ("open-proc", || call(OPEN, [c"/proc/self/mem".as_ptr() as u64, 2, 0, 0, 0, 0])),
    // Readable, writable and executable memory; shared memory by each descriptor that the launcher had.
    ("map-code", || call(MMAP, [0, 4096, 7, 0x22, u64::MAX, 0])),
    ("map-shared-memory", || call(MMAP, [0, 4096, 3, 1, 2, 0])),
    ("make-text-writable", || call(MPROTECT, [0x20_0000, 4096, 7, 0, 0, 0])),
    ("make-channel-writable", || match shared_memory("time_info") {
        Some(_) => call(MPROTECT, [solo5::abi::layout::TIME_INFO, 4096, 3, 0, 0, 0]),
        None => 0,
    }),
    ("execute", || call(EXECVE, [c"/bin/sh".as_ptr() as u64, 0, 0, 0, 0, 0])),
    ("fork", || call(FORK, [0; 6])),
    ("socket", || call(SOCKET, [2, 1, 0, 0, 0, 0])),
    ("kill-neighbour", || call(KILL, [u64::MAX, 9, 0, 0, 0, 0])),
    // System calls that it has, with descriptors or sizes that it has not.
    ("write-unknown-descriptor", || write(77, 8)),
    ("write-start-pipe", || write(4, 8)),
    ("write-much", || write(0, 16)),
    ("write-wide-descriptor", || write(1 << 32, 8)),
    ("read-unknown-descriptor", || {
        let mut number = 0_u64;
        call(READ, [5, (&raw mut number) as u64, 8, 0, 0, 0])
    }),
    ("poll-many", || call(PPOLL, [0x20_0000, 2, 0, 0, 0, 0])),
    ("old-vsyscall", old_vsyscall),
];

fn write(descriptor: u64, size: u64) -> i64 {
    let numbers = black_box([1_u64, 0]);
    call(WRITE, [descriptor, numbers.as_ptr() as u64, size, 0, 0, 0])
}

fn call(number: u64, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: none is claimed: whether this is contained is what the test finds out.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

fn int_80(number: u64) -> i64 {
    let result;
    // SAFETY: none is claimed: whether this is contained is what the test finds out.
    unsafe {
        asm!("int 0x80", inlateout("rax") number => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
    };
    result
}

/// gettimeofday at the address that it had before there were random ones.
fn old_vsyscall() -> i64 {
    let result;
    // SAFETY: none is claimed: whether this is contained is what the test finds out.
    unsafe {
        asm!(
            "call {place}",
            place = in(reg) 0xffff_ffff_ff60_0000_u64,
            in("rdi") 0, in("rsi") 0,
            lateout("rax") result,
            clobber_abi("sysv64"),
        );
    }
    result
}

const READ: u64 = 0;
const WRITE: u64 = 1;
const OPEN: u64 = 2;
const MMAP: u64 = 9;
const MPROTECT: u64 = 10;
const SOCKET: u64 = 41;
const FORK: u64 = 57;
const EXECVE: u64 = 59;
const KILL: u64 = 62;
const PTRACE: u64 = 101;
const PPOLL: u64 = 271;
const PROCESS_VM_READV: u64 = 310;
