//! Intel's virtualisation extension (Intel SDM volume 3, chapters 24 to 31).
//!
//! A subject finds here what it finds on the other vendor's processors. Where the processors differ by themselves: writing
//! a control register with the value it has does nothing here and stops the subject there; an instruction that a processor
//! does not have is #UD.

use palisade_abi::crash::Reason;
use palisade_abi::plan::{Cpu, Subject, subject_flags};
use palisade_abi::volatile::Memory;
use palisade_kernel_core::exit::{Exit, Trap};
use palisade_kernel_core::vtx::controls::{self, Extension};
use palisade_kernel_core::vtx::exit::{self, Details};

use self::entry::State;
use self::setup::Host;
use self::vmcs::Vmcs;
use super::paging::PAT;
use super::processor::{self, read_msr, write_msr};
use super::registers::Registers;
use super::tables::{self, CpuData};
use super::virtualisation::Virtualisation;
use crate::memory::{Page, PlanMemory};

mod entry;
mod instructions;
mod setup;
mod vmcs;

/// VT-x, enabled on this CPU.
pub(crate) struct Vtx {
    memory: PlanMemory<'static>,
    extension: Extension,
    host: Host,
    /// Address of the current control structure; 0 if none is.
    current: u64,
}

impl Vtx {
    /// The subject's control structure, which becomes current if it is not.
    fn control(&mut self, subject: &Subject) -> Vmcs {
        if self.current != subject.control {
            // SAFETY: `reset` has prepared the page, and every subject is reset before it is first used.
            unsafe { instructions::vmptrld(subject.control) };
            self.current = subject.control;
        }
        // SAFETY: it is current now; `setup` writes the host's state.
        unsafe { Vmcs::current() }
    }

    /// A control structure in the state that `vmptrld` demands, without anything from before.
    fn new_control(&mut self, subject: &Subject) -> Vmcs {
        // SAFETY: the CPU is in VMX operation; the page is this subject's own, and the subject never leaves this CPU.
        unsafe { instructions::vmclear(subject.control) };
        self.current = 0;
        prepare(&PlanMemory::control(subject), self.extension.revision);
        // SAFETY: as above. The second time it initialises what was just written.
        unsafe { instructions::vmclear(subject.control) };
        self.control(subject)
    }

    fn state(&mut self, subject: &Subject) -> &mut State {
        // SAFETY: the page is the kernel's, belongs to this subject alone, and is written only here and by `vtx_run`, which
        // does not run while the reference lives: both need `self` exclusively.
        unsafe { &mut *PlanMemory::registers(subject).cast() }
    }

    fn classify(&mut self, subject: &Subject, vmcs: Vmcs) -> Exit {
        let registers = self.registers(subject);
        let details = Details {
            reason: vmcs.get32(vmcs::EXIT_REASON),
            qualification: vmcs.get(vmcs::QUALIFICATION),
            address: vmcs.get(vmcs::GUEST_PHYSICAL),
            event: vmcs.get32(vmcs::EXIT_EVENT),
            error_code: vmcs.get(vmcs::EXIT_ERROR_CODE),
            interrupts_enabled: vmcs.get(vmcs::RFLAGS) & RFLAGS_IF != 0,
            ring0: vmcs.get32(vmcs::SS_RIGHTS) & RIGHTS_DPL == 0,
            rax: registers.rax,
            rcx: registers.rcx,
            rdx: registers.rdx,
        };
        if details.reason == exit::EXTERNAL_INTERRUPT {
            // The exit has acknowledged it; nothing is left to call its handler.
            tables::note_taken(details.event as u8);
        }
        match exit::classify(&details) {
            Exit::Trap(trap) if trap.kind == exit::INVALID_OPCODE => {
                self.undefined_or_vmmcall(subject, vmcs, &details, trap)
            }
            exit => exit,
        }
    }

    /// `vmmcall` is AMD's hypercall: on this processor it raises #UD. A program may be built for it all the same. Any other
    /// #UD goes where the subject's exceptions go.
    fn undefined_or_vmmcall(&self, subject: &Subject, vmcs: Vmcs, details: &Details, trap: Trap) -> Exit {
        if details.ring0 && self.memory.code_bytes(subject, vmcs.get(vmcs::RIP)) == Some(VMMCALL) {
            return Exit::Hypercall(details.rax);
        }
        if subject.flags & subject_flags::KERNEL_EXCEPTIONS != 0 {
            return Exit::Trap(trap);
        }
        vmcs.set(vmcs::ENTRY_EVENT, EVENT_VALID | EVENT_EXCEPTION | u64::from(exit::INVALID_OPCODE));
        Exit::Resume
    }
}

impl Virtualisation for Vtx {
    // By the preemption timer, which counts only while a subject runs, and whatever its interrupt flag says. Bochs 2.7 does not
    // let an interrupt end the run of a subject that it entered with the flag clear.
    const KEEPS_TIME: bool = true;

    fn exists() -> bool {
        processor::cpuid(1, 0)[2] & 1 << 5 != 0
    }

    fn missing_feature() -> Option<&'static str> {
        // SAFETY: `examine` reads registers only where they exist, and CPUID announces the extension.
        Extension::examine(|number| unsafe { read_msr(number) }).err()
    }

    unsafe fn enable(
        cpu: &Cpu,
        data: *const CpuData,
        memory: PlanMemory<'static>,
    ) -> Result<Self, &'static str> {
        // SAFETY: as above.
        let extension = Extension::examine(|number| unsafe { read_msr(number) })?;
        prepare(&PlanMemory::host_area(cpu), extension.revision);
        let (cr0, cr3, cr4) = processor::control_registers();
        let (cr0, cr4) = (extension.cr0.apply(cr0), extension.cr4.apply(cr4 | CR4_VMXE));
        // SAFETY: nothing that the kernel needs is missing. The fixed bits leave paging, protection, SSE and XSAVE as they
        // are. The region is this CPU's own, and what is invalidated is only cached.
        unsafe {
            if let Some(value) = controls::permission(read_msr(controls::FEATURE_CONTROL)) {
                write_msr(controls::FEATURE_CONTROL, value);
            }
            processor::set_cr0(cr0);
            processor::set_cr4(cr4);
            instructions::vmxon(cpu.host_area);
            instructions::forget_extended_tables();
            if extension.tags_translations() {
                instructions::forget_translations(None);
            }
        }
        // SAFETY: the data is installed, and both registers exist on every 64-bit processor.
        let ((gdt, idt, task), efer, pat) =
            unsafe { (CpuData::table_addresses(data), read_msr(EFER), read_msr(PAT)) };
        let host = Host { cr0, cr3, cr4, efer, pat, gs: data as u64, gdt, idt, task };
        Ok(Self { memory, extension, host, current: 0 })
    }

    fn reset(&mut self, subject: &Subject, index: usize, generation: u64) {
        *self.state(subject) = State::initial(subject.rdi, generation);
        let vpid = index as u16 + 1; // 0 is the host's
        if self.extension.tags_translations() {
            // SAFETY: the CPU is in VMX operation, and tags are used only if they can be invalidated.
            unsafe { instructions::forget_translations(Some(vpid)) };
        }
        let vmcs = self.new_control(subject);
        setup::set_controls(vmcs, &self.extension, subject, vpid);
        setup::set_host_state(vmcs, &self.host);
        setup::set_initial_state(vmcs, &self.extension, subject);
    }

    fn registers(&mut self, subject: &Subject) -> &mut Registers {
        &mut self.state(subject).registers
    }

    fn skip_instruction(&mut self, subject: &Subject, _: &Exit) {
        let vmcs = self.control(subject);
        // The processor gives no length with an exception: that was `vmmcall`, and these very bytes.
        let exception = vmcs.get32(vmcs::EXIT_REASON) == exit::EXCEPTION;
        let length = if exception { VMMCALL.len() as u64 } else { vmcs.get(vmcs::INSTRUCTION_LENGTH) };
        vmcs.set(vmcs::RIP, vmcs.get(vmcs::RIP).wrapping_add(length));
        vmcs.set(vmcs::INTERRUPTIBILITY, vmcs.get(vmcs::INTERRUPTIBILITY) & !INTERRUPT_SHADOW);
    }

    // An interrupt is injected when the subject can take it at once. Until then the processor is told to exit as soon as it
    // can, which is `Exit::Resume`.
    fn offer_interrupt(&mut self, subject: &Subject, vector: Option<u8>) {
        let vmcs = self.control(subject);
        let mut controls = self.extension.primary;
        if let Some(vector) = vector {
            if can_take_interrupt(vmcs) {
                vmcs.set(vmcs::ENTRY_EVENT, EVENT_VALID | u64::from(vector));
            } else {
                controls |= controls::INTERRUPT_WINDOW;
            }
        }
        vmcs.set32(vmcs::PRIMARY_CONTROLS, controls);
    }

    fn interrupt_was_taken(&mut self, subject: &Subject) -> bool {
        self.control(subject).get32(vmcs::PRIMARY_CONTROLS) & controls::INTERRUPT_WINDOW == 0
    }

    fn position(&mut self, subject: &Subject) -> (u64, u64) {
        let vmcs = self.control(subject);
        (vmcs.get(vmcs::RIP), vmcs.get(vmcs::RSP))
    }

    fn run(&mut self, subject: &Subject, _: usize, until: u64) -> Exit {
        let vmcs = self.control(subject);
        let ticks = until.saturating_sub(processor::tsc());
        vmcs.set32(vmcs::PREEMPTION_TIMER, self.extension.timer_value(ticks));
        // SAFETY: the state and the control structure, which is current, are this subject's, prepared by `reset`.
        if unsafe { entry::vtx_run(self.state(subject)) } != 0 {
            return Exit::Fatal(Reason::Entry, vmcs.get(vmcs::INSTRUCTION_ERROR));
        }
        // An event whose delivery the exit cut short (IDT-vectoring information) is not delivered again: only memory
        // faults, intercepted exceptions and task switches do that, and each of them stops the subject.
        self.classify(subject, vmcs)
    }
}

/// Makes `page` one that the processor accepts for VMX operation or as a control structure.
fn prepare(page: &Page, revision: u32) {
    for offset in (0..page.size()).step_by(8) {
        page.store(offset, 0);
    }
    page.store_u32(0, revision);
}

/// Whether an interrupt can be injected: the subject lets it in, and no other event is injected already.
fn can_take_interrupt(vmcs: Vmcs) -> bool {
    vmcs.get(vmcs::RFLAGS) & RFLAGS_IF != 0
        && vmcs.get(vmcs::INTERRUPTIBILITY) & INTERRUPT_SHADOW == 0
        && vmcs.get(vmcs::ENTRY_EVENT) & EVENT_VALID == 0
}

const VMMCALL: [u8; 3] = [0x0f, 0x01, 0xd9];
const RFLAGS_IF: u64 = 1 << 9;
const RIGHTS_DPL: u32 = 3 << 5;
/// Interrupts are held back by `sti`, or by a load of the stack segment.
const INTERRUPT_SHADOW: u64 = 3;
const EVENT_VALID: u64 = 1 << 31;
const EVENT_EXCEPTION: u64 = 3 << 8;
const CR4_VMXE: u64 = 1 << 13;
const EFER: u32 = 0xc000_0080;
