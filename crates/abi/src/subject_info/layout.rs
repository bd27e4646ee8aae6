//! The bytes of a subject info: structures without padding or alignment, and their meaning.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    Content, Data, Device, DeviceMemory, DevicePort, MAX_NAME, MAX_RESOURCES, MemoryKind, MemoryResource,
    ResetMethod, Resource, ResourceKind, Version,
};
use crate::layout::SUBJECT_INFO_SIZE;

/// The beginning of a subject info of any version.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: U64,
    pub(super) tsc_khz: U32,
    pub(super) name: RawName,
    /// The resource count and a byte of padding; which comes first depends on the version.
    tail: [u8; 3],
}

impl Header {
    pub(super) fn new(version: Version, name: RawName, tsc_khz: u32) -> Self {
        Self { magic: U64::new(version.magic()), tsc_khz: U32::new(tsc_khz), name, tail: [0; 3] }
    }

    pub(super) fn resource_count(&self, version: Version) -> u16 {
        let [a, b, c] = self.tail;
        match version {
            Version::V03 | Version::V04 => u16::from_le_bytes([a, b]),
            Version::V05 => u16::from_le_bytes([b, c]),
        }
    }

    pub(super) fn set_resource_count(&mut self, version: Version, count: u16) {
        let [low, high] = count.to_le_bytes();
        self.tail = match version {
            Version::V03 | Version::V04 => [low, high, 0],
            Version::V05 => [0, low, high],
        };
    }
}

/// A name with its length, and NUL after its last possible byte.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawName {
    length: u8,
    bytes: [u8; MAX_NAME],
    nul: u8,
}

impl RawName {
    /// `None` if the name is too long.
    pub(super) fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; MAX_NAME];
        for (to, from) in bytes.get_mut(..name.len())?.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Some(Self { length: u8::try_from(name.len()).ok()?, bytes, nul: 0 })
    }

    /// `None` if the length is too large or the name is not UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        core::str::from_utf8(self.bytes.get(..usize::from(self.length))?).ok()
    }
}

/// A resource.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawResource {
    /// An enumeration of C, and as wide as one: 32 bits, of which the upper 24 are zero.
    kind: [u8; 4],
    name: RawName,
    padding: [u8; 3],
    data: [u8; DATA_SIZE],
}

impl RawResource {
    /// `None` if this version cannot express the data.
    pub(super) fn new(version: Version, name: RawName, data: &Data) -> Option<Self> {
        Some(Self {
            kind: u32::from(data.kind() as u8).to_le_bytes(),
            name,
            padding: [0; 3],
            data: match *data {
                Data::Memory(memory) => padded(&RawMemory::new(version, &memory)?),
                Data::Event(number) | Data::Vector(number) => padded(&number),
                Data::Device(device) => padded(&RawDevice::new(version, &device)?),
                Data::DeviceMemory(memory) => padded(&RawDeviceMemory::new(version, &memory)?),
                Data::DevicePort(port) => padded(&RawDevicePort::new(version, &port)?),
            },
        })
    }

    /// `None` if there is none in this version.
    pub(super) fn meaning(&self, version: Version) -> Option<Resource<'_>> {
        let [number, ..] = self.data;
        let data = match ResourceKind::from_number(u32::from_le_bytes(self.kind).try_into().ok()?)? {
            ResourceKind::Memory => Data::Memory(prefix::<RawMemory>(&self.data)?.meaning(version)?),
            ResourceKind::Event => Data::Event(number),
            ResourceKind::Vector => Data::Vector(number),
            ResourceKind::Device => Data::Device(prefix::<RawDevice>(&self.data)?.meaning(version)?),
            ResourceKind::DeviceMemory => {
                Data::DeviceMemory(prefix::<RawDeviceMemory>(&self.data)?.meaning(version)?)
            }
            ResourceKind::DevicePort => {
                Data::DevicePort(prefix::<RawDevicePort>(&self.data)?.meaning(version)?)
            }
        };
        Some(Resource { name: self.name.text()?, data })
    }
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawMemory {
    kind: u8,
    content: u8,
    flags: u8,
    pattern: U16,
    padding: [u8; 3],
    address: U64,
    size: U64,
    hash: [u8; 32],
}

impl RawMemory {
    fn new(version: Version, memory: &MemoryResource) -> Option<Self> {
        let (content, pattern) = match memory.content {
            Content::Uninitialized => (0, NO_PATTERN),
            Content::Fill(byte) => (1, u16::from(byte)),
            Content::File => (2, NO_PATTERN),
        };
        Some(Self {
            kind: memory.kind.number(version)?,
            content,
            flags: flag(memory.writable, MEMORY_WRITABLE) | flag(memory.executable, MEMORY_EXECUTABLE),
            pattern: U16::new(pattern),
            padding: [0; 3],
            address: U64::new(memory.address),
            size: U64::new(memory.size),
            hash: memory.hash,
        })
    }

    fn meaning(&self, version: Version) -> Option<MemoryResource> {
        Some(MemoryResource {
            kind: MemoryKind::from_number(version, self.kind)?,
            content: match self.content {
                0 => Content::Uninitialized,
                1 => Content::Fill(u8::try_from(self.pattern.get()).ok()?),
                2 => Content::File,
                _ => return None,
            },
            writable: self.flags & MEMORY_WRITABLE != 0,
            executable: self.flags & MEMORY_EXECUTABLE != 0,
            address: self.address.get(),
            size: self.size.get(),
            hash: self.hash,
        })
    }
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDevice {
    sid: U16,
    vendor: U16,
    device: U16,
    class: U16,
    irte_start: U16,
    irq_start: u8,
    irq_count: u8,
    flags: u8,
    reset: u8,
}

impl RawDevice {
    fn new(version: Version, device: &Device) -> Option<Self> {
        has_devices(version)?;
        Some(Self {
            sid: U16::new(device.sid),
            vendor: U16::new(device.vendor),
            device: U16::new(device.device),
            class: U16::new(device.class),
            irte_start: U16::new(device.irte_start),
            irq_start: device.irq_start,
            irq_count: device.irq_count,
            flags: flag(device.msi, DEVICE_MSI),
            reset: device.reset as u8,
        })
    }

    fn meaning(&self, version: Version) -> Option<Device> {
        has_devices(version)?;
        Some(Device {
            sid: self.sid.get(),
            vendor: self.vendor.get(),
            device: self.device.get(),
            class: self.class.get(),
            irte_start: self.irte_start.get(),
            irq_start: self.irq_start,
            irq_count: self.irq_count,
            msi: self.flags & DEVICE_MSI != 0,
            reset: ResetMethod::from_number(self.reset)?,
        })
    }
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDeviceMemory {
    sid: U16,
    flags: u8,
    bar_flags: u8,
    bar: u8,
    padding: [u8; 3],
    bar_address: U64,
    address: U64,
    size: U64,
}

impl RawDeviceMemory {
    fn new(version: Version, memory: &DeviceMemory) -> Option<Self> {
        has_devices(version)?;
        Some(Self {
            sid: U16::new(memory.sid),
            flags: flag(memory.prefetchable, BAR_PREFETCHABLE) | flag(memory.wide, BAR_64_BIT),
            bar_flags: memory.bar_flags,
            bar: memory.bar,
            padding: [0; 3],
            bar_address: U64::new(memory.bar_address),
            address: U64::new(memory.address),
            size: U64::new(memory.size),
        })
    }

    fn meaning(&self, version: Version) -> Option<DeviceMemory> {
        has_devices(version)?;
        Some(DeviceMemory {
            sid: self.sid.get(),
            prefetchable: self.flags & BAR_PREFETCHABLE != 0,
            wide: self.flags & BAR_64_BIT != 0,
            bar_flags: self.bar_flags,
            bar: self.bar,
            bar_address: self.bar_address.get(),
            address: self.address.get(),
            size: self.size.get(),
        })
    }
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawDevicePort {
    sid: U16,
    bar: u8,
    padding: u8,
    address: U16,
    size: U16,
}

impl RawDevicePort {
    fn new(version: Version, port: &DevicePort) -> Option<Self> {
        has_devices(version)?;
        let (sid, address, size) = (U16::new(port.sid), U16::new(port.address), U16::new(port.size));
        Some(Self { sid, bar: port.bar, padding: 0, address, size })
    }

    fn meaning(&self, version: Version) -> Option<DevicePort> {
        has_devices(version)?;
        let (sid, address, size) = (self.sid.get(), self.address.get(), self.size.get());
        Some(DevicePort { sid, bar: self.bar, address, size })
    }
}

/// Devices are described in version 05 only: no program made for an older one is given any.
fn has_devices(version: Version) -> Option<()> {
    (version == Version::V05).then_some(())
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn padded(data: &(impl IntoBytes + Immutable)) -> [u8; DATA_SIZE] {
    let mut out = [0; DATA_SIZE];
    for (to, from) in out.iter_mut().zip(data.as_bytes()) {
        *to = *from;
    }
    out
}

fn prefix<T: FromBytes + Immutable + KnownLayout + Unaligned>(data: &[u8]) -> Option<&T> {
    T::ref_from_prefix(data).ok().map(|(value, _)| value)
}

const DATA_SIZE: usize = 56;
/// A pattern for memory that is not filled.
const NO_PATTERN: u16 = 256;
const MEMORY_WRITABLE: u8 = 1 << 0;
const MEMORY_EXECUTABLE: u8 = 1 << 1;
const DEVICE_MSI: u8 = 1 << 0;
const BAR_PREFETCHABLE: u8 = 1 << 0;
const BAR_64_BIT: u8 = 1 << 1;

const _: () = {
    assert!(size_of::<RawName>() == 65);
    assert!(offset_of!(Header, name) == 12 && offset_of!(Header, tail) == 77 && size_of::<Header>() == 80);
    assert!(offset_of!(RawResource, data) == 72 && size_of::<RawResource>() == 128);
    assert!(offset_of!(RawMemory, address) == 8 && offset_of!(RawMemory, hash) == 24);
    assert!(size_of::<RawMemory>() == DATA_SIZE);
    assert!(size_of::<RawDevice>() == 14 && size_of::<RawDevicePort>() == 8);
    assert!(offset_of!(RawDeviceMemory, bar_address) == 8 && size_of::<RawDeviceMemory>() == 32);
    assert!(size_of::<Header>() + MAX_RESOURCES * size_of::<RawResource>() <= SUBJECT_INFO_SIZE as usize);
};
