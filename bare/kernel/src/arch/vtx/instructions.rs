//! The instructions of VT-x (Intel SDM volume 3, chapter 31).
//!
//! One that fails tells so in the flags. The kernel gives it no reason to; should it fail all the same, the kernel ends in
//! the handler of #UD, which reports the place.

use core::arch::asm;

/// The instruction, and what ends the kernel if it fails (CF or ZF is set).
macro_rules! checked {
    ($instruction:literal) => {
        concat!($instruction, "\n ja 2f\n ud2\n 2:")
    };
}

/// Enters VMX operation with the region at physical address `region`.
///
/// # Safety
/// The extension is permitted and CR4.VMXE set; the region is this CPU's own, and begins with the processor's revision.
pub(super) unsafe fn vmxon(region: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!(checked!("vmxon [{}]"), in(reg) &raw const region, options(nostack)) };
}

/// Writes the control structure at physical address `region` back to memory; it is neither current nor launched then.
///
/// # Safety
/// The CPU is in VMX operation; the region is a control structure's page that no other CPU uses.
pub(super) unsafe fn vmclear(region: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!(checked!("vmclear [{}]"), in(reg) &raw const region, options(nostack)) };
}

/// Makes the control structure at physical address `region` current.
///
/// # Safety
/// As for [`vmclear`]; the region begins with the processor's revision, and `vmclear` was executed on it before its first use.
pub(super) unsafe fn vmptrld(region: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!(checked!("vmptrld [{}]"), in(reg) &raw const region, options(nostack)) };
}

/// Reads a field of the current control structure.
///
/// # Safety
/// There is one, and it has this field.
pub(super) unsafe fn vmread(field: u32) -> u64 {
    let value;
    // SAFETY: promised by the caller.
    unsafe { asm!(checked!("vmread {}, {}"), out(reg) value, in(reg) u64::from(field), options(nostack)) };
    value
}

/// Writes a field of the current control structure.
///
/// # Safety
/// There is one, and it has this field; a field of the host's state gets what compiled code needs after an exit.
pub(super) unsafe fn vmwrite(field: u32, value: u64) {
    // SAFETY: promised by the caller.
    unsafe { asm!(checked!("vmwrite {}, {}"), in(reg) u64::from(field), in(reg) value, options(nostack)) };
}

/// Forgets everything that was cached of any extended page tables.
///
/// # Safety
/// The CPU is in VMX operation, and the processor offers this kind of invalidation.
pub(super) unsafe fn forget_extended_tables() {
    const ALL_CONTEXTS: u64 = 2;
    let descriptor = [0_u64; 2];
    // SAFETY: promised by the caller.
    unsafe {
        asm!(checked!("invept {}, [{}]"), in(reg) ALL_CONTEXTS, in(reg) &raw const descriptor, options(nostack));
    }
}

/// Forgets the translations cached for one identifier, or for all of them.
///
/// # Safety
/// As for [`forget_extended_tables`].
pub(super) unsafe fn forget_translations(vpid: Option<u16>) {
    const SINGLE_CONTEXT: u64 = 1;
    const ALL_CONTEXTS: u64 = 2;
    let kind = if vpid.is_some() { SINGLE_CONTEXT } else { ALL_CONTEXTS };
    let descriptor = [u64::from(vpid.unwrap_or(0)), 0];
    // SAFETY: promised by the caller.
    unsafe {
        asm!(checked!("invvpid {}, [{}]"), in(reg) kind, in(reg) &raw const descriptor, options(nostack))
    };
}
