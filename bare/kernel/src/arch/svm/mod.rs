//! AMD's virtualisation extension (AMD APM volume 2, chapter 15).

use core::num::NonZeroUsize;

use palisade_abi::crash::Reason;
use palisade_abi::layout::MAX_SUBJECTS;
use palisade_abi::needs::Feature;
use palisade_abi::plan::{Cpu, Subject, subject_flags, trap};
use palisade_kernel_core::exit::{Exit, Trap};

use self::vmcb::Vmcb;
use super::processor::{self, read_msr, write_msr};
use super::registers::Registers;
use super::tables::CpuData;
use super::virtualisation::Virtualisation;
use crate::memory::PlanMemory;

mod entry;
mod exit;
mod vmcb;

/// SVM, enabled on this CPU.
pub(crate) struct Svm {
    memory: PlanMemory<'static>,
    host_state: u64,
    asids: Asids,
}

/// Address space identifiers. Identifier 0 is the host's. A processor can have fewer than there are subjects; then some share
/// one, and translations cached for the one are flushed before another runs.
struct Asids {
    /// Identifiers from 1 to this are used; at least 1.
    count: NonZeroUsize,
    /// For each identifier, the subject that ran with it last.
    users: [usize; MAX_SUBJECTS],
    /// The TLB control that flushes an identifier's translations; where the processor cannot do that alone, those of all.
    flush: u64,
}

impl Asids {
    fn new() -> Self {
        let [_, announced, _, features] = processor::cpuid(SVM_FEATURES, 0);
        let count = NonZeroUsize::new((announced as usize).saturating_sub(1).min(MAX_SUBJECTS))
            .unwrap_or(NonZeroUsize::MIN);
        let flush = if features & FLUSH_BY_ASID != 0 { TLB_FLUSH_ONE } else { TLB_FLUSH_ALL };
        Self { count, users: [usize::MAX; MAX_SUBJECTS], flush }
    }

    /// Has the next run of subject `index` begin without cached translations.
    fn forget(&mut self, index: usize) {
        for user in self.users.iter_mut().filter(|user| **user == index) {
            *user = usize::MAX;
        }
    }

    /// The control block's word for a run of subject `index`: its identifier, and whether its translations are flushed.
    fn for_run(&mut self, index: usize) -> u64 {
        let identifier = index % self.count;
        let user = &mut self.users[identifier & (MAX_SUBJECTS - 1)];
        let flush = if *user == index { 0 } else { self.flush };
        *user = index;
        (identifier as u64 + 1) | flush
    }
}

impl Svm {
    fn classify(&mut self, subject: &Subject, vmcb: &Vmcb) -> Exit {
        let code = vmcb.get(vmcb::EXIT_CODE);
        let (info1, info2) = (vmcb.get(vmcb::EXIT_INFO_1), vmcb.get(vmcb::EXIT_INFO_2));
        let stop = |kind, address, info| Exit::Trap(Trap { kind, address, info, code });
        match code {
            // NMI and SMI reach the host when it sets GIF; an NMI ends in the kernel's exception handler.
            exit::INTERRUPT | exit::NMI | exit::SMI | exit::INIT => Exit::Interrupt,
            exit::VMMCALL if ring0(vmcb) => Exit::Hypercall(vmcb.get(vmcb::RAX)),
            exit::VMMCALL => undefined_instruction(subject, vmcb, code),
            exit::EXCEPTION_UD => self.undefined_or_vmcall(subject, vmcb, code),
            exit::EXCEPTION_MC => Exit::Fatal(Reason::MachineCheck, code),
            exit::EXCEPTION_PF => stop(PAGE_FAULT, info2, info1),
            exit::EXCEPTION_FIRST..=exit::EXCEPTION_LAST => stop(exit::trap_kind(code), 0, info1),
            exit::CPUID => Exit::Cpuid,
            exit::PAUSE => Exit::Pause,
            exit::HLT if vmcb.get(vmcb::RFLAGS) & RFLAGS_IF != 0 => Exit::Halt,
            exit::XSETBV => {
                let r = self.registers(subject);
                Exit::SetExtendedState(r.rcx as u32, r.rdx << 32 | r.rax & 0xffff_ffff)
            }
            exit::IO => stop(trap::IO_PORT, info1 >> 16 & 0xffff, info1 & 1),
            exit::MSR => {
                let number = self.registers(subject).rcx & 0xffff_ffff;
                stop(if info1 & 1 == 0 { trap::MSR_READ } else { trap::MSR_WRITE }, number, info1 & 1)
            }
            exit::NESTED_FAULT if info1 & NESTED_WALK != 0 => stop(trap::PAGE_TABLE, info2, info1 & 0x1f),
            exit::NESTED_FAULT => stop(trap::MEMORY, info2, info1 & 0x1f),
            exit::CR_WRITE_FIRST..=exit::CR_WRITE_LAST => stop(trap::CONTROL_REGISTER, code & 0xf, 1),
            exit::DR_READ_FIRST..=exit::DR_WRITE_LAST => {
                stop(trap::DEBUG_REGISTER, code & 0xf, code >> 4 & 1)
            }
            _ => stop(exit::trap_kind(code), 0, info1),
        }
    }

    /// `vmcall` is Intel's hypercall: on this processor it raises #UD. Unikernels use it all the same.
    fn undefined_or_vmcall(&self, subject: &Subject, vmcb: &Vmcb, code: u64) -> Exit {
        let bytes = self.memory.code_bytes(subject, vmcb.get(vmcb::RIP));
        if ring0(vmcb) && bytes == Some(VMCALL) {
            return Exit::Hypercall(vmcb.get(vmcb::RAX));
        }
        undefined_instruction(subject, vmcb, code)
    }
}

impl Virtualisation for Svm {
    const KEEPS_TIME: bool = false;

    fn exists() -> bool {
        processor::cpuid(0x8000_0001, 0)[2] & 1 << 2 != 0
    }

    fn missing_feature() -> Option<&'static str> {
        let [_, identifiers, _, features] = processor::cpuid(SVM_FEATURES, 0);
        if features & 1 == 0 {
            return Some(Feature::NestedPaging.words());
        }
        if identifiers < 2 {
            return Some("address space identifiers (SVM ASIDs)");
        }
        // SAFETY: the register exists wherever CPUID announces SVM.
        let disabled = unsafe { read_msr(VM_CR) } & VM_CR_SVM_DISABLED != 0;
        disabled.then_some("SVM (AMD-V): the firmware has disabled it")
    }

    unsafe fn enable(
        cpu: &Cpu,
        data: *const CpuData,
        memory: PlanMemory<'static>,
    ) -> Result<Self, &'static str> {
        if let Some(missing) = Self::missing_feature() {
            return Err(missing);
        }
        let host_state = CpuData::host_state(data);
        // SAFETY: SVM exists; the host save area and the page for host state are this CPU's own.
        unsafe {
            write_msr(EFER, read_msr(EFER) | EFER_SVME);
            write_msr(VM_HSAVE_PA, cpu.host_area);
            core::arch::asm!("vmsave rax", in("rax") host_state, options(nostack, preserves_flags));
        }
        Ok(Self { memory, host_state, asids: Asids::new() })
    }

    fn reset(&mut self, subject: &Subject, index: usize, generation: u64) {
        *self.registers(subject) = Registers::initial(subject.rdi, generation);
        self.asids.forget(index);
        let vmcb = control(subject);
        vmcb.clear();
        set_intercepts(&vmcb, subject);
        vmcb.set(vmcb::IOPM, subject.iopm);
        vmcb.set(vmcb::MSRPM, subject.msrpm);
        vmcb.set(vmcb::VIRTUAL_INTERRUPT, V_INTR_MASKING);
        vmcb.set(vmcb::NESTED_PAGING, 1);
        vmcb.set(vmcb::NESTED_ROOT, subject.npt_root);
        set_initial_state(&vmcb, subject);
    }

    fn registers(&mut self, subject: &Subject) -> &mut Registers {
        // SAFETY: the page is the kernel's, belongs to this subject alone, and is written only here and by `svm_run`, which
        // does not run while the reference lives: both need `self` exclusively.
        unsafe { &mut *PlanMemory::registers(subject) }
    }

    fn skip_instruction(&mut self, subject: &Subject, exit: &Exit) {
        let length = match exit {
            Exit::Hypercall(_) | Exit::SetExtendedState(..) => 3,
            Exit::Halt => 1,
            _ => 2,
        };
        let vmcb = control(subject);
        vmcb.set(vmcb::RIP, vmcb.get(vmcb::RIP).wrapping_add(length));
        vmcb.set(vmcb::INTERRUPT_SHADOW, 0);
    }

    // A virtual interrupt (V_IRQ) is exact in every mode of QEMU, an injected one is not; and it needs no window: the
    // processor delivers it as soon as the subject's own flag allows.
    fn offer_interrupt(&mut self, subject: &Subject, vector: Option<u8>) {
        let control = match vector {
            Some(vector) => V_INTR_MASKING | V_IRQ | V_IGN_TPR | V_PRIORITY | u64::from(vector) << 32,
            None => V_INTR_MASKING,
        };
        self::control(subject).set(vmcb::VIRTUAL_INTERRUPT, control);
    }

    fn interrupt_was_taken(&mut self, subject: &Subject) -> bool {
        control(subject).get(vmcb::VIRTUAL_INTERRUPT) & V_IRQ == 0
    }

    fn position(&mut self, subject: &Subject) -> (u64, u64) {
        let vmcb = control(subject);
        (vmcb.get(vmcb::RIP), vmcb.get(vmcb::RSP))
    }

    fn run(&mut self, subject: &Subject, index: usize, _: u64) -> Exit {
        let vmcb = control(subject);
        vmcb.set(vmcb::ASID_AND_TLB, self.asids.for_run(index));
        vmcb.set(vmcb::RAX, self.registers(subject).rax);
        // SAFETY: the control block and the registers are this subject's, prepared by `reset`; SVM is enabled.
        unsafe { entry::svm_run(PlanMemory::registers(subject), subject.control, self.host_state) };
        self.registers(subject).rax = vmcb.get(vmcb::RAX);
        // An event whose delivery the exit cut short (EXITINTINFO) is not delivered again: only nested faults, intercepted
        // exceptions and task switches do that, and each of them stops the subject.
        vmcb.set(vmcb::EVENT_INJECTION, 0);
        self.classify(subject, &vmcb)
    }
}

fn control(subject: &Subject) -> Vmcb {
    Vmcb::new(PlanMemory::control(subject))
}

fn ring0(vmcb: &Vmcb) -> bool {
    vmcb.get32(vmcb::CPL) >> 24 == 0
}

/// #UD goes where the subject's exceptions go.
fn undefined_instruction(subject: &Subject, vmcb: &Vmcb, code: u64) -> Exit {
    if subject.flags & subject_flags::KERNEL_EXCEPTIONS != 0 {
        return Exit::Trap(Trap { kind: INVALID_OPCODE, address: 0, info: 0, code });
    }
    vmcb.set(vmcb::EVENT_INJECTION, EVENT_VALID | EVENT_EXCEPTION | u64::from(INVALID_OPCODE));
    Exit::Resume
}

fn set_intercepts(vmcb: &Vmcb, subject: &Subject) {
    vmcb.set32(vmcb::INTERCEPT_CR, 0xfffb_0000); // all writes but CR2, which is the subject's own
    vmcb.set32(vmcb::INTERCEPT_DR, 0xffff_ffff);
    // #UD may be a hypercall. #DB and #AC can be nested by a subject so that the processor never comes out of
    // delivering them; #MC is the machine's.
    let exceptions = if subject.flags & subject_flags::KERNEL_EXCEPTIONS == 0 {
        1 << 1 | 1 << INVALID_OPCODE | 1 << 17 | 1 << 18
    } else {
        !(1 << 2)
    };
    vmcb.set32(vmcb::INTERCEPT_EXCEPTIONS, exceptions);
    vmcb.set32(vmcb::INTERCEPT_1, INTERCEPT_1);
    vmcb.set32(vmcb::INTERCEPT_2, INTERCEPT_2);
    vmcb.set32(vmcb::INTERCEPT_3, INTERCEPT_3);
}

fn set_initial_state(vmcb: &Vmcb, subject: &Subject) {
    const CODE: u16 = 0xa9b; // present, execute/read, accessed, 64-bit
    const DATA: u16 = 0xc93; // present, read/write, accessed, 32-bit, 4 KiB granularity
    const TASK: u16 = 0x08b; // present, busy 64-bit task state
    const TABLE: u16 = 0x082; // present, local descriptor table
    vmcb.set_segment(vmcb::CS, 0x08, CODE, u32::MAX, 0);
    for register in [vmcb::SS, vmcb::DS, vmcb::ES] {
        vmcb.set_segment(register, 0x10, DATA, u32::MAX, 0);
    }
    for register in [vmcb::FS, vmcb::GS] {
        vmcb.set_segment(register, 0, DATA, u32::MAX, 0);
    }
    vmcb.set_segment(vmcb::GDTR, 0, 0, 0, 0);
    vmcb.set_segment(vmcb::IDTR, 0, 0, 0, 0);
    vmcb.set_segment(vmcb::LDTR, 0, TABLE, 0, 0);
    vmcb.set_segment(vmcb::TR, 0, TASK, 0, 0);
    vmcb.set(vmcb::EFER, 0x1d00); // SVME (which `vmrun` demands), NXE, LMA, LME
    vmcb.set(vmcb::CR0, 0x8001_0033); // PG, WP, NE, ET, MP, PE
    vmcb.set(vmcb::CR3, subject.guest_root);
    // OSXSAVE, OSXMMEXCPT, OSFXSR, MCE, PAE. Without MCE a hardware error would look like a triple fault of the subject.
    vmcb.set(vmcb::CR4, 0x4_0660);
    vmcb.set(vmcb::DR6, 0xffff_0ff0);
    vmcb.set(vmcb::DR7, 0x400);
    vmcb.set(vmcb::RFLAGS, 2);
    vmcb.set(vmcb::RIP, subject.rip);
    vmcb.set(vmcb::RSP, subject.rsp);
    vmcb.set(vmcb::PAT, 0x0007_0406_0007_0406);
}

const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];
const INVALID_OPCODE: u8 = 6;
const PAGE_FAULT: u8 = 14;
const RFLAGS_IF: u64 = 1 << 9;
const NESTED_WALK: u64 = 1 << 33;
const TLB_FLUSH_ALL: u64 = 1 << 32;
const TLB_FLUSH_ONE: u64 = 3 << 32;
const FLUSH_BY_ASID: u32 = 1 << 6;
const V_IRQ: u64 = 1 << 8;
const V_PRIORITY: u64 = 0xf << 16;
const V_IGN_TPR: u64 = 1 << 20;
const V_INTR_MASKING: u64 = 1 << 24;
const EVENT_VALID: u64 = 1 << 31;
const EVENT_EXCEPTION: u64 = 3 << 8;
// INTR, NMI, SMI, INIT; RDPMC, CPUID, RSM, INVD, PAUSE, HLT, INVLPGA; I/O and MSR maps; task switch, shutdown.
const INTERCEPT_1: u32 = 0xf
    | 1 << 15
    | 1 << 18
    | 1 << 19
    | 1 << 22
    | 1 << 23
    | 1 << 24
    | 1 << 26
    | 1 << 27
    | 1 << 28
    | 1 << 29
    | 1 << 31;
// VMRUN to SKINIT, ICEBP, WBINVD, MONITOR, MWAIT (both), XSETBV, RDPRU. RDTSCP reads the clock and a register that is zero.
const INTERCEPT_2: u32 = 0x7f | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14;
// INVLPGB (both), INVPCID, MCOMMIT, TLBSYNC.
const INTERCEPT_3: u32 = 0x1f;

const EFER: u32 = 0xc000_0080;
const EFER_SVME: u64 = 1 << 12;
const SVM_FEATURES: u32 = 0x8000_000a;
const VM_CR: u32 = 0xc001_0114;
const VM_CR_SVM_DISABLED: u64 = 1 << 4;
const VM_HSAVE_PA: u32 = 0xc001_0117;
