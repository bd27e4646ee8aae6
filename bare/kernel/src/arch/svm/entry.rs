//! The way into a subject and back.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::arch::virtualisation::Registers;

unsafe extern "sysv64" {
    /// Runs the subject with `registers` and the control block at physical address `control` until it exits; the host's
    /// own `vmload` state is at `host_state`.
    ///
    /// The processor keeps RAX, RSP, RIP and RFLAGS of the subject in the control block. Everything else is exchanged
    /// here, XMM registers included: compiled code uses them even for small copies.
    ///
    /// # Safety
    /// `registers` belongs to the subject of `control`; both physical addresses are pages of the right kind; SVM is on.
    pub(super) fn svm_run(registers: *mut Registers, control: u64, host_state: u64);
}

// GIF is 0 from before the subject's state is loaded until the host's state is complete again: no interrupt and no NMI
// meets a half-loaded CPU. RFLAGS.IF is 1 at `vmrun`, so that (with V_INTR_MASKING) host interrupts cause an exit whatever the
// subject's own flag says.
global_asm!(
    r#"
    .section .text.svm_run, "ax"
    .globl svm_run
svm_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    push rdx
    mov rax, rsi
    clgi
    vmload rax
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
    mov rdi, [rdi + {rdi}]
    sti
    vmrun rax
    cli
    vmsave rax
    mov rax, rdi
    mov rdi, [rsp + 8]
    mov [rdi + {rdi}], rax
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
    pop rax                             // the host's own FS, GS, TR and so on come back before interrupts can
    vmload rax
    pop rdi
    stgi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    cld
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
    rdi = const offset_of!(Registers, rdi),
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
