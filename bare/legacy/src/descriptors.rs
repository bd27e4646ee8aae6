//! The program's own segments and exception handlers.

use core::arch::{asm, global_asm};

/// Loads them.
pub(crate) fn install() {
    let handlers: u64;
    // SAFETY: takes an address.
    unsafe { asm!("lea {}, [rip + legacy_handlers]", out(reg) handlers) };
    // SAFETY: this is the only use of the tables in Rust; from now on they are the processor's. The new segments are flat
    // like the old ones.
    unsafe {
        let base = &raw const TASK as u64;
        // The stack on which exceptions are handled: entry 1 of the interrupt stack table, at byte 36.
        TASK[9] = (&raw const STACK as u64 + STACK_SIZE) as u32;
        SEGMENTS = [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56,
            base >> 32,
        ];
        for (vector, gate) in (0..).zip((&raw mut GATES).as_mut_unchecked()) {
            let handler = handlers + vector * 16;
            *gate =
                [(handler & 0xffff) | 0x08 << 16 | 1 << 32 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48, 0];
        }
        let segments = Pointer(39, &raw const SEGMENTS as u64);
        let gates = Pointer(32 * 16 - 1, &raw const GATES as u64);
        asm!(
            "lgdt [{segments}]",
            "push 0x08",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "mov ss, {data:e}",
            "ltr {task:x}",
            "lidt [{gates}]",
            segments = in(reg) &raw const segments,
            gates = in(reg) &raw const gates,
            data = in(reg) 0x10,
            task = in(reg) 0x18,
            scratch = out(reg) _,
        );
    }
}

/// What LGDT and LIDT read.
#[repr(C, packed)]
struct Pointer(u16, u64);

// The handler of vector n tells its number to Rust, which does not return.
global_asm!(
    ".balign 16",
    "legacy_handlers:",
    ".set legacy_vector, 0",
    ".rept 32",
    ".balign 16",
    "movl $legacy_vector, %edi",
    "jmp 2f",
    ".set legacy_vector, legacy_vector + 1",
    ".endr",
    "2:",
    "andq $-16, %rsp",
    "call {trap}",
    "ud2",
    trap = sym crate::probe::trap,
    options(att_syntax),
);

const STACK_SIZE: u64 = 8192;

#[repr(align(16))]
#[allow(dead_code)] // The processor uses it.
struct Stack([u8; STACK_SIZE as usize]);

static mut STACK: Stack = Stack([0; STACK_SIZE as usize]);
static mut TASK: [u32; 26] = [0; 26];
static mut SEGMENTS: [u64; 5] = [0; 5];
static mut GATES: [[u64; 2]; 32] = [[0; 2]; 32];
