//! Subject info: the page group from which a subject learns its name, its clock and everything it can reach.
//!
//! Three versions exist. They differ in a magic number, in the place of the resource count, in the numbers of two memory
//! kinds and in what they say about devices. [`SubjectInfo`] reads each of them, [`Builder`] writes each of them; between
//! the two everything is plain Rust.

#![forbid(unsafe_code)]

mod builder;
mod layout;
mod resource;

use core::mem::size_of;

use zerocopy::FromBytes;

pub use self::builder::{BuildError, Builder};
use self::layout::{Header, RawResource};
pub use self::resource::{
    Content, Data, Device, DeviceMemory, DevicePort, MemoryKind, MemoryResource, ResetMethod, Resource,
    ResourceKind,
};

/// Most resources of a subject.
pub const MAX_RESOURCES: usize = 255;
/// Most bytes of the name of a subject or a resource.
pub const MAX_NAME: usize = 63;
/// Offset of the frequency of the time-stamp counter, a `u32` in kHz that the kernel fills in at boot.
pub const TSC_KHZ_OFFSET: usize = 8;

/// A version of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 03, of Solo5 ABI versions 2 and 3.
    V03,
    /// 04, of Solo5 ABI version 3 since late 2025.
    V04,
    /// 05, of Solo5 ABI version 4.
    V05,
}

impl Version {
    /// All versions, the oldest first.
    pub const ALL: [Self; 3] = [Self::V03, Self::V04, Self::V05];

    /// The number at the start of a subject info of this version.
    #[must_use]
    pub const fn magic(self) -> u64 {
        match self {
            Self::V03 => 0x0300_6f66_6e69_756d,
            Self::V04 => 0x0400_6f66_6e69_756d,
            Self::V05 => 0x0500_6f66_6e69_756d,
        }
    }

    /// The version with this number.
    #[must_use]
    pub fn from_magic(magic: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.magic() == magic)
    }

    /// The version that a program with this Solo5 ABI version (of target muen) expects.
    ///
    /// ABI version 3 stands for two of them. Such a program compares the magic number with a constant in its own code, so
    /// the constant occurs in one of its `segments`.
    ///
    /// # Errors
    /// The ABI version is not known, or the program has none of the constants, or more than one.
    pub fn of_program<'a>(
        abi_version: u32,
        segments: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, VersionError> {
        match abi_version {
            2 => Ok(Self::V03),
            3 => {
                let (mut v03, mut v04) = (false, false);
                for segment in segments {
                    v03 |= contains(segment, Self::V03.magic());
                    v04 |= contains(segment, Self::V04.magic());
                }
                match (v03, v04) {
                    (true, false) => Ok(Self::V03),
                    (false, true) => Ok(Self::V04),
                    (false, false) => Err(VersionError::NoMagic),
                    (true, true) => Err(VersionError::SeveralMagics),
                }
            }
            4 => Ok(Self::V05),
            other => Err(VersionError::UnknownAbi(other)),
        }
    }
}

/// Why the subject-info version of a program is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionError {
    /// The Solo5 ABI version is none of 2, 3 and 4.
    UnknownAbi(u32),
    /// The program contains none of the magic numbers that its ABI version can stand for.
    NoMagic,
    /// The program contains several of them.
    SeveralMagics,
}

/// A subject info of any version. Everything in it was checked: reading it cannot fail.
#[derive(Debug, Clone, Copy)]
pub struct SubjectInfo<'a> {
    version: Version,
    header: &'a Header,
    resources: &'a [RawResource],
}

impl<'a> SubjectInfo<'a> {
    /// Reads the subject info at the start of `bytes`.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, InfoError> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| InfoError::TooShort)?;
        let version = Version::from_magic(header.magic.get()).ok_or(InfoError::Magic(header.magic.get()))?;
        header.name.text().ok_or(InfoError::SubjectName)?;
        let count = usize::from(header.resource_count(version));
        if count > MAX_RESOURCES {
            return Err(InfoError::TooManyResources(count));
        }
        let (resources, _) =
            <[RawResource]>::ref_from_prefix_with_elems(rest, count).map_err(|_| InfoError::TooShort)?;
        match resources.iter().position(|r| r.meaning(version).is_none()) {
            None => Ok(Self { version, header, resources }),
            Some(index) => Err(InfoError::Resource(index)),
        }
    }

    /// Version of the layout.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Frequency of the time-stamp counter in kHz; 0 before the kernel has filled it in.
    #[must_use]
    pub fn tsc_khz(&self) -> u32 {
        self.header.tsc_khz.get()
    }

    /// Name of the subject.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.header.name.text().unwrap_or("")
    }

    /// All resources, in order.
    pub fn resources(&self) -> impl Iterator<Item = Resource<'a>> + use<'a> {
        let version = self.version;
        self.resources.iter().filter_map(move |r| r.meaning(version))
    }

    /// The first resource of this kind with this name.
    #[must_use]
    pub fn find(&self, kind: ResourceKind, name: &str) -> Option<Resource<'a>> {
        self.resources().find(|r| r.data.kind() == kind && r.name == name)
    }

    /// The first memory region with this name.
    #[must_use]
    pub fn memory(&self, name: &str) -> Option<MemoryResource> {
        self.resources().filter(|r| r.name == name).find_map(|r| match r.data {
            Data::Memory(memory) => Some(memory),
            _ => None,
        })
    }

    /// The number of the first source event with this name.
    #[must_use]
    pub fn event(&self, name: &str) -> Option<u8> {
        self.resources().filter(|r| r.name == name).find_map(|r| match r.data {
            Data::Event(number) => Some(number),
            _ => None,
        })
    }
}

/// Why bytes are no subject info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoError {
    /// The bytes end before the layout does.
    TooShort,
    /// The magic number is that of no known version.
    Magic(u64),
    /// The subject's name is too long or not UTF-8.
    SubjectName,
    /// More resources than the layout holds.
    TooManyResources(usize),
    /// The resource with this index has a name that is too long or not UTF-8, or data that this version does not know.
    Resource(usize),
}

fn contains(bytes: &[u8], magic: u64) -> bool {
    bytes.windows(size_of::<u64>()).any(|w| w == magic.to_le_bytes())
}

#[cfg(test)]
mod tests;
