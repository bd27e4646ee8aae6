//! Notes as statics of a program.
//!
//! Each is placed with `#[link_section]` in a section whose name begins with `.note`, in a note segment of its own.

use core::mem::size_of;

use zerocopy::{Immutable, IntoBytes};

use super::{
    ABI_SIZE, ABI_TYPE, DeviceKind, ENTRY_SIZE, ENTRY_TYPE, HEADER_SIZE, MANIFEST_TYPE, MANIFEST_VERSION,
    MAX_ENTRIES, PALISADE_SIZE, PALISADE_TYPE, PALISADE_VERSION, RESERVED_ENTRY, Target,
};
use crate::layout::PAGE;

/// The note that names the ABI a unikernel is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct AbiNote {
    header: Solo5Header,
    target: u32,
    version: u32,
    reserved: [u32; 2],
}

impl AbiNote {
    /// The note for this version of the target `muen`.
    #[must_use]
    pub const fn muen(version: u32) -> Self {
        let header = Solo5Header::new(ABI_TYPE, ABI_SIZE);
        Self { header, target: Target::Muen as u32, version, reserved: [0; 2] }
    }
}

/// The note with a unikernel's manifest of `N` devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct ManifestNote<const N: usize> {
    start: ManifestStart,
    devices: [Entry; N],
}

impl<const N: usize> ManifestNote<N> {
    /// The note for these devices. The handle of a device is its index plus 1.
    ///
    /// # Panics
    /// A name is empty or too long, or there are too many devices: in a static, compilation fails.
    #[must_use]
    pub const fn new(devices: [(&str, DeviceKind); N]) -> Self {
        assert!(N < MAX_ENTRIES as usize, "a manifest has at most 63 devices");
        let mut entries = [Entry::new("", RESERVED_ENTRY); N];
        let mut index = 0;
        while index < N {
            let (name, kind) = devices[index];
            assert!(!name.is_empty(), "a device needs a name");
            entries[index] = Entry::new(name, kind as u32);
            index += 1;
        }
        let start = ManifestStart {
            header: Solo5Header::new(MANIFEST_TYPE, size_of::<Self>() - size_of::<Solo5Header>()),
            padding: 0,
            version: MANIFEST_VERSION,
            entries: N as u32 + 1,
            reserved: Entry::new("", RESERVED_ENTRY),
        };
        Self { start, devices: entries }
    }

    /// The bytes of the note.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        self.start.as_bytes().iter().chain(self.devices.as_bytes()).copied()
    }
}

/// The note of a native program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct PalisadeNote {
    name_size: u32,
    size: u32,
    kind: u32,
    name: [u8; 12],
    version: u32,
    stack_size: u32,
    reserved: [u32; 2],
}

impl PalisadeNote {
    /// The note of a program that wants a guarded stack of this many bytes.
    ///
    /// # Panics
    /// The size is 0 or no multiple of the page size: in a static, compilation fails.
    #[must_use]
    pub const fn new(stack_size: u32) -> Self {
        assert!(stack_size != 0 && stack_size.is_multiple_of(PAGE as u32), "a stack consists of whole pages");
        Self {
            name_size: 9,
            size: PALISADE_SIZE as u32,
            kind: PALISADE_TYPE,
            name: *b"Palisade\0\0\0\0",
            version: PALISADE_VERSION,
            stack_size,
            reserved: [0; 2],
        }
    }
}

/// The header of a note of Solo5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
struct Solo5Header {
    name_size: u32,
    size: u32,
    kind: u32,
    name: [u8; 8],
}

impl Solo5Header {
    const fn new(kind: u32, size: usize) -> Self {
        Self { name_size: 6, size: size as u32, kind, name: *b"Solo5\0\0\0" }
    }
}

/// A manifest note up to its first device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
struct ManifestStart {
    header: Solo5Header,
    /// Aligns the manifest; the size in the header counts it.
    padding: u32,
    version: u32,
    entries: u32,
    reserved: Entry,
}

/// An entry of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
struct Entry {
    name: [u8; ENTRY_TYPE],
    kind: u32,
    /// Properties, place for the host's own data, and mark of being attached: all filled in at run time.
    state: [u32; 8],
}

impl Entry {
    const fn new(name: &str, kind: u32) -> Self {
        let (from, mut to) = (name.as_bytes(), [0; ENTRY_TYPE]);
        assert!(from.len() < to.len(), "a device's name has at most 67 bytes");
        let mut index = 0;
        while index < from.len() {
            to[index] = from[index];
            index += 1;
        }
        Self { name: to, kind, state: [0; 8] }
    }
}

const _: () = {
    assert!(size_of::<Solo5Header>() == HEADER_SIZE + 8 && size_of::<Entry>() == ENTRY_SIZE);
    assert!(size_of::<AbiNote>() == 36 && size_of::<PalisadeNote>() == 40);
    assert!(size_of::<ManifestNote<2>>() == 32 + 3 * ENTRY_SIZE);
};
