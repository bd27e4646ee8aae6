//! Starting the other CPUs: INIT, then the message that has a CPU begin in real mode at a page below 1 MiB (Intel SDM volume 3,
//! section 9.4; AMD APM volume 2, section 16.5).
//!
//! A CPU goes from there through protected mode into the boot CPU's own way to long mode, on the boot page tables, with the
//! stack that the plan gives it. CPUs are started one after the other, so there is one place that says which stack.

use core::arch::global_asm;
use core::hint::spin_loop;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use palisade_abi::layout::CPU_START;
use palisade_abi::plan::Cpu;
use palisade_kernel_core::clock::Clock;

use super::apic::LocalApic;
use super::processor;

/// Starts `cpu`, which goes on at `kernel_start_secondary`, if the machine has it.
///
/// # Safety
/// Page [`CPU_START`] is memory that nobody uses; the boot page tables are in use; this CPU has not been started, and the one
/// started before it runs on its own stack already.
pub(crate) unsafe fn start(cpu: &Cpu, apic: &LocalApic, clock: Clock) {
    unsafe extern "C" {
        static secondary_start: u8;
        static secondary_start_end: u8;
    }
    let code = &raw const secondary_start;
    // SAFETY: the caller vouches for the page, which the code is much smaller than.
    unsafe {
        let size = (&raw const secondary_start_end).offset_from_unsigned(code);
        ptr::copy_nonoverlapping(code, CPU_START as *mut u8, size);
    }
    SECONDARY_STACK.store(cpu.stack_top, Ordering::SeqCst);
    apic.send_init(cpu.apic_id);
    wait(clock, 10_000);
    // Processors since about 1995 need it once, but may miss it.
    for _ in 0..2 {
        apic.send_start(cpu.apic_id, CPU_START);
        wait(clock, 200);
    }
}

fn wait(clock: Clock, microseconds: u64) {
    let start = processor::tsc();
    while processor::tsc().saturating_sub(start) < clock.ticks(microseconds) {
        spin_loop();
    }
}

/// The stack of the CPU that is being started.
#[unsafe(no_mangle)]
static SECONDARY_STACK: AtomicU64 = AtomicU64::new(0);

// The first piece is copied to `CPU_START`, so it refers to itself by distances only. The processor comes with CS:IP = page:0.
global_asm!(
    r#"
    .section .rodata.secondary, "a"
    .globl secondary_start, secondary_start_end
    .code16
secondary_start:
    cli
    cld
    lgdtl %cs:(secondary_gdt_pointer - secondary_start)
    movl $0x11, %eax                    // CR0: ET, PE
    movl %eax, %cr0
    ljmpl $0x18, $secondary_protected
    .balign 4
secondary_gdt_pointer:
    .short 31
    .long boot_gdt
secondary_start_end:

    .section .boot.text, "ax"
    .code32
secondary_protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl SECONDARY_STACK, %esp
    movl $kernel_start_secondary, %ebx
    jmp boot_enter_long_mode
    .code64
"#,
    options(att_syntax)
);
