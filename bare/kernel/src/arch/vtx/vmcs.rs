//! The virtual machine control structure (Intel SDM volume 3, chapter 25 and appendix B): the fields the kernel uses.

use super::instructions::{vmread, vmwrite};

/// A field, by its encoding.
#[derive(Clone, Copy)]
pub(super) struct Field(u32);

/// Identifier of the subject's cached translations.
pub(super) const VPID: Field = Field(0x0000);
/// Physical address of I/O bitmap A.
pub(super) const IO_BITMAP_A: Field = Field(0x2000);
/// Physical address of I/O bitmap B.
pub(super) const IO_BITMAP_B: Field = Field(0x2002);
/// Physical address of the MSR bitmaps.
pub(super) const MSR_BITMAP: Field = Field(0x2004);
/// Physical address of the list of MSRs to store on exit.
pub(super) const EXIT_MSR_STORE: Field = Field(0x2006);
/// Physical address of the list of MSRs to load on entry.
pub(super) const ENTRY_MSR_LOAD: Field = Field(0x200a);
/// Root of the extended page tables, and how they are walked.
pub(super) const EPT_POINTER: Field = Field(0x201a);
/// Functions of `encls` that cause an exit.
pub(super) const ENCLS_BITMAP: Field = Field(0x202e);
/// Guest-physical address of a memory fault.
pub(super) const GUEST_PHYSICAL: Field = Field(0x2400);
/// All ones where there is no second control structure.
pub(super) const LINK: Field = Field(0x2800);
/// Debug control MSR of the guest.
pub(super) const DEBUG_CONTROL: Field = Field(0x2802);
/// Page attribute table of the guest.
pub(super) const PAT: Field = Field(0x2804);
/// EFER of the guest.
pub(super) const EFER: Field = Field(0x2806);
/// Page attribute table of the host.
pub(super) const HOST_PAT: Field = Field(0x2c00);
/// EFER of the host.
pub(super) const HOST_EFER: Field = Field(0x2c02);
/// Pin-based controls.
pub(super) const PIN_CONTROLS: Field = Field(0x4000);
/// Primary processor-based controls.
pub(super) const PRIMARY_CONTROLS: Field = Field(0x4002);
/// Exceptions that cause an exit.
pub(super) const EXCEPTIONS: Field = Field(0x4004);
/// Bits of a page fault's error code that matter for whether it causes an exit.
pub(super) const PAGE_FAULT_MASK: Field = Field(0x4006);
/// What these bits are compared with.
pub(super) const PAGE_FAULT_MATCH: Field = Field(0x4008);
/// Number of values that CR3 may be set to without an exit.
pub(super) const CR3_TARGETS: Field = Field(0x400a);
/// VM-exit controls.
pub(super) const EXIT_CONTROLS: Field = Field(0x400c);
/// Length of the list of MSRs to store on exit.
pub(super) const EXIT_MSR_STORE_COUNT: Field = Field(0x400e);
/// Length of the list of MSRs to load on exit.
pub(super) const EXIT_MSR_LOAD_COUNT: Field = Field(0x4010);
/// VM-entry controls.
pub(super) const ENTRY_CONTROLS: Field = Field(0x4012);
/// Length of the list of MSRs to load on entry.
pub(super) const ENTRY_MSR_LOAD_COUNT: Field = Field(0x4014);
/// Event to inject. The processor clears bit 31 when it has done so.
pub(super) const ENTRY_EVENT: Field = Field(0x4016);
/// Secondary processor-based controls.
pub(super) const SECONDARY_CONTROLS: Field = Field(0x401e);
/// Why `vmlaunch` or `vmresume` failed.
pub(super) const INSTRUCTION_ERROR: Field = Field(0x4400);
/// Exit reason.
pub(super) const EXIT_REASON: Field = Field(0x4402);
/// Exception or interrupt that caused the exit.
pub(super) const EXIT_EVENT: Field = Field(0x4404);
/// Its error code.
pub(super) const EXIT_ERROR_CODE: Field = Field(0x4406);
/// Length of the instruction that caused the exit.
pub(super) const INSTRUCTION_LENGTH: Field = Field(0x440c);
/// What keeps interrupts from the guest, besides its flag.
pub(super) const INTERRUPTIBILITY: Field = Field(0x4824);
/// Whether the guest executes instructions.
pub(super) const ACTIVITY: Field = Field(0x4826);
/// SYSENTER_CS of the guest.
pub(super) const SYSENTER_CS: Field = Field(0x482a);
/// What the preemption timer counts down from.
pub(super) const PREEMPTION_TIMER: Field = Field(0x482e);
/// SYSENTER_CS of the host.
pub(super) const HOST_SYSENTER_CS: Field = Field(0x4c00);
/// Bits of CR0 that the guest cannot change without an exit.
pub(super) const CR0_MASK: Field = Field(0x6000);
/// Bits of CR4 that the guest cannot change without an exit.
pub(super) const CR4_MASK: Field = Field(0x6002);
/// What the guest reads in those bits of CR0.
pub(super) const CR0_SHADOW: Field = Field(0x6004);
/// What the guest reads in those bits of CR4.
pub(super) const CR4_SHADOW: Field = Field(0x6006);
/// Exit qualification.
pub(super) const QUALIFICATION: Field = Field(0x6400);
/// CR0 of the guest.
pub(super) const CR0: Field = Field(0x6800);
/// CR3 of the guest.
pub(super) const CR3: Field = Field(0x6802);
/// CR4 of the guest.
pub(super) const CR4: Field = Field(0x6804);
/// DR7 of the guest.
pub(super) const DR7: Field = Field(0x681a);
/// RSP of the guest.
pub(super) const RSP: Field = Field(0x681c);
/// RIP of the guest.
pub(super) const RIP: Field = Field(0x681e);
/// RFLAGS of the guest.
pub(super) const RFLAGS: Field = Field(0x6820);
/// Debug exceptions that the guest has not been told of.
pub(super) const PENDING_DEBUG: Field = Field(0x6822);
/// SYSENTER_ESP of the guest.
pub(super) const SYSENTER_ESP: Field = Field(0x6824);
/// SYSENTER_EIP of the guest.
pub(super) const SYSENTER_EIP: Field = Field(0x6826);
/// CR0 of the host.
pub(super) const HOST_CR0: Field = Field(0x6c00);
/// CR3 of the host.
pub(super) const HOST_CR3: Field = Field(0x6c02);
/// CR4 of the host.
pub(super) const HOST_CR4: Field = Field(0x6c04);
/// Base addresses of the host's FS, GS, task state, global and interrupt descriptor table.
pub(super) const HOST_BASES: [Field; 5] =
    [Field(0x6c06), Field(0x6c08), Field(0x6c0a), Field(0x6c0c), Field(0x6c0e)];
/// SYSENTER_ESP of the host.
pub(super) const HOST_SYSENTER_ESP: Field = Field(0x6c10);
/// SYSENTER_EIP of the host.
pub(super) const HOST_SYSENTER_EIP: Field = Field(0x6c12);
/// RSP of the host after an exit.
pub(super) const HOST_RSP: Field = Field(0x6c14);
/// RIP of the host after an exit.
pub(super) const HOST_RIP: Field = Field(0x6c16);
/// Selectors of the host's ES, CS, SS, DS, FS, GS and task state.
pub(super) const HOST_SELECTORS: [Field; 7] =
    [Field(0x0c00), Field(0x0c02), Field(0x0c04), Field(0x0c06), Field(0x0c08), Field(0x0c0a), Field(0x0c0c)];

/// A segment register of the guest: what to add to the encodings of the first one's fields.
#[derive(Clone, Copy)]
pub(super) struct Segment(u32);

pub(super) const ES: Segment = Segment(0);
pub(super) const CS: Segment = Segment(2);
pub(super) const SS: Segment = Segment(4);
pub(super) const DS: Segment = Segment(6);
pub(super) const FS: Segment = Segment(8);
pub(super) const GS: Segment = Segment(10);
/// Local descriptor table.
pub(super) const LDTR: Segment = Segment(12);
/// Task register.
pub(super) const TR: Segment = Segment(14);

/// Access rights of the stack segment.
pub(super) const SS_RIGHTS: Field = SS.rights();

impl Field {
    /// The field's encoding, for assembly.
    pub(super) const fn encoding(self) -> u32 {
        self.0
    }
}

impl Segment {
    const fn selector(self) -> Field {
        Field(0x0800 + self.0)
    }

    const fn limit(self) -> Field {
        Field(0x4800 + self.0)
    }

    const fn rights(self) -> Field {
        Field(0x4814 + self.0)
    }

    const fn base(self) -> Field {
        Field(0x6806 + self.0)
    }
}

/// Base and limit of the guest's descriptor tables: global, interrupt.
const TABLES: [(Field, Field); 2] = [(Field(0x6816), Field(0x4810)), (Field(0x6818), Field(0x4812))];

/// The control structure that is current on this CPU.
#[derive(Clone, Copy)]
pub(super) struct Vmcs(());

impl Vmcs {
    /// The current control structure.
    ///
    /// # Safety
    /// There is one. Whoever writes a field of the host's state writes what is true for this CPU.
    pub(super) const unsafe fn current() -> Self {
        Self(())
    }

    pub(super) fn get(self, field: Field) -> u64 {
        // SAFETY: there is a current control structure.
        unsafe { vmread(field.0) }
    }

    pub(super) fn get32(self, field: Field) -> u32 {
        self.get(field) as u32
    }

    pub(super) fn set(self, field: Field, value: u64) {
        // SAFETY: there is a current control structure, and the host's part of it stays true.
        unsafe { vmwrite(field.0, value) }
    }

    pub(super) fn set32(self, field: Field, value: u32) {
        self.set(field, u64::from(value));
    }

    /// Sets a segment register with base 0. `rights` are the descriptor's bits 40 to 55.
    pub(super) fn set_segment(self, register: Segment, selector: u16, rights: u32, limit: u32) {
        self.set(register.selector(), u64::from(selector));
        self.set32(register.limit(), limit);
        self.set32(register.rights(), rights);
        self.set(register.base(), 0);
    }

    /// Has the guest begin without descriptor tables.
    pub(super) fn clear_tables(self) {
        for (base, limit) in TABLES {
            self.set(base, 0);
            self.set(limit, 0);
        }
    }
}
