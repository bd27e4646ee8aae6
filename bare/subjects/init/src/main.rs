//! The init stub: puts a subject's writable memory into its initial state, and starts its program.
//!
//! The kernel enters it at every start of a subject, the first as well as each restart, in the subject's own address
//! space and with the subject's rights. So nobody else ever maps a subject's memory, not even to restore it. What to do
//! stands in the init table: [`palisade_abi::init_table`].
//!
//! The program finds RDI, RSI and RSP as the kernel set them. No stack is used: the stack is part of what is restored.

#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::global_asm;
use core::mem::offset_of;

use palisade_abi::init_table::{Header, Operation};
use palisade_abi::layout::INIT_TABLE;

// Blocks of 64 bytes with plain stores, then single bytes: string instructions on large ranges are slow in emulators, and
// a restart must not take long. Addresses need no alignment.
//
// R15, R14 keep RDI and RSI; RBX = operation, R13 = operations left; RDI = destination, RSI = source, RDX = bytes left.
global_asm!(
    ".globl _start",
    "_start:",
    "mov r15, rdi",
    "mov r14, rsi",
    "cld",
    "movabs rbx, {table}",
    "mov r13, [rbx + {count}]",
    "add rbx, {header_size}",
    "2:",
    "sub r13, 1",
    "jc 9f",
    "mov rdi, [rbx + {destination}]",
    "mov rsi, [rbx + {source}]",
    "mov rdx, [rbx + {size}]",
    "test rsi, rsi",
    "jz 5f",
    //
    // Copies.
    "3:",
    "sub rdx, 64",
    "jb 4f",
    "mov r8, [rsi]",
    "mov r9, [rsi + 8]",
    "mov r10, [rsi + 16]",
    "mov r11, [rsi + 24]",
    "mov [rdi], r8",
    "mov [rdi + 8], r9",
    "mov [rdi + 16], r10",
    "mov [rdi + 24], r11",
    "mov r8, [rsi + 32]",
    "mov r9, [rsi + 40]",
    "mov r10, [rsi + 48]",
    "mov r11, [rsi + 56]",
    "mov [rdi + 32], r8",
    "mov [rdi + 40], r9",
    "mov [rdi + 48], r10",
    "mov [rdi + 56], r11",
    "add rsi, 64",
    "add rdi, 64",
    "jmp 3b",
    "4:",
    "lea rcx, [rdx + 64]",
    "rep movsb",
    "jmp 8f",
    //
    // Fills.
    "5:",
    "movzx eax, byte ptr [rbx + {fill}]",
    "movabs rcx, 0x0101010101010101",
    "imul rax, rcx",
    "6:",
    "sub rdx, 64",
    "jb 7f",
    "mov [rdi], rax",
    "mov [rdi + 8], rax",
    "mov [rdi + 16], rax",
    "mov [rdi + 24], rax",
    "mov [rdi + 32], rax",
    "mov [rdi + 40], rax",
    "mov [rdi + 48], rax",
    "mov [rdi + 56], rax",
    "add rdi, 64",
    "jmp 6b",
    "7:",
    "lea rcx, [rdx + 64]",
    "rep stosb",
    //
    "8:",
    "add rbx, {operation_size}",
    "jmp 2b",
    //
    // Nothing of this is left in a register but the entry's address.
    "9:",
    "mov rdi, r15",
    "mov rsi, r14",
    "movabs rax, {table}",
    "mov rax, [rax + {entry}]",
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
    "jmp rax",
    table = const INIT_TABLE,
    entry = const offset_of!(Header, entry),
    count = const offset_of!(Header, count),
    header_size = const size_of::<Header>(),
    destination = const offset_of!(Operation, destination),
    source = const offset_of!(Operation, source),
    size = const offset_of!(Operation, size),
    fill = const offset_of!(Operation, fill),
    operation_size = const size_of::<Operation>(),
);

/// Every program without the standard library has one. This one has no Rust code that could call it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
