//! ELF notes of a program: the Solo5 ABI it was built for, its manifest, and whether it is a native one.
//!
//! [`ProgramNotes`] reads them from the note segments of a program. [`AbiNote`], [`ManifestNote`] and [`PalisadeNote`] are
//! the notes themselves, to be put into a program as statics.

#![forbid(unsafe_code)]

mod embed;

pub use self::embed::{AbiNote, ManifestNote, PalisadeNote};

/// What the notes of a program say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProgramNotes<'a> {
    /// The Solo5 ABI, if the program is a unikernel.
    pub abi: Option<Abi>,
    /// The manifest, if the program is a unikernel.
    pub manifest: Option<Manifest<'a>>,
    /// What a native program asks for.
    pub palisade: Option<Palisade>,
}

impl<'a> ProgramNotes<'a> {
    /// Adds the notes of one note segment. Notes of other owners are skipped.
    ///
    /// # Errors
    /// A note is damaged, or there for the second time.
    pub fn add(&mut self, segment: &'a [u8]) -> Result<(), NoteError> {
        for note in Notes::new(segment) {
            let note = note?;
            match (note.owner, note.kind) {
                (SOLO5, ABI_TYPE) => once(&mut self.abi, Abi::parse(note.contents)?, ABI_TYPE)?,
                (SOLO5, MANIFEST_TYPE) => {
                    once(&mut self.manifest, Manifest::parse(note.contents)?, MANIFEST_TYPE)?;
                }
                (PALISADE, PALISADE_TYPE) => {
                    once(&mut self.palisade, Palisade::parse(note.contents)?, PALISADE_TYPE)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The Solo5 ABI of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi {
    /// A [`Target`]'s number.
    pub target: u32,
    /// Version of the ABI of that target.
    pub version: u32,
}

impl Abi {
    fn parse(contents: &[u8]) -> Result<Self, NoteError> {
        match (word(contents, 0), word(contents, 4)) {
            (Some(target), Some(version)) if contents.len() == ABI_SIZE => Ok(Self { target, version }),
            _ => Err(NoteError::Size { kind: ABI_TYPE, size: contents.len() }),
        }
    }
}

/// What Solo5 unikernels are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Target {
    /// A virtual machine of KVM, FreeBSD or OpenBSD.
    Hvt = 1,
    /// A sandboxed Linux process.
    Spt = 2,
    /// A virtual machine with virtio devices.
    Virtio = 3,
    /// A separation kernel: the only target that runs here.
    Muen = 4,
    /// Genode.
    Genode = 5,
    /// Xen.
    Xen = 6,
}

impl Target {
    /// The target with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Hvt, Self::Spt, Self::Virtio, Self::Muen, Self::Genode, Self::Xen]
            .into_iter()
            .find(|t| *t as u32 == number)
    }

    /// Its name, as file names end with it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hvt => "hvt",
            Self::Spt => "spt",
            Self::Virtio => "virtio",
            Self::Muen => "muen",
            Self::Genode => "genode",
            Self::Xen => "xen",
        }
    }
}

/// What a native program asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palisade {
    /// Bytes of its guarded stack; a multiple of the page size, not 0.
    pub stack_size: u32,
}

impl Palisade {
    fn parse(contents: &[u8]) -> Result<Self, NoteError> {
        match (word(contents, 0), word(contents, 4)) {
            (Some(PALISADE_VERSION), Some(stack_size)) if contents.len() == PALISADE_SIZE => {
                let whole_pages = stack_size != 0 && stack_size.is_multiple_of(crate::layout::PAGE as u32);
                if whole_pages { Ok(Self { stack_size }) } else { Err(NoteError::StackSize(stack_size)) }
            }
            (Some(version), _) if version != PALISADE_VERSION => {
                Err(NoteError::Version { kind: PALISADE_TYPE, version })
            }
            _ => Err(NoteError::Size { kind: PALISADE_TYPE, size: contents.len() }),
        }
    }
}

/// The manifest of a unikernel: the devices it wants. Everything in it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// The entries but the reserved first one.
    devices: &'a [[u8; ENTRY_SIZE]],
}

/// A device that a unikernel wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device<'a> {
    /// Its handle: the index of its manifest entry, from 1 on.
    pub handle: usize,
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub kind: DeviceKind,
}

/// Kinds of devices in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceKind {
    /// A block device.
    Block = 1,
    /// A network device.
    Network = 2,
}

impl<'a> Manifest<'a> {
    /// The devices, in the order of their handles.
    pub fn devices(&self) -> impl Iterator<Item = Device<'a>> + use<'a> {
        self.devices.iter().zip(1..).filter_map(|(entry, handle)| device(entry, handle).ok())
    }

    fn parse(contents: &'a [u8]) -> Result<Self, NoteError> {
        let size = NoteError::Size { kind: MANIFEST_TYPE, size: contents.len() };
        // Four bytes of padding align the manifest; the size of the note counts them.
        let manifest = contents.get(4..).ok_or(size)?;
        let (version, count) = (word(manifest, 0).ok_or(size)?, word(manifest, 4).ok_or(size)?);
        if version != MANIFEST_VERSION {
            return Err(NoteError::Version { kind: MANIFEST_TYPE, version });
        }
        let (entries, rest) = manifest.get(8..).ok_or(size)?.as_chunks::<ENTRY_SIZE>();
        if !(1..=MAX_ENTRIES).contains(&count) {
            return Err(NoteError::EntryCount(count));
        }
        if entries.len() != count as usize || !rest.is_empty() {
            return Err(size);
        }
        let (reserved, devices) = entries.split_first().ok_or(size)?;
        if word(reserved, ENTRY_TYPE) != Some(RESERVED_ENTRY) || reserved.first() != Some(&0) {
            return Err(NoteError::FirstEntry);
        }
        for (entry, handle) in devices.iter().zip(1..) {
            let name = device(entry, handle)?.name;
            let earlier = devices.iter().take(handle - 1).zip(1..);
            if let Some((_, first)) =
                earlier.into_iter().find(|(e, h)| device(e, *h).is_ok_and(|d| d.name == name))
            {
                return Err(NoteError::DuplicateDevice { first, second: handle });
            }
        }
        Ok(Self { devices })
    }
}

fn device(entry: &[u8; ENTRY_SIZE], handle: usize) -> Result<Device<'_>, NoteError> {
    let name = entry.get(..ENTRY_TYPE).unwrap_or(&[]);
    let name = name
        .iter()
        .position(|b| *b == 0)
        .and_then(|end| name.get(..end))
        .and_then(|n| core::str::from_utf8(n).ok())
        .filter(|n| !n.is_empty())
        .ok_or(NoteError::DeviceName(handle))?;
    let kind = match word(entry, ENTRY_TYPE) {
        Some(1) => DeviceKind::Block,
        Some(2) => DeviceKind::Network,
        kind => return Err(NoteError::DeviceKind { handle, kind: kind.unwrap_or(0) }),
    };
    match entry.get(ENTRY_ATTACHED) {
        Some(0) => Ok(Device { handle, name, kind }),
        _ => Err(NoteError::Attached(handle)),
    }
}

/// The notes of one segment, whoever owns them. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Notes<'a> {
    rest: &'a [u8],
}

/// A note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note<'a> {
    /// Name of the owner, without its final NUL.
    pub owner: &'a [u8],
    /// The owner's number for this kind of note.
    pub kind: u32,
    /// Its contents.
    pub contents: &'a [u8],
}

impl<'a> Notes<'a> {
    /// The notes of the segment with these bytes.
    #[must_use]
    pub const fn new(segment: &'a [u8]) -> Self {
        Self { rest: segment }
    }

    fn take(&mut self) -> Option<Note<'a>> {
        let (name_size, size, kind) = (word(self.rest, 0)?, word(self.rest, 4)?, word(self.rest, 8)?);
        let name = self.rest.get(HEADER_SIZE..)?.get(..name_size as usize)?;
        let contents_start = HEADER_SIZE.checked_add(padded(name_size as usize))?;
        let contents = self.rest.get(contents_start..)?.get(..size as usize)?;
        let end = contents_start.checked_add(padded(size as usize))?;
        // The padding behind the last note may be missing.
        self.rest = self.rest.get(end..).unwrap_or(&[]);
        Some(Note { owner: name.strip_suffix(&[0]).unwrap_or(name), kind, contents })
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Result<Note<'a>, NoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Zeros align the segment's end, and notes from sections with a larger alignment.
        while let Some((&[0, 0, 0, 0], rest)) = self.rest.split_first_chunk::<4>() {
            self.rest = rest;
        }
        if self.rest.iter().all(|b| *b == 0) {
            return None;
        }
        let note = self.take().ok_or(NoteError::CutOff);
        if note.is_err() {
            self.rest = &[];
        }
        Some(note)
    }
}

/// Why the notes of a program cannot be used. `kind` is the number of the kind of note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteError {
    /// A note reaches beyond its segment.
    CutOff,
    /// A note has contents of the wrong size.
    Size {
        /// The kind of note.
        kind: u32,
        /// Bytes of its contents.
        size: usize,
    },
    /// A note has a version that is not known.
    Version {
        /// The kind of note.
        kind: u32,
        /// Its version.
        version: u32,
    },
    /// A note is there twice.
    Twice {
        /// The kind of note.
        kind: u32,
    },
    /// The stack size is no multiple of the page size, or 0.
    StackSize(u32),
    /// The manifest has no entries, or more than 64.
    EntryCount(u32),
    /// The first entry of the manifest is not the reserved one.
    FirstEntry,
    /// The device with this handle has an empty name, one that does not end, or one that is not UTF-8.
    DeviceName(usize),
    /// A device is of a kind that is not known.
    DeviceKind {
        /// Handle of the device.
        handle: usize,
        /// The number of its kind.
        kind: u32,
    },
    /// The device with this handle is marked as attached already.
    Attached(usize),
    /// Two devices have the same name.
    DuplicateDevice {
        /// Handle of the first one.
        first: usize,
        /// Handle of the second one.
        second: usize,
    },
}

fn once<T>(place: &mut Option<T>, value: T, kind: u32) -> Result<(), NoteError> {
    if place.replace(value).is_some() { Err(NoteError::Twice { kind }) } else { Ok(()) }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Rounds up to a multiple of 4; sizes are 32-bit, so it cannot overflow.
const fn padded(size: usize) -> usize {
    (size + 3) & !3
}

/// Kind of the Solo5 note with the ABI: `ABI1`.
pub const ABI_TYPE: u32 = u32::from_le_bytes(*b"ABI1");
/// Kind of the Solo5 note with the manifest: `MFT1`.
pub const MANIFEST_TYPE: u32 = u32::from_le_bytes(*b"MFT1");
/// Kind of the note of native programs.
pub const PALISADE_TYPE: u32 = 1;

const SOLO5: &[u8] = b"Solo5";
const PALISADE: &[u8] = b"Palisade";
const HEADER_SIZE: usize = 12;
const ABI_SIZE: usize = 16;
const PALISADE_SIZE: usize = 16;
const PALISADE_VERSION: u32 = 1;
const MANIFEST_VERSION: u32 = 1;
const MAX_ENTRIES: u32 = 64;
const ENTRY_SIZE: usize = 104;
/// Offset of an entry's type, and bytes of its name.
const ENTRY_TYPE: usize = 68;
/// Offset of an entry's mark that the device is attached.
const ENTRY_ATTACHED: usize = 96;
const RESERVED_ENTRY: u32 = 1 << 30;

#[cfg(test)]
mod tests;
