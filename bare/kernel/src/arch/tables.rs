//! A CPU's private kernel data: descriptor tables, task state, interrupt stacks, and the interrupts it has taken.
//!
//! The kernel runs with interrupts disabled. It lets them in at two points ([`processor::take_interrupts`] and
//! [`processor::wait_for_interrupt`]); their handlers set a bit and return, without any Rust. An exception in the
//! kernel is the end of the system: its handler goes to [`crate::fatal`].

use core::arch::{asm, global_asm};
use core::mem::{offset_of, size_of};
use core::ptr;

use palisade_abi::layout::{CPU_DATA_SIZE, PAGE};

use super::processor;

/// A CPU's private data, at the address of the GS base while the kernel runs.
#[repr(C, align(4096))]
pub(crate) struct CpuData {
    /// Vectors of interrupts that were taken, one bit each.
    taken: [u64; 4],
    gdt: [u64; 5],
    gdt_pointer: TablePointer,
    idt_pointer: TablePointer,
    tss: TaskState,
    interrupt_stack: [u8; 1024],
    fault_stack: [u8; 4096],
    /// Host state for `vmload`, or whatever the virtualisation back end needs a page for.
    host_state: HostState,
}

#[repr(C, align(4096))]
struct HostState([u8; PAGE as usize]);

/// Task state segment (AMD APM volume 2, section 12.2.5): the stacks of interrupt handlers.
#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

/// Gate of the interrupt descriptor table (AMD APM volume 2, section 4.8.4).
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Selectors of the code segment, the data segment and the task state.
pub(super) const CODE: u16 = 0x08;
pub(super) const DATA: u16 = 0x10;
pub(super) const TASK: u16 = 0x18;
/// Where, from the GS base, the operands of `lgdt` and `lidt` are.
pub(super) const GDT_POINTER: usize = offset_of!(CpuData, gdt_pointer);
pub(super) const IDT_POINTER: usize = offset_of!(CpuData, idt_pointer);
/// The stack that the interrupted code uses.
const SAME_STACK: u8 = 0;
const INTERRUPT_STACK: u8 = 1;
const FAULT_STACK: u8 = 2;
const INTERRUPT_GATE: u8 = 0x8e;
/// First vector that is an interrupt and not an exception.
const FIRST_INTERRUPT: usize = 32;
const GS_BASE: u32 = 0xc000_0101;

const _: () = assert!(size_of::<CpuData>() <= CPU_DATA_SIZE as usize);
const _: () = assert!(size_of::<TaskState>() == 104);

impl CpuData {
    /// Loads the descriptor tables in `data` and makes it the GS base.
    ///
    /// # Safety
    /// `data` is this CPU's own data region: cleared, mapped as long as the kernel runs, used by nobody else.
    pub(crate) unsafe fn install(data: *mut CpuData) {
        let idt = &raw const INTERRUPT_TABLE;
        // SAFETY: the region is ours alone and lives for ever; everything loaded below points into it, into the kernel's
        // text, or into the kernel's own interrupt table. The stacks' ends are one byte past their arrays.
        unsafe {
            let tss = &raw mut (*data).tss;
            let mut stacks = [0_u64; 7];
            stacks[usize::from(INTERRUPT_STACK) - 1] = (&raw const (*data).interrupt_stack).add(1) as u64;
            stacks[usize::from(FAULT_STACK) - 1] = (&raw const (*data).fault_stack).add(1) as u64;
            ptr::write(
                tss,
                TaskState {
                    reserved0: 0,
                    rsp: [0; 3],
                    reserved1: 0,
                    ist: stacks,
                    reserved2: 0,
                    reserved3: 0,
                    io_map: size_of::<TaskState>() as u16,
                },
            );
            let base = tss as u64;
            let task_low = (base & 0xff_ffff) << 16
                | (base >> 24 & 0xff) << 56
                | 0x89 << 40
                | (size_of::<TaskState>() as u64 - 1);
            (*data).gdt = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, task_low, base >> 32];
            (*data).gdt_pointer =
                TablePointer { limit: size_of::<[u64; 5]>() as u16 - 1, base: &raw const (*data).gdt as u64 };
            (*data).idt_pointer =
                TablePointer { limit: size_of::<[Gate; 256]>() as u16 - 1, base: idt as u64 };
            asm!(
                "lgdt [{gdt}]", "lidt [{idt}]", "ltr {task:x}",
                gdt = in(reg) &raw const (*data).gdt_pointer, idt = in(reg) &raw const (*data).idt_pointer,
                task = in(reg) TASK,
                options(readonly, nostack, preserves_flags)
            );
            processor::write_msr(GS_BASE, data as u64);
        }
    }

    /// Addresses of the global descriptor table, the interrupt descriptor table and the task state.
    ///
    /// # Safety
    /// `data` is installed.
    pub(super) unsafe fn table_addresses(data: *const Self) -> (u64, u64, u64) {
        // SAFETY: `install` has filled the region in, and nobody changes it any more.
        let (gdt, idt) = unsafe { ((*data).gdt_pointer.base, (*data).idt_pointer.base) };
        (gdt, idt, data as u64 + offset_of!(Self, tss) as u64)
    }

    /// Physical address of the page for host state.
    pub(crate) fn host_state(data: *const CpuData) -> u64 {
        data as u64 + offset_of!(CpuData, host_state) as u64
    }
}

/// Notes an interrupt that the processor has taken without calling its handler.
pub(super) fn note_taken(vector: u8) {
    // SAFETY: as below; the operand is a string of 256 bits.
    unsafe { asm!("bts qword ptr gs:[0], {vector}", vector = in(reg) u64::from(vector), options(nostack)) };
}

/// Takes the vectors of the interrupts that arrived since the last call, 64 to a word.
pub(crate) fn taken_interrupts() -> [u64; 4] {
    let mut words = [0; 4];
    for (index, word) in words.iter_mut().enumerate() {
        // SAFETY: GS points to this CPU's data, which begins with the four words. The handlers that set bits run on
        // this CPU only, and not between these two instructions' effects: interrupts are disabled.
        unsafe {
            asm!("xchg gs:[{at} * 8], {word}", at = in(reg) index, word = inout(reg) *word, options(nostack))
        };
    }
    words
}

/// Loads the interrupt table on the boot CPU, whose boot code has loaded segments that suit it: an exception before
/// [`CpuData::install`] is reported too.
pub(crate) fn report_exceptions() {
    fill_interrupt_table(SAME_STACK, SAME_STACK);
    let pointer =
        TablePointer { limit: size_of::<[Gate; 256]>() as u16 - 1, base: &raw const INTERRUPT_TABLE as u64 };
    // SAFETY: the table lives for ever. Its exceptions end in `fatal`, and interrupts are disabled: their handlers need the
    // CPU's data.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// Gives handlers the stacks of [`CpuData`]. The boot CPU has that installed, and no other CPU runs.
pub(crate) fn use_own_stacks() {
    fill_interrupt_table(FAULT_STACK, INTERRUPT_STACK);
}

/// Fills in the interrupt table, with the stacks that the handlers of exceptions and of interrupts get.
fn fill_interrupt_table(exceptions: u8, interrupts: u8) {
    unsafe extern "C" {
        static vector_stubs: [[u8; VECTOR_STUB_SIZE]; 256];
    }
    let table = &raw mut INTERRUPT_TABLE;
    for vector in 0..256 {
        let stack = if vector < FIRST_INTERRUPT { exceptions } else { interrupts };
        // SAFETY: only the boot CPU comes here, before there is a second. The stubs are 256 pieces of code of equal size; only
        // the address of each is taken.
        unsafe {
            (*table)[vector & 255] = Gate::to(
                (&raw const vector_stubs).cast::<u8>() as u64 + (vector * VECTOR_STUB_SIZE) as u64,
                stack,
            )
        };
    }
}

/// All CPUs have the same: gates name a stack by its number in the CPU's own task state.
static mut INTERRUPT_TABLE: [Gate; 256] = [Gate::MISSING; 256];

impl Gate {
    const MISSING: Self =
        Self { offset_low: 0, selector: 0, ist: 0, kind: 0, offset_middle: 0, offset_high: 0, reserved: 0 };

    const fn to(address: u64, ist: u8) -> Self {
        Self {
            offset_low: address as u16,
            selector: CODE,
            ist,
            kind: INTERRUPT_GATE,
            offset_middle: (address >> 16) as u16,
            offset_high: (address >> 32) as u32,
            reserved: 0,
        }
    }
}

const VECTOR_STUB_SIZE: usize = 16;

global_asm!(
    r#"
    .section .text.vectors, "ax"
    .balign 16
    .globl vector_stubs
vector_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector >= 32
    lock btsl $(vector & 31), %gs:((vector / 32) * 4)
    iretq
    .else
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp exception_in_kernel
    .endif
    .set vector, vector + 1
    .endr

exception_in_kernel:
    movq (%rsp), %rdi                   // vector
    movq 8(%rsp), %rsi                  // error code
    movq 16(%rsp), %rdx                 // RIP
    movq 40(%rsp), %rcx                 // RSP
    movq %cr2, %r8
    andq $-16, %rsp
    call fatal_exception
    ud2
"#,
    options(att_syntax)
);
