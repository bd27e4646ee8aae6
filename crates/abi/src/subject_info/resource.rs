//! What a subject info says about a resource.

use super::Version;

/// Something a subject can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Its name; several resources of different kinds can have the same.
    pub name: &'a str,
    /// What it is.
    pub data: Data,
}

/// Kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResourceKind {
    /// A memory region.
    Memory = 1,
    /// A source event.
    Event = 2,
    /// An interrupt vector.
    Vector = 3,
    /// A PCI device.
    Device = 4,
    /// Memory of a device.
    DeviceMemory = 5,
    /// I/O ports of a device.
    DevicePort = 6,
}

impl ResourceKind {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Memory,
            2 => Self::Event,
            3 => Self::Vector,
            4 => Self::Device,
            5 => Self::DeviceMemory,
            6 => Self::DevicePort,
            _ => return None,
        })
    }
}

/// Data of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// A memory region.
    Memory(MemoryResource),
    /// The number of a source event.
    Event(u8),
    /// The number of an interrupt vector.
    Vector(u8),
    /// A PCI device.
    Device(Device),
    /// Memory of a device.
    DeviceMemory(DeviceMemory),
    /// I/O ports of a device.
    DevicePort(DevicePort),
}

impl Data {
    /// The kind of the resource.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Memory(_) => ResourceKind::Memory,
            Self::Event(_) => ResourceKind::Event,
            Self::Vector(_) => ResourceKind::Vector,
            Self::Device(_) => ResourceKind::Device,
            Self::DeviceMemory(_) => ResourceKind::DeviceMemory,
            Self::DevicePort(_) => ResourceKind::DevicePort,
        }
    }
}

/// A memory region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryResource {
    /// What it is for.
    pub kind: MemoryKind,
    /// What it contains at the start.
    pub content: Content,
    /// Whether the subject may write it.
    pub writable: bool,
    /// Whether the subject may execute it.
    pub executable: bool,
    /// Guest address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content, or zeros if it is not known.
    pub hash: [u8; 32],
}

/// What memory contains when its subject starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Nothing in particular.
    Uninitialized,
    /// This byte everywhere.
    Fill(u8),
    /// Bytes that came from a file.
    File,
}

/// What memory is for. The numbers are those of version 05.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MemoryKind {
    /// The subject's own.
    Subject = 0,
    /// Subject info.
    SubjectInfo = 1,
    /// The program.
    Binary = 2,
    /// Boot parameters of a Linux subject.
    ZeroPage = 3,
    /// Initial RAM disk of a Linux subject.
    Initrd = 4,
    /// A channel.
    Channel = 5,
    /// State of a subject.
    State = 6,
    /// Timed event.
    TimedEvent = 7,
    /// Pending interrupts.
    Interrupts = 8,
    /// Scheduling info.
    SchedulingInfo = 9,
    /// BIOS.
    Bios = 10,
    /// ACPI root pointer.
    AcpiRsdp = 11,
    /// ACPI root table.
    AcpiXsdt = 12,
    /// Fixed ACPI description table.
    AcpiFadt = 13,
    /// Differentiated ACPI description table.
    AcpiDsdt = 14,
    /// Device memory.
    Device = 15,
    /// Solo5 boot info.
    Solo5BootInfo = 16,
    /// Crash records.
    CrashAudit = 17,
    /// Device tree. Version 03 does not know it.
    DeviceTree = 18,
    /// Interface to the kernel.
    KernelInterface = 19,
}

impl MemoryKind {
    /// All kinds, in the order of their numbers in version 05.
    pub const ALL: [Self; 20] = [
        Self::Subject,
        Self::SubjectInfo,
        Self::Binary,
        Self::ZeroPage,
        Self::Initrd,
        Self::Channel,
        Self::State,
        Self::TimedEvent,
        Self::Interrupts,
        Self::SchedulingInfo,
        Self::Bios,
        Self::AcpiRsdp,
        Self::AcpiXsdt,
        Self::AcpiFadt,
        Self::AcpiDsdt,
        Self::Device,
        Self::Solo5BootInfo,
        Self::CrashAudit,
        Self::DeviceTree,
        Self::KernelInterface,
    ];

    /// The number of the kind in this version; `None` if the version does not know it.
    #[must_use]
    pub fn number(self, version: Version) -> Option<u8> {
        match (version, self) {
            (Version::V03, Self::DeviceTree) => None,
            (Version::V03, Self::KernelInterface) => Some(KERNEL_INTERFACE_V03),
            _ => Some(self as u8),
        }
    }

    /// The kind with this number in this version.
    #[must_use]
    pub fn from_number(version: Version, number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.number(version) == Some(number))
    }
}

/// A PCI device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Source identifier: bus (8 bits), device (5), function (3).
    pub sid: u16,
    /// PCI vendor.
    pub vendor: u16,
    /// PCI device.
    pub device: u16,
    /// PCI class.
    pub class: u16,
    /// First of its interrupt remapping table entries.
    pub irte_start: u16,
    /// First of its interrupts.
    pub irq_start: u8,
    /// Number of its interrupts.
    pub irq_count: u8,
    /// Whether its interrupts are messages.
    pub msi: bool,
    /// How it is reset.
    pub reset: ResetMethod,
}

/// How a PCI device is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetMethod {
    /// Not at all.
    None = 0,
    /// Function-level reset.
    Function = 1,
    /// Function-level reset of the advanced-features capability.
    AdvancedFeatures = 2,
    /// Through a power state.
    Power = 3,
    /// Reset of its bus.
    Bus = 4,
}

impl ResetMethod {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::None, Self::Function, Self::AdvancedFeatures, Self::Power, Self::Bus]
            .into_iter()
            .find(|m| *m as u8 == number)
    }
}

/// Memory of a PCI device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Source identifier of the device.
    pub sid: u16,
    /// Whether reading it has no side effects.
    pub prefetchable: bool,
    /// Whether its base address register has 64 bits.
    pub wide: bool,
    /// Flags of the base address register.
    pub bar_flags: u8,
    /// Index of the base address register.
    pub bar: u8,
    /// Address in the base address register.
    pub bar_address: u64,
    /// Guest address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

/// I/O ports of a PCI device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevicePort {
    /// Source identifier of the device.
    pub sid: u16,
    /// Index of the base address register.
    pub bar: u8,
    /// First port.
    pub address: u16,
    /// Number of ports.
    pub size: u16,
}

/// Number of the kernel interface before the device tree took it.
const KERNEL_INTERFACE_V03: u8 = 18;
