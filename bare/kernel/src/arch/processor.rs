//! Single processor instructions as functions.
//!
//! Each is safe or unsafe by one measure: whether executing it can break a promise the compiler relies on (memory, registers,
//! control flow). Reading the time-stamp counter cannot; writing a page-table root can.

use core::arch::{asm, x86_64};

/// CPUID: EAX, EBX, ECX, EDX.
pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = x86_64::__cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// The time-stamp counter.
pub(crate) fn tsc() -> u64 {
    // SAFETY: RDTSC reads a counter; CR4.TSD does not restrict ring 0.
    unsafe { x86_64::_rdtsc() }
}

/// The time-stamp counter, after all loads and stores before it and before those that follow.
pub(crate) fn ordered_tsc() -> u64 {
    finish_stores();
    // SAFETY: as above; a fence changes nothing.
    unsafe {
        let now = x86_64::_rdtsc();
        x86_64::_mm_lfence();
        now
    }
}

/// Waits until all stores so far can be seen by other CPUs.
pub(crate) fn finish_stores() {
    // SAFETY: fences change nothing.
    unsafe {
        x86_64::_mm_mfence();
        x86_64::_mm_lfence();
    }
}

/// This CPU's local APIC identifier, whatever state its APIC is in.
pub(crate) fn apic_id() -> u32 {
    // Leaf 0Bh has all 32 bits, where it exists (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
    if cpuid(0, 0)[0] >= 0xb && cpuid(0xb, 0)[1] != 0 { cpuid(0xb, 0)[3] } else { cpuid(1, 0)[1] >> 24 }
}

/// Reads a model-specific register.
///
/// # Safety
/// The register must exist on this processor.
pub(crate) unsafe fn read_msr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller names a register that exists; reading it changes nothing.
    unsafe {
        asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register must exist, accept `value`, and with it not break memory, control flow or registers as the compiler sees them.
pub(crate) unsafe fn write_msr(number: u32, value: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("wrmsr", in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// The control registers CR0, CR3 and CR4.
pub(crate) fn control_registers() -> (u64, u64, u64) {
    let (cr0, cr3, cr4);
    // SAFETY: reading them changes nothing.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) cr0, out(reg) cr3, out(reg) cr4,
            options(nomem, nostack, preserves_flags));
    }
    (cr0, cr3, cr4)
}

/// Writes CR0.
///
/// # Safety
/// The processor accepts `value`, which leaves paging, SSE and protection as compiled code needs them.
pub(crate) unsafe fn set_cr0(value: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Writes CR4.
///
/// # Safety
/// As for [`set_cr0`].
pub(crate) unsafe fn set_cr4(value: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Reads a byte from an I/O port.
pub(crate) fn port_read_u8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: a port read does not touch memory. That the port may be read is the caller's business with the device.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads a double word from an I/O port.
pub(crate) fn port_read_u32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as above.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to an I/O port.
pub(crate) fn port_write_u8(port: u16, value: u8) {
    // SAFETY: the kernel writes only ports of the interrupt controllers, the interval timer and those that its checked
    // plan names; none of them starts a transfer to memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes a word to an I/O port.
pub(crate) fn port_write_u16(port: u16, value: u16) {
    // SAFETY: as above.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes a double word to an I/O port.
pub(crate) fn port_write_u32(port: u16, value: u32) {
    // SAFETY: as above.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes everything that is only in caches to memory.
pub(crate) fn write_back_caches() {
    // SAFETY: memory looks the same to programs before and after it.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

/// Halts with interrupts disabled, for ever.
pub(crate) fn halt_for_ever() -> ! {
    loop {
        // SAFETY: nothing runs on this CPU any more.
        unsafe { asm!("cli; hlt", options(nomem, nostack)) };
    }
}

/// Lets pending interrupts in, then disables them again. Their handlers only note the vector.
pub(crate) fn take_interrupts() {
    // SAFETY: the interrupt table is loaded before the first call, its handlers run on stacks of their own and preserve every register.
    unsafe { asm!("sti; nop; nop; cli", options(nostack)) };
}

/// Halts until an interrupt arrives, takes it, and disables interrupts again.
pub(crate) fn wait_for_interrupt() {
    // SAFETY: as above. `sti` delays interrupts by one instruction, so none is lost before the halt.
    unsafe { asm!("sti; hlt; cli", options(nostack)) };
}
