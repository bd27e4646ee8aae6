//! The plan: everything the kernel knows about its system, as data next to it in the image.
//!
//! A plan is one page-aligned blob. It begins with a [`Header`], which names the place of each table; a table is an array
//! of records of one kind. Records refer to each other by index into a table. The builder writes the plan; the kernel
//! reads it in place, after [`Plan::parse`] has checked every index and bound once; the verifier reads it on its own.
//!
//! Physical addresses are below 4 GiB in this version of the format. A field for an address that a system does not have
//! is zero. Fields that belong to features the kernel does not have yet (pin interrupts, devices with I/O ports) are part of
//! the format from the start, so that those features change no layout.

#![forbid(unsafe_code)]

mod reader;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use self::reader::{Plan, PlanError, name, padded, slice};
use crate::layout::{MAX_NAME, PAGE};

/// First eight bytes of a plan: `PALPLAN1`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PALPLAN1");
/// The version of the format that this crate describes.
pub const VERSION: u32 = 2;
/// An index that refers to nothing.
pub const NONE: u16 = 0xffff;

/// The tables of a plan, in the order of [`Header::tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Table {
    /// [`Cpu`], one per CPU; index 0 is the boot CPU.
    Cpus = 0,
    /// [`Frame`]: the minor frames of each CPU's major frame.
    Frames = 1,
    /// [`Partition`].
    Partitions = 2,
    /// [`Group`].
    Groups = 3,
    /// `u16` subject identifiers: the members of the groups.
    Members = 4,
    /// [`Subject`], indexed by the subject's identifier.
    Subjects = 5,
    /// [`SourceEvent`], 64 for each subject in the order of the subjects.
    SourceEvents = 6,
    /// [`TargetEvent`], 64 for each subject in the order of the subjects.
    TargetEvents = 7,
    /// [`CpuidLeaf`].
    Cpuid = 8,
    /// [`CodeRange`]: where a subject's instructions lie.
    Code = 9,
    /// [`MemoryRange`]: memory that the loader's map must call available. With several CPUs
    /// [`CPU_START`](crate::layout::CPU_START) is in it.
    Ram = 10,
    /// [`MemoryRange`]: memory that the kernel clears at boot.
    Clear = 11,
    /// [`PortWrite`]: the writes that power the machine off, in order.
    PowerOff = 12,
    /// [`PortWrite`]: the writes that reset the machine, in order.
    Reset = 13,
    /// [`Interrupt`]: device interrupts and whose they are.
    Interrupts = 14,
    /// [`Device`]: PCI devices.
    Devices = 15,
    /// [`Bar`]: their base address registers.
    Bars = 16,
    /// [`MsixEntry`].
    MsixEntries = 17,
    /// [`Iommu`].
    Iommus = 18,
}

/// How many tables a plan has.
pub const TABLES: usize = 19;

/// Place of a table in the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TableRef {
    /// Bytes from the start of the plan; a multiple of 8.
    pub offset: u32,
    /// Number of records.
    pub count: u32,
}

/// The beginning of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of this header.
    pub header_size: u32,
    /// Bytes of the whole plan.
    pub total_size: u64,
    /// [`checksum`] of everything from byte 32 to the end of the plan.
    pub checksum: u64,
    /// First byte of the loaded image (the kernel's first byte).
    pub image_start: u64,
    /// First byte after the loaded image.
    pub image_end: u64,
    /// First byte after the kernel; the plan begins on the next page boundary.
    pub kernel_end: u64,
    /// The report page.
    pub report: u64,
    /// The crash record (one page, outside the image and outside every table of memory to clear).
    pub crash_record: u64,
    /// Physical address of the local APIC's registers.
    pub local_apic: u64,
    /// What a fatal kernel condition does after its crash record is written: a [`FatalAction`].
    pub on_fatal: u32,
    /// I/O port of a debug console that takes bytes, or 0.
    pub debug_port: u16,
    /// I/O port of the ACPI power management timer (24 or 32 bits, 3.579545 MHz), or 0: the PIT is used then.
    pub pm_timer_port: u16,
    /// Length of the major frame in microseconds.
    pub major_frame_us: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the system, padded with NUL.
    pub name: [u8; 32],
    /// Place of each table.
    pub tables: [TableRef; TABLES],
}

/// What the kernel does after a fatal condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FatalAction {
    /// Halts every CPU.
    Halt = 0,
    /// Resets the machine.
    Reset = 1,
    /// Powers the machine off.
    PowerOff = 2,
}

/// A CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Cpu {
    /// Its local APIC identifier.
    pub apic_id: u32,
    /// First of its minor frames in [`Table::Frames`].
    pub first_frame: u16,
    /// Number of its minor frames.
    pub frames: u16,
    /// Root of the kernel's page tables on this CPU.
    pub kernel_root: u64,
    /// First byte above its kernel stack ([`crate::layout::CPU_STACK_SIZE`] bytes).
    pub stack_top: u64,
    /// Its private kernel data ([`crate::layout::CPU_DATA_SIZE`] bytes, cleared at boot).
    pub data: u64,
    /// One page for the processor's virtualisation extension: SVM host save area, or VMXON region.
    pub host_area: u64,
}

/// A minor frame: a slice of a CPU's time that belongs to one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Frame {
    /// When it ends, in microseconds after the start of the major frame.
    pub end_us: u32,
    /// Index of the partition it belongs to.
    pub partition: u16,
    /// Zero.
    pub reserved: u16,
}

/// A scheduling partition: groups that share minor frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Partition {
    /// First of its groups in [`Table::Groups`].
    pub first_group: u16,
    /// Number of its groups; at least 1.
    pub groups: u16,
    /// CPU it runs on.
    pub cpu: u16,
    /// Zero.
    pub reserved: u16,
    /// Physical address of its scheduling-info page.
    pub scheduling_info: u64,
}

/// A scheduling group: subjects of which one is active at a time; a handover makes another one active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Group {
    /// First of its members in [`Table::Members`]. The first member is active at the start.
    pub first_member: u16,
    /// Number of its members; at least 1.
    pub members: u16,
}

/// A subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Subject {
    /// Its name, padded with NUL.
    pub name: [u8; MAX_NAME + 1],
    /// CPU it runs on.
    pub cpu: u16,
    /// Its partition.
    pub partition: u16,
    /// Its group.
    pub group: u16,
    /// Bits of [`subject_flags`].
    pub flags: u16,
    /// First of its CPUID leaves in [`Table::Cpuid`].
    pub first_cpuid: u16,
    /// Number of its CPUID leaves.
    pub cpuids: u16,
    /// First of its code ranges in [`Table::Code`].
    pub first_code: u16,
    /// Number of its code ranges.
    pub codes: u16,
    /// Kernel memory: saved registers (one page, cleared at boot).
    pub state: u64,
    /// Kernel memory: XSAVE area (one page, cleared at boot).
    pub xsave: u64,
    /// Kernel memory: VMCB or VMCS (one page, cleared at boot).
    pub control: u64,
    /// Root of its guest page tables: a guest-physical address.
    pub guest_root: u64,
    /// AMD: root of its nested page tables.
    pub npt_root: u64,
    /// AMD: I/O permission map (3 pages).
    pub iopm: u64,
    /// AMD: MSR permission map (2 pages).
    pub msrpm: u64,
    /// Intel: root of its extended page tables.
    pub ept_root: u64,
    /// Intel: I/O bitmaps A and B (2 pages).
    pub io_bitmaps: u64,
    /// Intel: MSR bitmap (1 page).
    pub msr_bitmap: u64,
    /// Physical address of its subject-info region.
    pub subject_info: u64,
    /// Physical address of its timed-event page, or 0.
    pub timed_event: u64,
    /// Initial instruction pointer (the init stub, or the program itself).
    pub rip: u64,
    /// Initial stack pointer.
    pub rsp: u64,
    /// Initial RDI: guest address of the boot info.
    pub rdi: u64,
    /// Physical address of its boot info, of which the kernel fills in the CPU frequency.
    pub boot_info: u64,
    /// Extended state it may use, as bits of XCR0 (x87 and SSE always among them).
    pub xcr0: u64,
    /// For each [`trap`]: the source event to raise after the subject was stopped, or 0xff.
    pub trap_events: [u8; trap::COUNT],
}

/// Flags of a subject.
pub mod subject_flags {
    /// Exceptions go to the kernel, which stops the subject; otherwise the subject's own handlers take them.
    pub const KERNEL_EXCEPTIONS: u16 = 1 << 0;
    /// The subject starts at boot; otherwise a reset event starts it.
    pub const AUTOSTART: u16 = 1 << 1;
}

/// Why a subject was stopped: vendor-neutral numbers of traps.
///
/// 0..=31 are the processor's exceptions.
pub mod trap {
    /// Number of trap kinds; the size of a subject's trap table.
    pub const COUNT: usize = 64;
    /// A triple fault.
    pub const TRIPLE_FAULT: u8 = 32;
    /// An I/O port the subject does not own.
    pub const IO_PORT: u8 = 33;
    /// Reading an MSR the subject may not read.
    pub const MSR_READ: u8 = 34;
    /// Writing an MSR the subject may not write.
    pub const MSR_WRITE: u8 = 35;
    /// Guest-physical memory the subject does not have, or not with this right.
    pub const MEMORY: u8 = 36;
    /// Guest page tables that lie outside the subject's memory.
    pub const PAGE_TABLE: u8 = 37;
    /// Writing a control register.
    pub const CONTROL_REGISTER: u8 = 38;
    /// Accessing a debug register.
    pub const DEBUG_REGISTER: u8 = 39;
    /// A virtualisation instruction.
    pub const VIRTUALISATION: u8 = 40;
    /// An instruction that is not a subject's business: `wbinvd`, `invd`, `monitor`, `mwait`, `rdpmc`, `rsm`.
    pub const FORBIDDEN_INSTRUCTION: u8 = 41;
    /// `xsetbv` with a value the subject may not set.
    pub const EXTENDED_STATE: u8 = 42;
    /// A task switch.
    pub const TASK_SWITCH: u8 = 43;
    /// The subject executed `hlt` with interrupts disabled. Not a fault: a unikernel ends this way.
    pub const HALT: u8 = 44;
    /// The processor refused the subject's state.
    pub const INVALID_STATE: u8 = 45;
    /// An exit the kernel does not know.
    pub const UNKNOWN: u8 = 46;
    /// The subject executed `pause`. Not a fault, and the subject is not stopped: its event says that it may have written
    /// something, for unikernels that tell nobody.
    pub const PAUSE: u8 = 47;
    /// A system call of Linux that the subject may not make. Only where a process hosts the subject.
    pub const SYSTEM_CALL: u8 = 48;
    /// Killed from outside, by the signal that stands as address. Only where a process hosts the subject.
    pub const KILLED: u8 = 49;
    /// An exception while another one was handled. Only where a process hosts the subject; a kernel sees a triple fault.
    pub const UNHANDLED: u8 = 50;
    /// It could not be started, with the error of Linux that stands as address, or 0. Only where a process hosts the subject.
    pub const NOT_STARTED: u8 = 51;
}

/// What raising a source event does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SourceEvent {
    /// A [`source_action`]. `UNDEFINED` makes the whole event do nothing.
    pub action: u8,
    /// Bits of [`source_flags`].
    pub flags: u8,
    /// Subject whose target event is signalled, or [`NONE`].
    pub target: u16,
    /// Number of that target event, 0..=63.
    pub target_event: u8,
    /// Zero.
    pub reserved: u8,
    /// With the action `START_DEVICE`: index into [`Table::Devices`].
    pub device: u16,
}

/// Actions of source events on the subject that raises them, or on the machine.
pub mod source_action {
    /// The event is not defined: raising it does nothing.
    pub const UNDEFINED: u8 = 0;
    /// No action of its own.
    pub const NONE: u8 = 1;
    /// Sleep until an event, a timed event or an interrupt.
    pub const SLEEP: u8 = 2;
    /// Give the rest of the minor frame to the next group.
    pub const YIELD: u8 = 3;
    /// Reset the machine.
    pub const SYSTEM_RESET: u8 = 4;
    /// Power the machine off.
    pub const SYSTEM_POWER_OFF: u8 = 5;
    /// Stop the system with a crash record.
    pub const SYSTEM_PANIC: u8 = 6;
    /// Let a device of the raiser's reach memory (bus master on). It is stopped again before its subject is reset.
    pub const START_DEVICE: u8 = 7;
    /// The largest action.
    pub const LAST: u8 = START_DEVICE;
}

/// Flags of source events.
pub mod source_flags {
    /// The target runs next, in place of the raiser (both are members of one group).
    pub const HANDOVER: u8 = 1 << 0;
    /// The target's CPU is another one, and gets an inter-processor interrupt.
    pub const IPI: u8 = 1 << 1;
}

/// What an event does to the subject it arrives at. Arrival always sets the subject's wake token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TargetEvent {
    /// A [`target_action`].
    pub action: u8,
    /// With the action `INJECT_INTERRUPT`: the vector, 32..=255.
    pub vector: u8,
}

/// Actions of target events.
pub mod target_action {
    /// The event is not defined: nobody may signal it.
    pub const UNDEFINED: u8 = 0;
    /// Wakes the subject, and nothing else.
    pub const NONE: u8 = 1;
    /// Makes an interrupt pending.
    pub const INJECT_INTERRUPT: u8 = 2;
    /// Puts the subject back into its initial state and starts it.
    pub const RESET: u8 = 3;
    /// The largest action.
    pub const LAST: u8 = RESET;
}

/// What a subject sees of a CPUID leaf: (the hardware's value AND the mask) OR the fixed bits. Leaves that no record names
/// read as zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CpuidLeaf {
    /// EAX input.
    pub leaf: u32,
    /// ECX input, or [`CpuidLeaf::ANY_SUBLEAF`].
    pub subleaf: u32,
    /// Masks for EAX, EBX, ECX, EDX.
    pub mask: [u32; 4],
    /// Bits set in EAX, EBX, ECX, EDX whatever the hardware says.
    pub fixed: [u32; 4],
}

impl CpuidLeaf {
    /// The leaf does not depend on ECX.
    pub const ANY_SUBLEAF: u32 = u32::MAX;
}

/// Where instructions of a subject lie (guest-virtual and physical), for decoding `vmcall`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CodeRange {
    /// Guest-virtual address.
    pub virt: u64,
    /// Bytes.
    pub size: u64,
    /// Physical address.
    pub phys: u64,
}

/// A range of physical memory; both fields are multiples of the page size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

/// A write to an I/O port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortWrite {
    /// The port.
    pub port: u16,
    /// Bytes to write: 1, 2 or 4.
    pub width: u16,
    /// The value.
    pub value: u32,
}

/// A device interrupt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Interrupt {
    /// Vector on the host CPU, 0x30..=0xef.
    pub host_vector: u8,
    /// Vector injected into the subject, 32..=255, or 0: the interrupt wakes it, and nothing else.
    pub guest_vector: u8,
    /// Subject it belongs to.
    pub subject: u16,
    /// Index of a unit of the IOMMU, or [`NONE`].
    pub iommu: u16,
    /// Index of its entry in the interrupt remapping table, 0..=255: its device's own table (AMD), or that of all units (Intel).
    /// 0 without an IOMMU.
    pub remap_index: u16,
    /// I/O APIC input pin, or [`NONE`] for a message-signalled interrupt.
    pub pin: u16,
    /// Bits: 0 = level-triggered, 1 = active low.
    pub mode: u16,
    /// Zero.
    pub reserved: u32,
}

impl Interrupt {
    /// The largest local APIC identifier that a device's message can name, remapped or not: 255 is every CPU (Intel SDM volume 3,
    /// 11.11.1).
    pub const LAST_APIC_ID: u32 = 254;
}

/// A PCI device and its subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Device {
    /// Its name in the machine's description, padded with NUL.
    pub name: [u8; MAX_NAME + 1],
    /// Bus (8 bits), device (5), function (3).
    pub bdf: u16,
    /// PCI vendor identifier expected there.
    pub vendor: u16,
    /// PCI device identifier expected there.
    pub device: u16,
    /// Subject that owns it.
    pub subject: u16,
    /// First of its BARs in [`Table::Bars`].
    pub first_bar: u16,
    /// Number of its BARs.
    pub bars: u16,
    /// First of its MSI-X entries in [`Table::MsixEntries`].
    pub first_msix: u16,
    /// Number of its MSI-X entries.
    pub msix: u16,
    /// Physical address of its configuration page.
    pub config: u64,
    /// How it is stopped before its subject is reset: bits of [`device_stop`].
    pub stop: u32,
    /// Zero.
    pub reserved: u32,
}

/// How a device is stopped.
pub mod device_stop {
    /// Its bus mastering is turned off: it reaches no memory and raises no message-signalled interrupt.
    pub const BUS_MASTER: u32 = 1 << 0;
    /// It gets a function-level reset.
    pub const FUNCTION_RESET: u32 = 1 << 1;
    /// Every bit.
    pub const ALL: u32 = BUS_MASTER | FUNCTION_RESET;
}

/// A base address register of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bar {
    /// Address the register must have when the subject starts.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Index of the register, 0..=5.
    pub index: u8,
    /// Bits of [`bar_flags`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Flags of a base address register.
pub mod bar_flags {
    /// It has 64 bits: the next register holds the upper half.
    pub const WIDE: u8 = 1 << 0;
    /// What it addresses is prefetchable.
    pub const PREFETCHABLE: u8 = 1 << 1;
    /// It addresses I/O ports.
    pub const PORTS: u8 = 1 << 2;
    /// The kernel may move it to [`Bar::address`](super::Bar::address); otherwise it must be there already.
    pub const MOVABLE: u8 = 1 << 3;
    /// Every bit.
    pub const ALL: u8 = WIDE | PREFETCHABLE | PORTS | MOVABLE;
}

/// An entry of a device's MSI-X table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MsixEntry {
    /// Physical address of the entry.
    pub address: u64,
    /// Index into [`Table::Interrupts`].
    pub interrupt: u16,
    /// Zero.
    pub reserved: [u16; 3],
}

/// A unit of the machine's IOMMU. Every device of the machine is behind one of them; all are of one kind and use the same tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Iommu {
    /// An [`iommu_kind`].
    pub kind: u32,
    /// Bytes of the device table, whole pages: 32 for each function of the first buses (AMD), or one page (Intel).
    pub device_table_size: u32,
    /// Physical address of its registers.
    pub registers: u64,
    /// Device table (AMD) or root table (Intel).
    pub device_table: u64,
    /// Intel: interrupt remapping table (one page). AMD: 0, for each device has its own.
    pub interrupt_table: u64,
    /// Kernel memory: one page for commands, one for AMD's event log. The kernel clears it before it turns the unit on, and it is in
    /// no table of memory to clear: there may be reports in it by then.
    pub queues: u64,
}

impl Iommu {
    /// Bytes of its [`queues`](Self::queues).
    pub const QUEUES_SIZE: u64 = 2 * PAGE;

    /// Bytes of its registers that the kernel uses, whole pages.
    #[must_use]
    pub const fn registers_size(&self) -> u64 {
        iommu_kind::registers_size(self.kind)
    }
}

/// Kinds of IOMMUs.
pub mod iommu_kind {
    use crate::layout::PAGE;

    /// AMD-Vi.
    pub const AMD: u32 = 1;
    /// Intel VT-d, with tables in the legacy format.
    pub const INTEL: u32 = 2;

    /// Bytes of the registers of a unit of this kind that the kernel uses, whole pages.
    #[must_use]
    pub const fn registers_size(kind: u32) -> u64 {
        if kind == AMD { 4 * PAGE } else { PAGE }
    }
}

/// Checksum of a plan: 64-bit FNV-1a over the little-endian words of `bytes`; a last partial word is padded with zeros.
///
/// It detects a damaged or truncated load. It is no protection against an attacker.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x100_0000_01b3);
    }
    hash
}

/// First byte of a plan that its checksum covers.
pub const CHECKSUM_START: usize = 32;
