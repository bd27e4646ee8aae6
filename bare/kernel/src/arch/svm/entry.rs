//! The way into a subject and back.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::arch::registers::Registers;

unsafe extern "sysv64" {
    /// Runs the subject with `registers` and the control block at physical address `control` until it exits; the host's
    /// own `vmload` state is at `host_state`.
    ///
    /// The processor keeps RAX, RSP, RIP and RFLAGS of the subject in the control block. Everything else is exchanged
    /// here.
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
    call load_registers
    mov rdi, [rdi + {rdi}]
    sti
    vmrun rax
    cli
    vmsave rax
    mov rax, rdi
    mov rdi, [rsp + 8]
    mov [rdi + {rdi}], rax
    call save_registers
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
"#,
    rdi = const offset_of!(Registers, rdi),
);
