//! A subject's registers while it does not run, and the part of a switch that both back ends share.

use core::arch::global_asm;
use core::mem::offset_of;

/// A subject's registers that the processor does not keep in its control block.
///
/// The assembly of the back ends knows this layout.
#[repr(C, align(16))]
#[derive(Default)]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rbx: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) rbp: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r11: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) mxcsr: u64,
    /// The XCR0 it has set; 0 until it first runs.
    pub(crate) xcr0: u64,
    pub(crate) xmm: [Xmm; 16],
}

/// An XMM register. The alignment is what `movaps` demands.
#[repr(C, align(16))]
#[derive(Clone, Copy, Default)]
pub(crate) struct Xmm([u64; 2]);

impl Registers {
    /// What a subject starts with: the address of its boot info, and the number of this start.
    pub(crate) fn initial(boot_info: u64, generation: u64) -> Self {
        Self { rsi: generation, rdi: boot_info, mxcsr: 0x1f80, ..Self::default() }
    }
}

// Both take the address of a `Registers` in RDI and leave RAX, RSP, RDI and the flags to their callers. XMM registers are
// among what is exchanged on every exit, because compiled code uses them even for small copies.
global_asm!(
    r#"
    .section .text.registers, "ax"
    .globl load_registers
load_registers:
    ldmxcsr [rdi + {mxcsr}]
    movaps xmm0, [rdi + {xmm} + 0]
    movaps xmm1, [rdi + {xmm} + 16]
    movaps xmm2, [rdi + {xmm} + 32]
    movaps xmm3, [rdi + {xmm} + 48]
    movaps xmm4, [rdi + {xmm} + 64]
    movaps xmm5, [rdi + {xmm} + 80]
    movaps xmm6, [rdi + {xmm} + 96]
    movaps xmm7, [rdi + {xmm} + 112]
    movaps xmm8, [rdi + {xmm} + 128]
    movaps xmm9, [rdi + {xmm} + 144]
    movaps xmm10, [rdi + {xmm} + 160]
    movaps xmm11, [rdi + {xmm} + 176]
    movaps xmm12, [rdi + {xmm} + 192]
    movaps xmm13, [rdi + {xmm} + 208]
    movaps xmm14, [rdi + {xmm} + 224]
    movaps xmm15, [rdi + {xmm} + 240]
    mov rbx, [rdi + {rbx}]
    mov rcx, [rdi + {rcx}]
    mov rdx, [rdi + {rdx}]
    mov rsi, [rdi + {rsi}]
    mov rbp, [rdi + {rbp}]
    mov r8, [rdi + {r8}]
    mov r9, [rdi + {r9}]
    mov r10, [rdi + {r10}]
    mov r11, [rdi + {r11}]
    mov r12, [rdi + {r12}]
    mov r13, [rdi + {r13}]
    mov r14, [rdi + {r14}]
    mov r15, [rdi + {r15}]
    ret

    .globl save_registers
save_registers:
    mov [rdi + {rbx}], rbx
    mov [rdi + {rcx}], rcx
    mov [rdi + {rdx}], rdx
    mov [rdi + {rsi}], rsi
    mov [rdi + {rbp}], rbp
    mov [rdi + {r8}], r8
    mov [rdi + {r9}], r9
    mov [rdi + {r10}], r10
    mov [rdi + {r11}], r11
    mov [rdi + {r12}], r12
    mov [rdi + {r13}], r13
    mov [rdi + {r14}], r14
    mov [rdi + {r15}], r15
    stmxcsr [rdi + {mxcsr}]
    movaps [rdi + {xmm} + 0], xmm0
    movaps [rdi + {xmm} + 16], xmm1
    movaps [rdi + {xmm} + 32], xmm2
    movaps [rdi + {xmm} + 48], xmm3
    movaps [rdi + {xmm} + 64], xmm4
    movaps [rdi + {xmm} + 80], xmm5
    movaps [rdi + {xmm} + 96], xmm6
    movaps [rdi + {xmm} + 112], xmm7
    movaps [rdi + {xmm} + 128], xmm8
    movaps [rdi + {xmm} + 144], xmm9
    movaps [rdi + {xmm} + 160], xmm10
    movaps [rdi + {xmm} + 176], xmm11
    movaps [rdi + {xmm} + 192], xmm12
    movaps [rdi + {xmm} + 208], xmm13
    movaps [rdi + {xmm} + 224], xmm14
    movaps [rdi + {xmm} + 240], xmm15
    ldmxcsr [rip + kernel_mxcsr]
    ret

    .section .rodata.mxcsr, "a"
    .balign 4
kernel_mxcsr:
    .long 0x1f80
"#,
    mxcsr = const offset_of!(Registers, mxcsr),
    xmm = const offset_of!(Registers, xmm),
    rbx = const offset_of!(Registers, rbx),
    rcx = const offset_of!(Registers, rcx),
    rdx = const offset_of!(Registers, rdx),
    rsi = const offset_of!(Registers, rsi),
    rbp = const offset_of!(Registers, rbp),
    r8 = const offset_of!(Registers, r8),
    r9 = const offset_of!(Registers, r9),
    r10 = const offset_of!(Registers, r10),
    r11 = const offset_of!(Registers, r11),
    r12 = const offset_of!(Registers, r12),
    r13 = const offset_of!(Registers, r13),
    r14 = const offset_of!(Registers, r14),
    r15 = const offset_of!(Registers, r15),
);
