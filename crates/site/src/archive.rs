//! Reading an archive in place.

use core::cmp::Ordering;
use core::fmt;

use zerocopy::{FromBytes, IntoBytes};

use crate::checksum::crc32;
use crate::layout::{CHECKSUM, Header, MAGIC, NONE, Range, Record, TextRange, VERSION};
use crate::{ETag, Encoding, INDEX, is_servable};

/// An archive that was checked: no entry of it leads outside.
#[derive(Clone, Copy)]
pub struct Archive<'a> {
    /// The archive without what follows it.
    bytes: &'a [u8],
    records: &'a [Record],
    text: &'a str,
    not_found: Option<&'a Record>,
}

/// Why bytes are no archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveError {
    /// They do not begin as archives do.
    NoArchive,
    /// A version of the format that this reader does not know.
    Version(u32),
    /// They end before the archive does.
    Truncated,
    /// The checksum of the index is not that of its bytes.
    Damaged,
    /// What the header says of the index cannot be.
    Header,
    /// The entry with this index has a path or content type that cannot be.
    Text(u32),
    /// The entry with this index does not come after the one before it.
    Order(u32),
    /// The entry with this index has its content outside the archive, or none.
    Content(u32),
}

impl<'a> Archive<'a> {
    /// Checks every index, length and text of an archive. Bytes after its end are ignored.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| ArchiveError::NoArchive)?;
        if header.magic != MAGIC {
            return Err(ArchiveError::NoArchive);
        }
        if header.version.get() != VERSION {
            return Err(ArchiveError::Version(header.version.get()));
        }
        let total = usize::try_from(header.total.get()).map_err(|_| ArchiveError::Truncated)?;
        let bytes = bytes.get(..total).ok_or(ArchiveError::Truncated)?;
        let entries = header.entries.get() as usize;
        let (records, rest) =
            <[Record]>::ref_from_prefix_with_elems(rest, entries).map_err(|_| ArchiveError::Truncated)?;
        let text = rest.get(..header.text.get() as usize).ok_or(ArchiveError::Truncated)?;
        // The parts were taken from all bytes there are; they must lie in the archive as well.
        let contents = size_of::<Header>() + records.as_bytes().len() + text.len();
        if contents > total {
            return Err(ArchiveError::Header);
        }
        if checksum(header, records, text) != header.checksum.get() {
            return Err(ArchiveError::Damaged);
        }
        let text = core::str::from_utf8(text).map_err(|_| ArchiveError::Header)?;
        let not_found = match header.not_found.get() {
            NONE => None,
            index => Some(records.get(index as usize).ok_or(ArchiveError::Header)?),
        };
        if header.reserved.get() != 0 {
            return Err(ArchiveError::Header);
        }
        let archive = Self { bytes, records, text, not_found };
        archive.check_records(contents as u64)?;
        Ok(archive)
    }

    /// The file with exactly this path, absolute and decoded.
    #[must_use]
    pub fn lookup(&self, path: &str) -> Option<Entry<'a>> {
        self.find(&[path])
    }

    /// The page that stands for a directory, given with or without its last slash.
    #[must_use]
    pub fn index_of(&self, directory: &str) -> Option<Entry<'a>> {
        self.find(&[directory.strip_suffix('/').unwrap_or(directory), "/", INDEX])
    }

    /// The page to show for paths that do not exist.
    #[must_use]
    pub fn not_found(&self) -> Option<Entry<'a>> {
        self.not_found.map(|record| Entry { archive: *self, record })
    }

    /// All files, in the order of their paths.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'a>> + use<'a> {
        let archive = *self;
        self.records.iter().map(move |record| Entry { archive, record })
    }

    /// Length of the archive in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn check_records(&self, contents: u64) -> Result<(), ArchiveError> {
        let mut previous = None;
        for (record, index) in self.records.iter().zip(0..) {
            let path = self.text(record.path).filter(|path| is_servable(path));
            let path = path.ok_or(ArchiveError::Text(index))?;
            if !self.text(record.content_type).is_some_and(is_field_value) {
                return Err(ArchiveError::Text(index));
            }
            if previous.replace(path).is_some_and(|previous| previous >= path) {
                return Err(ArchiveError::Order(index));
            }
            for (range, encoding) in record.variants.iter().zip(Encoding::ALL) {
                let absent = range.as_bytes() == Range::ABSENT.as_bytes() && encoding != Encoding::Identity;
                if !absent && (range.offset.get() < contents || self.content(*range).is_none()) {
                    return Err(ArchiveError::Content(index));
                }
            }
        }
        Ok(())
    }

    /// The file whose path is that of the pieces joined.
    fn find(&self, pieces: &[&str]) -> Option<Entry<'a>> {
        let order = |record: &Record| -> Ordering {
            let path = self.text(record.path).unwrap_or_default();
            path.bytes().cmp(pieces.iter().flat_map(|piece| piece.bytes()))
        };
        let index = self.records.binary_search_by(order).ok()?;
        Some(Entry { archive: *self, record: self.records.get(index)? })
    }

    fn text(&self, range: TextRange) -> Option<&'a str> {
        let offset = range.offset.get() as usize;
        self.text.get(offset..offset.checked_add(range.length.get() as usize)?)
    }

    fn content(&self, range: Range) -> Option<&'a [u8]> {
        let offset = usize::try_from(range.offset.get()).ok()?;
        let length = usize::try_from(range.length.get()).ok()?;
        self.bytes.get(offset..offset.checked_add(length)?)
    }
}

impl fmt::Debug for Archive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

/// A file of a site.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    archive: Archive<'a>,
    record: &'a Record,
}

impl<'a> Entry<'a> {
    /// The absolute, decoded path.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.archive.text(self.record.path).unwrap_or_default()
    }

    /// The value of the header field Content-Type.
    #[must_use]
    pub fn content_type(&self) -> &'a str {
        self.archive.text(self.record.content_type).unwrap_or_default()
    }

    /// When the file was last changed, in seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn modified(&self) -> u64 {
        self.record.modified.get()
    }

    /// SHA-256 of the content as it is.
    #[must_use]
    pub fn digest(&self) -> &'a [u8; 32] {
        &self.record.digest
    }

    /// The content in this encoding, if the archive has it. Every file has [`Encoding::Identity`].
    #[must_use]
    pub fn content(&self, encoding: Encoding) -> Option<&'a [u8]> {
        let [identity, gzip, brotli] = self.record.variants;
        let range = match encoding {
            Encoding::Identity => identity,
            Encoding::Gzip => gzip,
            Encoding::Brotli => brotli,
        };
        if range.offset.get() == 0 { None } else { self.archive.content(range) }
    }

    /// The entity tag of the content in this encoding.
    #[must_use]
    pub fn etag(&self, encoding: Encoding) -> ETag {
        ETag::new(&self.record.digest, encoding)
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = Encoding::ALL.map(|encoding| self.content(encoding).map(<[u8]>::len));
        f.debug_struct("Entry")
            .field("path", &self.path())
            .field("content_type", &self.content_type())
            .field("modified", &self.modified())
            .field("sizes", &sizes)
            .finish()
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArchive => f.write_str("this is no site archive"),
            Self::Version(version) => write!(f, "version {version} of the site archive is not known"),
            Self::Truncated => f.write_str("the site archive is cut off"),
            Self::Damaged => f.write_str("the index of the site archive is damaged"),
            Self::Header => f.write_str("the header of the site archive contradicts itself"),
            Self::Text(index) => write!(f, "entry {index} of the site archive has no proper path or type"),
            Self::Order(index) => write!(f, "entry {index} of the site archive is out of order"),
            Self::Content(index) => write!(f, "the content of entry {index} is not in the site archive"),
        }
    }
}

impl core::error::Error for ArchiveError {}

/// The checksum of an index, computed with zero in its own place.
pub(crate) fn checksum(header: &Header, records: &[Record], text: &[u8]) -> u32 {
    let (before, rest) = header.as_bytes().split_at(CHECKSUM);
    let after = rest.get(size_of::<u32>()..).unwrap_or_default();
    crc32(&[before, &[0; size_of::<u32>()], after, records.as_bytes(), text])
}

/// Whether the text can stand in a header field: nothing in it ends the field.
fn is_field_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
