//! The bytes of an archive.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The start of an archive.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// CRC-32 of header, entries and text, with zero in this field.
    pub checksum: U32,
    /// Length of the whole archive in bytes. Whatever comes after it in memory is no part of it.
    pub total: U64,
    /// Number of entries, which follow the header.
    pub entries: U32,
    /// Length in bytes of the text, which follows the entries. It ends where the contents begin.
    pub text: U32,
    /// Index of the entry to show for paths that do not exist; [`NONE`] if there is none.
    pub not_found: U32,
    /// Zero.
    pub reserved: U32,
}

/// A file of the site.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Record {
    /// The absolute path.
    pub path: TextRange,
    /// The value of the header field Content-Type.
    pub content_type: TextRange,
    /// When the file was last changed, in seconds since 1970-01-01 00:00 UTC.
    pub modified: U64,
    /// SHA-256 of the content as it is.
    pub digest: [u8; 32],
    /// Where the content is, as it is and encoded, in the order of [`Encoding::ALL`](crate::Encoding::ALL).
    pub variants: [Range; 3],
}

/// A part of the text.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TextRange {
    /// Its start, counted from the start of the text.
    pub offset: U32,
    /// Its length in bytes.
    pub length: U32,
}

/// A content.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Range {
    /// Its start, counted from the start of the archive; zero if there is no such variant.
    pub offset: U64,
    /// Its length in bytes.
    pub length: U64,
}

impl Range {
    /// The variant does not exist.
    pub const ABSENT: Self = Self { offset: U64::ZERO, length: U64::ZERO };
}

/// The first bytes of every archive.
pub const MAGIC: [u8; 8] = *b"PALISITE";
/// The version that this crate reads and writes.
pub const VERSION: u32 = 1;
/// In place of an index: there is no such entry.
pub const NONE: u32 = u32::MAX;
/// Offset of [`Header::checksum`].
pub const CHECKSUM: usize = 12;

const _: () = assert!(size_of::<Header>() == 40 && size_of::<Record>() == 104);
