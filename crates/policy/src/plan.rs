//! The plan as the host sees it: every subject, region, channel, event and slice of time, with its place.
//!
//! Two kinds of memory exist. *Volatile* memory has no content in the image: the allocator gives it its physical
//! address, from the top of the machine's memory downwards. *Content* (programs, tables, configuration) is part of the
//! image: the packer lays it out from [`palisade_abi::layout::IMAGE_BASE`] upwards, behind the kernel. The packer
//! refuses when the two meet.

use std::sync::Arc;

use palisade_abi::plan::iommu_kind;

/// A completely allocated system.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the system; becomes the image's file name.
    pub name: String,
    /// The machine it is made for.
    pub machine: Machine,
    /// How the machine is powered off: the port writes chosen by the policy.
    pub power_off: Vec<PortWrite>,
    /// What a fatal kernel condition does.
    pub on_fatal: palisade_abi::plan::FatalAction,
    /// CPUs in use; index 0 is the boot CPU.
    pub cpus: Vec<Cpu>,
    /// Scheduling partitions.
    pub partitions: Vec<Partition>,
    /// Subjects; the index is the subject's identifier.
    pub subjects: Vec<Subject>,
    /// Shared-memory channels.
    pub channels: Vec<Channel>,
    /// PCI devices in use; the index is the device's number.
    pub devices: Vec<Device>,
    /// Length of the major frame in microseconds.
    pub major_frame_us: u32,
    /// The report page (volatile; cleared at boot).
    pub report: u64,
    /// The crash record (volatile; never cleared).
    pub crash_record: u64,
    /// The queues of the IOMMU's units, one behind the other (volatile; cleared when they are turned on), or 0 if the machine has
    /// none.
    pub iommu_queues: u64,
    /// Every volatile range with its owner, for the map file; sorted by address, no overlap.
    pub volatile: Vec<VolatileRange>,
}

/// What a machine offers.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name, such as `qemu-q35`.
    pub name: String,
    /// Installed memory in bytes.
    pub memory: u64,
    /// Usable physical memory: (start, size), sorted.
    pub usable: Vec<(u64, u64)>,
    /// Number of CPUs.
    pub cpus: u16,
    /// Local APIC identifiers of the CPUs.
    pub apic_ids: Vec<u32>,
    /// Physical address of the local APIC.
    pub local_apic: u64,
    /// I/O port of a debug console, if there is one.
    pub debug_port: Option<u16>,
    /// I/O port of the ACPI power-management timer, if there is one.
    pub pm_timer_port: Option<u16>,
    /// Port writes that reset it.
    pub reset: Vec<PortWrite>,
    /// First I/O port of the serial port that the log uses.
    pub serial_port: u16,
    /// Its IOMMU, if it has one.
    pub iommu: Option<Iommu>,
    /// Its PCI bus, if the file describes one.
    pub pci: Option<Pci>,
    /// Its PCI devices.
    pub devices: Vec<MachineDevice>,
}

/// An IOMMU: every device of the machine is behind one of its units, and all of them use the same tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iommu {
    /// Its kind.
    pub kind: IommuKind,
    /// Physical address of each unit's registers; at least one.
    pub registers: Vec<u64>,
    /// PCI buses behind it, from bus 0 on.
    pub buses: u16,
}

/// The kinds of IOMMUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IommuKind {
    /// AMD-Vi.
    Amd,
    /// Intel VT-d.
    Intel,
}

impl IommuKind {
    /// Its number in plans: an [`iommu_kind`].
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Amd => iommu_kind::AMD,
            Self::Intel => iommu_kind::INTEL,
        }
    }
}

/// A PCI bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pci {
    /// Physical address of the memory-mapped configuration space of bus 0 (ECAM).
    pub config: u64,
    /// Physical addresses among which base addresses may be placed: (first, bytes).
    pub window: (u64, u64),
}

/// A PCI device that a machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineDevice {
    /// Its name in the machine file: `net0`.
    pub name: String,
    /// What drives it.
    pub driver: Driver,
    /// Bus (8 bits), device (5), function (3).
    pub bdf: u16,
    /// PCI vendor identifier.
    pub vendor: u16,
    /// PCI device identifier.
    pub device: u16,
    /// Its base address registers for memory.
    pub bars: Vec<Bar>,
    /// Where its MSI-X table is, if it has one.
    pub msix: Option<Msix>,
}

/// A kind of device, by who drives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A virtio network card, version 1: driven by `nic`.
    VirtioNet,
}

/// A base address register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Its index, 0..=5.
    pub index: u8,
    /// Physical address that it gets.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Whether it has 64 bits.
    pub wide: bool,
    /// Whether what it addresses is prefetchable.
    pub prefetchable: bool,
}

/// A table of message-signalled interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msix {
    /// Index of the base address register that addresses it.
    pub bar: u8,
    /// Bytes from there to the table.
    pub offset: u64,
    /// Number of its entries.
    pub entries: u16,
}

/// A write to an I/O port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortWrite {
    /// The port.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub width: u16,
    /// The value.
    pub value: u32,
}

/// A CPU in use.
#[derive(Debug, Clone)]
pub struct Cpu {
    /// Its local APIC identifier.
    pub apic_id: u32,
    /// Its minor frames, in order: (end in microseconds after the start of the major frame, partition).
    pub frames: Vec<(u32, u16)>,
    /// Volatile: bottom of its kernel stack (`CPU_STACK_SIZE` bytes; one page below is left unused as a guard).
    pub stack: u64,
    /// Volatile: its kernel data (`CPU_DATA_SIZE` bytes).
    pub data: u64,
    /// Volatile: host save area (one page).
    pub host_area: u64,
}

/// A scheduling partition.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// CPU it runs on.
    pub cpu: u16,
    /// Its groups; each is a list of subject identifiers, the first active at the start.
    pub groups: Vec<Vec<u16>>,
    /// Volatile: its scheduling-info page (cleared at boot; written by the kernel).
    pub scheduling_info: u64,
}

/// What a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// The time server.
    Time,
    /// The log server.
    Log,
    /// The supervisor.
    Supervisor,
    /// The network driver and switch.
    Nic,
    /// An application subject.
    Unikernel,
}

/// A subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SubjectKind,
    /// Where its program came from, for messages and the map.
    pub program: String,
    /// Solo5 ABI version of the program's note (target muen).
    pub abi_version: u32,
    /// Layout of its subject info.
    pub info_version: InfoVersion,
    /// Whether the program carries the Palisade note: it reports status and sleeps on events.
    pub native: bool,
    /// CPU it runs on.
    pub cpu: u16,
    /// Partition it belongs to.
    pub partition: u16,
    /// Index of its group over all partitions' groups in order.
    pub group: u16,
    /// Whether it starts at boot.
    pub autostart: bool,
    /// Who takes its exceptions.
    pub exceptions: Exceptions,
    /// Everything it can reach, sorted by guest address, no overlap. Guest-virtual equals guest-physical.
    pub regions: Vec<Region>,
    /// Contents of its subject info, in order.
    pub resources: Vec<Resource>,
    /// Initial RIP: the init stub.
    pub entry: u64,
    /// Initial RSP.
    pub stack_pointer: u64,
    /// End of its RAM: `mem_size` of the boot info.
    pub ram_end: u64,
    /// Last byte of its program (`kernel_end` of the boot info).
    pub program_last: u64,
    /// Its command line, without NUL.
    pub command_line: String,
    /// Source events by number.
    pub source_events: Vec<SourceEvent>,
    /// Target events by number.
    pub target_events: Vec<TargetEvent>,
    /// Source event raised when a fault stops it (every trap but the halt), if any.
    pub on_fault: Option<u8>,
    /// Source event raised when it halts, if any.
    pub on_halt: Option<u8>,
    /// Source event raised each time it executes `pause`, if any.
    pub on_pause: Option<u8>,
    /// I/O ports it may use: (first, count).
    pub ports: Vec<(u16, u16)>,
    /// MSRs beyond the FS and GS bases that it may read and write.
    pub msrs: Vec<u32>,
    /// XCR0 bits it may set.
    pub xcr0: u64,
    /// Volatile kernel memory: register state (one page).
    pub state: u64,
    /// Volatile kernel memory: XSAVE area (one page).
    pub xsave: u64,
    /// Volatile kernel memory: VMCB or VMCS (one page).
    pub control: u64,
}

/// Versions of the subject-info layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InfoVersion {
    /// Magic 03.
    V03,
    /// Magic 04.
    V04,
    /// Magic 05.
    V05,
}

/// Who takes a subject's exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceptions {
    /// Its own handlers.
    Guest,
    /// The kernel: the subject is stopped and reported.
    Kernel,
}

/// A mapped range of a subject's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// What it is, for the map: `text`, `ram`, `channel debuglog`, ...
    pub name: String,
    /// Guest address (virtual and physical); a multiple of the page size.
    pub address: u64,
    /// Bytes; a multiple of the page size, not 0.
    pub size: u64,
    /// Rights.
    pub rights: Rights,
    /// What lies behind it.
    pub backing: Backing,
}

/// Rights of a region. Everything mapped is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// What lies behind a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// Volatile memory at this physical address.
    Volatile(u64),
    /// Registers of a device at this physical address: mapped uncached, and no memory.
    Device(u64),
    /// These bytes, part of the image; shorter than the region means padded with zeros. Equal `Arc`s are stored once.
    Content(Arc<[u8]>),
    /// The subject's own subject info, made by the packer.
    SubjectInfo,
    /// The subject's own boot info and command line, made by the packer.
    BootInfo,
}

/// An entry of the subject info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Name, at most 63 bytes.
    pub name: String,
    /// Data.
    pub data: ResourceData,
}

/// Data of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceData {
    /// A memory region of this subject, by its guest address. The packer takes size, rights and content hash from it.
    Memory {
        /// Memory kind (0..=19, abi of subject info 05; the packer translates for older versions).
        kind: u8,
        /// Guest address.
        address: u64,
        /// Bytes.
        size: u64,
        /// Whether the subject may write it.
        writable: bool,
        /// Whether the subject may execute it.
        executable: bool,
    },
    /// A source event's number.
    Event(u8),
    /// An interrupt vector's number.
    Vector(u8),
}

/// A source event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEvent {
    /// Number, 0..=63.
    pub number: u8,
    /// Name in the subject info.
    pub name: String,
    /// A [`palisade_abi::plan::source_action`].
    pub action: u8,
    /// Subject and target event it signals.
    pub target: Option<(u16, u8)>,
    /// With the action `START_DEVICE`: the device.
    pub device: Option<u16>,
    /// Whether the target runs next in place of the raiser.
    pub handover: bool,
}

/// A target event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEvent {
    /// Number, 0..=63.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// A [`palisade_abi::plan::target_action`].
    pub action: u8,
    /// Vector to inject, if the action is that.
    pub vector: u8,
}

/// A channel.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name in the system.
    pub name: String,
    /// Writer: subject and guest address.
    pub writer: (u16, u64),
    /// Reader: subject and guest address.
    pub reader: (u16, u64),
    /// Bytes.
    pub size: u64,
    /// Physical address (volatile, cleared at boot).
    pub phys: u64,
}

/// A PCI device and its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The machine's device.
    pub hardware: MachineDevice,
    /// Subject that owns it.
    pub subject: u16,
    /// Physical address of its configuration page.
    pub config: u64,
    /// Its message-signalled interrupts: the entry of its MSI-X table is the index.
    pub interrupts: Vec<DeviceInterrupt>,
    /// Memory that it shares with its subject: (guest address, physical address, bytes). Behind an IOMMU the device
    /// reaches it by the guest address and reaches nothing else; without one it can reach all memory, by physical addresses.
    pub dma: Vec<(u64, u64, u64)>,
}

/// An interrupt of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInterrupt {
    /// Vector on the CPU, 0x30..=0xef.
    pub host_vector: u8,
    /// Vector injected into the subject, or 0 if the interrupt only wakes it.
    pub guest_vector: u8,
}

/// A range of volatile memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolatileRange {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What it is for: `hello: ram`, `kernel: stack of CPU 0`.
    pub owner: String,
    /// Whether the kernel clears it at boot. What an init stub restores, or must survive a reset, is not cleared.
    pub clear: bool,
}
