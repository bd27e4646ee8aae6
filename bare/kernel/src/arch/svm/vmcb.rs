//! The virtual machine control block (AMD APM volume 2, appendix B): the fields the kernel uses.

use palisade_abi::volatile::Memory;

use crate::memory::Page;

/// A field of the control block: its offset in bytes.
#[derive(Clone, Copy)]
pub(super) struct Field64(usize);
/// A field of 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Field32(usize);

/// CR reads (low half) and writes (high half) to intercept, one bit per register.
pub(super) const INTERCEPT_CR: Field32 = Field32(0x000);
/// DR reads and writes to intercept.
pub(super) const INTERCEPT_DR: Field32 = Field32(0x004);
/// Exceptions to intercept.
pub(super) const INTERCEPT_EXCEPTIONS: Field32 = Field32(0x008);
/// Instructions and events to intercept, first word.
pub(super) const INTERCEPT_1: Field32 = Field32(0x00c);
/// Instructions to intercept, second word.
pub(super) const INTERCEPT_2: Field32 = Field32(0x010);
/// Instructions to intercept, third word.
pub(super) const INTERCEPT_3: Field32 = Field32(0x014);
/// Physical address of the I/O permission map.
pub(super) const IOPM: Field64 = Field64(0x040);
/// Physical address of the MSR permission map.
pub(super) const MSRPM: Field64 = Field64(0x048);
/// Address space identifier (low half), TLB control (high half).
pub(super) const ASID_AND_TLB: Field64 = Field64(0x058);
/// Virtual interrupt control.
pub(super) const VIRTUAL_INTERRUPT: Field64 = Field64(0x060);
/// Bit 0: interrupt shadow.
pub(super) const INTERRUPT_SHADOW: Field64 = Field64(0x068);
/// Exit code.
pub(super) const EXIT_CODE: Field64 = Field64(0x070);
/// First exit information.
pub(super) const EXIT_INFO_1: Field64 = Field64(0x078);
/// Second exit information.
pub(super) const EXIT_INFO_2: Field64 = Field64(0x080);
/// Bit 0: nested paging.
pub(super) const NESTED_PAGING: Field64 = Field64(0x090);
/// Event to inject.
pub(super) const EVENT_INJECTION: Field64 = Field64(0x0a8);
/// Root of the nested page tables.
pub(super) const NESTED_ROOT: Field64 = Field64(0x0b0);

/// Segment registers: offset of the selector; then attributes, limit and base.
pub(super) const ES: usize = 0x400;
/// Code segment.
pub(super) const CS: usize = 0x410;
/// Stack segment.
pub(super) const SS: usize = 0x420;
/// Data segment.
pub(super) const DS: usize = 0x430;
/// FS.
pub(super) const FS: usize = 0x440;
/// GS.
pub(super) const GS: usize = 0x450;
/// Global descriptor table.
pub(super) const GDTR: usize = 0x460;
/// Local descriptor table.
pub(super) const LDTR: usize = 0x470;
/// Interrupt descriptor table.
pub(super) const IDTR: usize = 0x480;
/// Task register.
pub(super) const TR: usize = 0x490;
/// Current privilege level, in the highest byte.
pub(super) const CPL: Field32 = Field32(0x4c8);
/// EFER.
pub(super) const EFER: Field64 = Field64(0x4d0);
/// CR4.
pub(super) const CR4: Field64 = Field64(0x548);
/// CR3.
pub(super) const CR3: Field64 = Field64(0x550);
/// CR0.
pub(super) const CR0: Field64 = Field64(0x558);
/// DR7.
pub(super) const DR7: Field64 = Field64(0x560);
/// DR6.
pub(super) const DR6: Field64 = Field64(0x568);
/// RFLAGS.
pub(super) const RFLAGS: Field64 = Field64(0x570);
/// RIP.
pub(super) const RIP: Field64 = Field64(0x578);
/// RSP.
pub(super) const RSP: Field64 = Field64(0x5d8);
/// RAX.
pub(super) const RAX: Field64 = Field64(0x5f8);
/// Page attribute table of the guest.
pub(super) const PAT: Field64 = Field64(0x668);

/// A subject's control block.
pub(super) struct Vmcb(Page);

// Every offset above lies inside the page, so no access fails.
impl Vmcb {
    /// The control block in `page`.
    pub(super) const fn new(page: Page) -> Self {
        Self(page)
    }

    pub(super) fn get(&self, field: Field64) -> u64 {
        self.0.load(field.0).unwrap_or(0)
    }

    pub(super) fn set(&self, field: Field64, value: u64) {
        self.0.store(field.0, value);
    }

    pub(super) fn get32(&self, field: Field32) -> u32 {
        self.0.load_u32(field.0).unwrap_or(0)
    }

    pub(super) fn set32(&self, field: Field32, value: u32) {
        self.0.store_u32(field.0, value);
    }

    /// Sets a segment register. `attributes` are the descriptor's bits 40-47 and 52-55, packed (APM volume 2, section 15.5.1).
    pub(super) fn set_segment(&self, register: usize, selector: u16, attributes: u16, limit: u32, base: u64) {
        self.0.store(register, u64::from(selector) | u64::from(attributes) << 16 | u64::from(limit) << 32);
        self.0.store(register + 8, base);
    }

    /// Sets all of it to zero.
    pub(super) fn clear(&self) {
        for offset in (0..self.0.size()).step_by(8) {
            self.0.store(offset, 0);
        }
    }
}
