//! A website as one read-only block of memory.
//!
//! The builder packs a directory into an *archive* (`pack`, with the feature of that name), the image carries
//! it, and the website unikernel reads it in place ([`Archive`]): no file system, no allocation, no copy. Everything that
//! can be done before the machine starts is done then: content types, entity tags, compressed variants.
//!
//! # The format, version 1
//!
//! Integers are little-endian; nothing is aligned. Offsets of contents count from the start of the archive, those of text
//! from the start of the text. [`layout`] has the structures.
//!
//! ```text
//! header      40 bytes   magic "PALISITE", version, checksum of the index, total length, counts, the page for "not found"
//! entries    104 bytes   each: path, content type, time of change, SHA-256, and where each variant's content is;
//!                        sorted by the bytes of the path, no path twice
//! text                   the paths and content types, UTF-8
//! contents               one after the other; equal ones are stored once
//! ```
//!
//! Header, entries and text are the *index*. Its CRC-32 (that of zip and PNG) is in the header, computed with zero in its
//! own place: damage is found, not an attack; against that the whole image is signed. Contents have no checksum but their
//! SHA-256, so that the start of a server does not depend on the size of its site.
//!
//! A path is absolute and decoded: `/fonts/Main Font.woff2`. Directories have no entries.

#![cfg_attr(not(feature = "pack"), no_std)]
#![forbid(unsafe_code)]

pub mod layout;
#[cfg(feature = "pack")]
pub mod pack;

mod archive;
mod checksum;
mod encoding;

pub use self::archive::{Archive, ArchiveError, Entry};
pub use self::encoding::{ETag, Encoding};
#[cfg(feature = "pack")]
pub use self::pack::{Options, PackError, Packed, Summary, pack};

/// Whether a path can be the path of a request: nobody can ask for names with control characters or backslashes, because
/// servers and clients disagree about their meaning.
#[must_use]
pub fn is_servable(path: &str) -> bool {
    path.starts_with('/') && !path.contains(|c: char| c.is_control() || c == '\\')
}

/// The name of the page that stands for its directory.
pub const INDEX: &str = "index.html";
/// The path of the page that is shown in place of one that does not exist.
pub const NOT_FOUND: &str = "/404.html";
