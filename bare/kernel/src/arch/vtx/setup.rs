//! What a subject's control structure contains before the subject runs for the first time.

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{Subject, subject_flags};
use palisade_kernel_core::vtx::controls::Extension;

use super::entry::{State, vtx_exit};
use super::vmcs::{self, Vmcs};
use crate::arch::tables::{CODE, DATA, TASK};

/// The state of this CPU after every exit.
pub(super) struct Host {
    pub(super) cr0: u64,
    pub(super) cr3: u64,
    pub(super) cr4: u64,
    pub(super) efer: u64,
    pub(super) pat: u64,
    pub(super) gs: u64,
    pub(super) gdt: u64,
    pub(super) idt: u64,
    pub(super) task: u64,
}

/// Sets what the subject may do, and where the processor finds more about that.
pub(super) fn set_controls(vmcs: Vmcs, extension: &Extension, subject: &Subject, vpid: u16) {
    vmcs.set32(vmcs::PIN_CONTROLS, extension.pin);
    vmcs.set32(vmcs::PRIMARY_CONTROLS, extension.primary);
    vmcs.set32(vmcs::SECONDARY_CONTROLS, extension.secondary);
    vmcs.set32(vmcs::EXIT_CONTROLS, extension.exit);
    vmcs.set32(vmcs::ENTRY_CONTROLS, extension.entry);
    // #UD may be a hypercall. #DB and #AC can be nested by a subject so that the processor never comes out of
    // delivering them; #MC is the machine's.
    let guest = subject.flags & subject_flags::KERNEL_EXCEPTIONS == 0;
    vmcs.set32(vmcs::EXCEPTIONS, if guest { 1 << 1 | 1 << 6 | 1 << 17 | 1 << 18 } else { u32::MAX });
    vmcs.set(vmcs::PAGE_FAULT_MASK, 0);
    vmcs.set(vmcs::PAGE_FAULT_MATCH, 0);
    vmcs.set(vmcs::CR3_TARGETS, 0);
    vmcs.set(vmcs::CR0_MASK, u64::MAX);
    vmcs.set(vmcs::CR4_MASK, u64::MAX);
    vmcs.set(vmcs::IO_BITMAP_A, subject.io_bitmaps);
    vmcs.set(vmcs::IO_BITMAP_B, subject.io_bitmaps + PAGE);
    vmcs.set(vmcs::MSR_BITMAP, subject.msr_bitmap);
    vmcs.set(vmcs::EPT_POINTER, subject.ept_root | EPT_WRITE_BACK | EPT_FOUR_LEVELS);
    if extension.tags_translations() {
        vmcs.set(vmcs::VPID, u64::from(vpid));
    }
    if extension.has_enclaves() {
        vmcs.set(vmcs::ENCLS_BITMAP, u64::MAX);
    }
    let exchanged = subject.state + core::mem::offset_of!(State, exchanged) as u64;
    vmcs.set(vmcs::EXIT_MSR_STORE, exchanged);
    vmcs.set(vmcs::EXIT_MSR_STORE_COUNT, 1);
    vmcs.set(vmcs::ENTRY_MSR_LOAD, exchanged);
    vmcs.set(vmcs::ENTRY_MSR_LOAD_COUNT, 1);
    vmcs.set(vmcs::EXIT_MSR_LOAD_COUNT, 0);
    vmcs.set(vmcs::ENTRY_EVENT, 0);
}

/// Sets what the processor loads on exit.
pub(super) fn set_host_state(vmcs: Vmcs, host: &Host) {
    vmcs.set(vmcs::HOST_CR0, host.cr0);
    vmcs.set(vmcs::HOST_CR3, host.cr3);
    vmcs.set(vmcs::HOST_CR4, host.cr4);
    vmcs.set(vmcs::HOST_EFER, host.efer);
    vmcs.set(vmcs::HOST_PAT, host.pat);
    let selectors = [DATA, CODE, DATA, DATA, 0, 0, TASK];
    for (field, selector) in vmcs::HOST_SELECTORS.into_iter().zip(selectors) {
        vmcs.set(field, u64::from(selector));
    }
    for (field, base) in vmcs::HOST_BASES.into_iter().zip([0, host.gs, host.task, host.gdt, host.idt]) {
        vmcs.set(field, base);
    }
    vmcs.set(vmcs::HOST_SYSENTER_CS, 0);
    vmcs.set(vmcs::HOST_SYSENTER_ESP, 0);
    vmcs.set(vmcs::HOST_SYSENTER_EIP, 0);
    vmcs.set(vmcs::HOST_RIP, vtx_exit as *const () as u64);
}

/// Sets what the subject starts with: the same as on the other vendor's processors.
pub(super) fn set_initial_state(vmcs: Vmcs, extension: &Extension, subject: &Subject) {
    const CODE: u32 = 0xa09b; // present, execute/read, accessed, 64-bit
    const DATA: u32 = 0xc093; // present, read/write, accessed, 32-bit, 4 KiB granularity
    const TASK: u32 = 0x008b; // present, busy 64-bit task state
    const TABLE: u32 = 0x0082; // present, local descriptor table
    const CR0: u64 = 0x8001_0033; // PG, WP, NE, ET, MP, PE
    const CR4: u64 = 0x4_0620; // OSXSAVE, OSXMMEXCPT, OSFXSR, PAE
    vmcs.set_segment(vmcs::CS, 0x08, CODE, u32::MAX);
    for register in [vmcs::SS, vmcs::DS, vmcs::ES] {
        vmcs.set_segment(register, 0x10, DATA, u32::MAX);
    }
    for register in [vmcs::FS, vmcs::GS] {
        vmcs.set_segment(register, 0, DATA, u32::MAX);
    }
    vmcs.set_segment(vmcs::LDTR, 0, TABLE, 0);
    vmcs.set_segment(vmcs::TR, 0, TASK, 0);
    vmcs.clear_tables();
    // The subject reads what it would read elsewhere, whatever bits the processor insists on.
    vmcs.set(vmcs::CR0, extension.cr0.apply(CR0));
    vmcs.set(vmcs::CR0_SHADOW, CR0);
    vmcs.set(vmcs::CR3, subject.guest_root);
    vmcs.set(vmcs::CR4, extension.cr4.apply(CR4));
    vmcs.set(vmcs::CR4_SHADOW, CR4);
    vmcs.set(vmcs::EFER, 0xd00); // NXE, LMA, LME
    vmcs.set(vmcs::PAT, 0x0007_0406_0007_0406);
    vmcs.set(vmcs::DR7, 0x400);
    vmcs.set(vmcs::DEBUG_CONTROL, 0);
    vmcs.set(vmcs::PENDING_DEBUG, 0);
    vmcs.set(vmcs::SYSENTER_CS, 0);
    vmcs.set(vmcs::SYSENTER_ESP, 0);
    vmcs.set(vmcs::SYSENTER_EIP, 0);
    vmcs.set(vmcs::INTERRUPTIBILITY, 0);
    vmcs.set(vmcs::ACTIVITY, 0);
    vmcs.set(vmcs::LINK, u64::MAX);
    vmcs.set(vmcs::RFLAGS, 2);
    vmcs.set(vmcs::RIP, subject.rip);
    vmcs.set(vmcs::RSP, subject.rsp);
}

/// The processor caches the tables themselves like any memory.
const EPT_WRITE_BACK: u64 = 6;
/// Levels less one, in bits 3 to 5.
const EPT_FOUR_LEVELS: u64 = 3 << 3;
