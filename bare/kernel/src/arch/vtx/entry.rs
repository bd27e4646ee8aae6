//! The way into a subject and back.

use core::arch::global_asm;
use core::mem::offset_of;

use super::vmcs;
use crate::arch::registers::Registers;
use crate::arch::tables::{GDT_POINTER, IDT_POINTER};

/// What the processor keeps neither in the control structure nor for each subject: exchanged on every entry and exit.
///
/// It lies in the subject's state page, whose virtual address is its physical one.
#[repr(C, align(16))]
pub(super) struct State {
    pub(super) registers: Registers,
    cr2: u64,
    /// Whether the control structure has been launched: not 0 if so.
    launched: u64,
    /// Read by the processor on entry, written by it on exit.
    pub(super) exchanged: [Msr; 1],
}

/// An entry in a list of MSRs (Intel SDM volume 3, table 25-15).
#[repr(C, align(16))]
pub(super) struct Msr {
    number: u32,
    reserved: u32,
    value: u64,
}

impl State {
    /// What a subject starts with.
    pub(super) fn initial(boot_info: u64, generation: u64) -> Self {
        Self {
            registers: Registers::initial(boot_info, generation),
            cr2: 0,
            launched: 0,
            // `swapgs` exchanges it with the GS base, and nothing stops a subject from using that.
            exchanged: [Msr { number: KERNEL_GS_BASE, reserved: 0, value: 0 }],
        }
    }
}

unsafe extern "sysv64" {
    /// Runs the subject with `state` and the current control structure until it exits. Gives 0 then; anything else if the
    /// processor rejects the control structure's controls or host state.
    ///
    /// The processor keeps RSP, RIP and RFLAGS of the subject in the control structure. Everything else is exchanged here.
    ///
    /// # Safety
    /// `state` and the current control structure belong to the same subject, and the host state is this CPU's.
    pub(super) fn vtx_run(state: *mut State) -> u64;

    /// Where the host goes on after an exit. Not to be called.
    pub(super) fn vtx_exit();
}

// Interrupts are disabled; after an exit the processor has disabled them again. Also then, both descriptor tables have their
// base and a limit of 64 KiB: their own limits are loaded again.
global_asm!(
    r#"
    .section .text.vtx_run, "ax"
    .globl vtx_run
    .globl vtx_exit
vtx_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov eax, {host_rsp}
    vmwrite rax, rsp
    mov rax, [rdi + {cr2}]
    mov cr2, rax
    cmp qword ptr [rdi + {launched}], 0
    call load_registers                 // keeps the flags
    mov rax, [rdi + {rax}]
    mov rdi, [rdi + {rdi}]
    jne 1f
    vmlaunch
    jmp 2f
1:  vmresume
2:  mov eax, 1                          // not entered: the kernel stops, so nothing needs to be saved
    jmp 3f
vtx_exit:
    push rdi
    mov rdi, [rsp + 8]
    pop qword ptr [rdi + {rdi}]
    mov [rdi + {rax}], rax
    call save_registers
    mov rax, cr2
    mov [rdi + {cr2}], rax
    mov qword ptr [rdi + {launched}], 1
    lgdt gs:[{gdt_pointer}]
    lidt gs:[{idt_pointer}]
    xor eax, eax
3:  pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
"#,
    host_rsp = const vmcs::HOST_RSP.encoding(),
    cr2 = const offset_of!(State, cr2),
    launched = const offset_of!(State, launched),
    rax = const offset_of!(State, registers) + offset_of!(Registers, rax),
    rdi = const offset_of!(State, registers) + offset_of!(Registers, rdi),
    gdt_pointer = const GDT_POINTER,
    idt_pointer = const IDT_POINTER,
);

const KERNEL_GS_BASE: u32 = 0xc000_0102;
const _: () = assert!(offset_of!(State, registers) == 0);
