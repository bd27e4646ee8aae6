//! Packing a directory.
//!
//! The same files give the same bytes, whatever the order in which the file system lists them. What is in the archive:
//!
//! - every file below the directory, under its path relative to it;
//! - but nothing whose name begins with a dot, and nothing in directories whose name does: `.git`, `.env`, `.DS_Store` are
//!   not meant for visitors. The exception is `.well-known` (RFC 8615). [`Summary::hidden`] says what was left out;
//! - what a symbolic link leads to, if that is inside the directory as well; else packing is refused.

mod compress;
mod error;
mod kind;
mod walk;
mod write;

use std::path::Path;

pub use self::error::PackError;
use crate::Encoding;
use crate::NOT_FOUND;

/// What can be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Files changed later than this, in seconds since 1970-01-01 00:00 UTC, count as changed at this time: what
    /// `SOURCE_DATE_EPOCH` means for reproducible builds.
    pub newest: Option<u64>,
}

/// A packed site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The archive.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub summary: Summary,
}

/// What is in an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of files.
    pub files: usize,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
    /// Number of files that have a gzip variant.
    pub gzip: usize,
    /// Number of files that have a Brotli variant.
    pub brotli: usize,
    /// Whether the root has a page: `/index.html`.
    pub index: bool,
    /// Whether there is a page for what does not exist: `/404.html`.
    pub not_found: bool,
    /// Hidden files and directories that were left out, as paths in the site.
    pub hidden: Vec<String>,
}

/// A file to be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its absolute path in the site.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// When it was last changed, in seconds since 1970-01-01 00:00 UTC.
    pub modified: u64,
}

/// Packs a directory.
///
/// # Errors
/// What cannot be read, or could not be asked for by a visitor; the error names the file.
pub fn pack(directory: &Path, options: &Options) -> Result<Packed, PackError> {
    let (mut files, hidden) = walk::read(directory)?;
    if files.is_empty() {
        return Err(PackError::Empty { directory: directory.to_owned() });
    }
    if let Some(newest) = options.newest {
        files.iter_mut().for_each(|file| file.modified = file.modified.min(newest));
    }
    let mut packed = pack_files(files);
    packed.summary.hidden = hidden;
    Ok(packed)
}

/// Packs files that are in memory. Of several with the same path the first is taken.
///
/// # Panics
/// If a path is not [servable](crate::is_servable).
#[must_use]
pub fn pack_files(mut files: Vec<File>) -> Packed {
    assert!(files.iter().all(|file| crate::is_servable(&file.path)), "a path that nobody can ask for");
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup_by(|later, earlier| later.path == earlier.path);
    let has = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    let (index, not_found) = (has("/index.html"), has(NOT_FOUND));
    let prepared = compress::prepare(files);
    let with = |encoding| prepared.iter().filter(|file| file.variant(encoding).is_some()).count();
    let summary = Summary {
        files: prepared.len(),
        bytes: prepared.iter().map(|file| file.content.len() as u64).sum(),
        gzip: with(Encoding::Gzip),
        brotli: with(Encoding::Brotli),
        index,
        not_found,
        hidden: Vec::new(),
    };
    Packed { bytes: write::archive(&prepared), summary }
}

/// The size that all files of a site together may have: 1 GiB.
pub const MAX_SIZE: u64 = 1 << 30;
/// The number of files that a site may have.
pub const MAX_FILES: usize = 1 << 20;
