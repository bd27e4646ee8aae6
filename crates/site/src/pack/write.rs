//! Puts an archive together.

use std::collections::HashMap;

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

use super::compress::Prepared;
use crate::archive::checksum;
use crate::layout::{Header, MAGIC, NONE, Range, Record, TextRange, VERSION};
use crate::{Encoding, NOT_FOUND};

/// The archive of files that are sorted by path.
pub(super) fn archive(files: &[Prepared]) -> Vec<u8> {
    let mut text = Text::default();
    let texts: Vec<_> =
        files.iter().map(|file| (text.add(&file.path), text.add(&file.content_type))).collect();
    let start = size_of::<Header>() + files.len() * size_of::<Record>() + text.bytes.len();
    let mut contents = Contents { end: start as u64, places: HashMap::new(), pieces: Vec::new() };
    let records: Vec<Record> = files
        .iter()
        .zip(texts)
        .map(|(file, (path, content_type))| Record {
            path,
            content_type,
            modified: file.modified.into(),
            digest: file.digest,
            variants: Encoding::ALL.map(|encoding| contents.add(file, encoding)),
        })
        .collect();
    let not_found = files.iter().position(|file| file.path == NOT_FOUND);
    let mut header = Header {
        magic: MAGIC,
        version: VERSION.into(),
        checksum: U32::ZERO,
        total: contents.end.into(),
        entries: number(files.len()),
        text: number(text.bytes.len()),
        not_found: not_found.map_or(NONE.into(), number),
        reserved: U32::ZERO,
    };
    header.checksum = checksum(&header, &records, &text.bytes).into();
    let mut bytes = Vec::with_capacity(usize::try_from(contents.end).unwrap_or(0));
    bytes.extend(header.as_bytes());
    bytes.extend(records.as_bytes());
    bytes.extend(&text.bytes);
    contents.pieces.iter().for_each(|piece| bytes.extend(*piece));
    bytes
}

/// Paths and content types. Equal ones are stored once.
#[derive(Default)]
struct Text<'a> {
    bytes: Vec<u8>,
    places: HashMap<&'a str, TextRange>,
}

impl<'a> Text<'a> {
    fn add(&mut self, text: &'a str) -> TextRange {
        *self.places.entry(text).or_insert_with(|| {
            let offset = number(self.bytes.len());
            self.bytes.extend(text.as_bytes());
            TextRange { offset, length: number(text.len()) }
        })
    }
}

/// Contents in the order in which they are stored. Equal ones are stored once.
struct Contents<'a> {
    end: u64,
    places: HashMap<([u8; 32], Encoding), Range>,
    pieces: Vec<&'a [u8]>,
}

impl<'a> Contents<'a> {
    fn add(&mut self, file: &'a Prepared, encoding: Encoding) -> Range {
        let Some(content) = file.variant(encoding) else { return Range::ABSENT };
        *self.places.entry((file.digest, encoding)).or_insert_with(|| {
            let range = Range { offset: self.end.into(), length: U64::new(content.len() as u64) };
            self.end += content.len() as u64;
            self.pieces.push(content);
            range
        })
    }
}

/// The limits on files and sizes keep every count far below 2^32.
fn number(value: usize) -> U32 {
    U32::new(u32::try_from(value).expect("a site has fewer files and less text"))
}
