//! What the reader refuses, and what it promises of the rest.

use palisade_site::layout::{CHECKSUM, Header, Range, Record};
use palisade_site::pack::{File, pack_files};
use palisade_site::{Archive, ArchiveError, Encoding};
use proptest::prelude::*;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn what_follows_an_archive_is_ignored() {
    let mut bytes = sample();
    let size = bytes.len();
    bytes.resize(size + 5000, 0);
    assert_eq!(Archive::parse(&bytes).unwrap().size(), size);
}

#[test]
fn every_cut_is_noticed() {
    let bytes = sample();
    for end in 0..bytes.len() {
        let error = Archive::parse(&bytes[..end]).unwrap_err();
        assert_eq!(error, if end < 40 { ArchiveError::NoArchive } else { ArchiveError::Truncated }, "{end}");
    }
}

#[test]
fn every_changed_byte_of_the_index_is_noticed() {
    let bytes = sample();
    let contents = Archive::parse(&bytes).unwrap().entries().map(|entry| {
        let content = entry.content(Encoding::Identity).unwrap();
        content.as_ptr().addr() - bytes.as_ptr().addr()
    });
    for at in 0..contents.min().unwrap() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(Archive::parse(&damaged).is_err(), "{at}");
    }
}

#[test]
fn contradictions_are_refused_even_with_the_right_checksum() {
    type Change = fn(&mut Header, &mut [Record]);
    let cases: [(Change, ArchiveError); 15] = [
        (|header, _| header.magic[0] = b'p', ArchiveError::NoArchive),
        (|header, _| header.version = 2.into(), ArchiveError::Version(2)),
        (|header, _| header.total = u64::MAX.into(), ArchiveError::Truncated),
        (|header, _| header.total = 100.into(), ArchiveError::Header),
        (|header, _| header.entries = u32::MAX.into(), ArchiveError::Truncated),
        (|header, _| header.not_found = 3.into(), ArchiveError::Header),
        (|header, _| header.reserved = 1.into(), ArchiveError::Header),
        (|_, records| records[1].path.offset = u32::MAX.into(), ArchiveError::Text(1)),
        (|_, records| records[1].path.length = 0.into(), ArchiveError::Text(1)),
        (|_, records| records[2].content_type.length = U32::ZERO, ArchiveError::Text(2)),
        (|_, records| records[1] = records[0], ArchiveError::Order(1)),
        (|_, records| records.swap(0, 2), ArchiveError::Order(1)),
        (|_, records| records[0].variants[0] = Range::ABSENT, ArchiveError::Content(0)),
        (|_, records| records[1].variants[1].offset = 8.into(), ArchiveError::Content(1)),
        (|_, records| records[2].variants[0].length = u64::MAX.into(), ArchiveError::Content(2)),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut bytes = sample();
        let (header, rest) = Header::mut_from_prefix(&mut bytes).unwrap();
        let (records, _) = <[Record]>::mut_from_prefix_with_elems(rest, 3).unwrap();
        change(header, records);
        finish(&mut bytes);
        assert_eq!(Archive::parse(&bytes).err(), Some(expected), "case {number}");
    }
}

#[test]
fn a_content_type_cannot_add_header_fields() {
    let mut bytes = sample();
    let at = bytes.windows(10).position(|window| window == b"text/plain").unwrap();
    bytes[at + 4] = b'\n';
    finish(&mut bytes);
    assert!(matches!(Archive::parse(&bytes), Err(ArchiveError::Text(_))));
}

#[test]
fn a_site_without_files_has_nothing() {
    let bytes = pack_files(Vec::new()).bytes;
    let archive = Archive::parse(&bytes).unwrap();
    assert!(archive.lookup("/").is_none() && archive.not_found().is_none() && archive.entries().len() == 0);
}

proptest! {
    #[test]
    fn any_index_is_refused_or_can_be_used(
        changes in prop::collection::vec((0_usize..600, any::<u8>()), 1..6),
        path in "/[a-c/]{0,9}",
    ) {
        let mut bytes = sample();
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        finish(&mut bytes);
        if let Ok(archive) = Archive::parse(&bytes) {
            let _ = (archive.lookup(&path), archive.index_of(&path), archive.not_found());
            for entry in archive.entries() {
                prop_assert_eq!(archive.lookup(entry.path()).unwrap().path(), entry.path());
                prop_assert!(entry.content(Encoding::Identity).is_some());
                prop_assert!(!entry.content_type().is_empty());
            }
        }
    }

    #[test]
    fn every_packed_file_is_found_again(
        files in prop::collection::btree_map("/[a-d/.]{1,12}", prop::collection::vec(any::<u8>(), 0..300), 0..20),
    ) {
        let list = files.iter().map(|(path, content)| file(path, content)).collect();
        let packed = pack_files(list);
        let archive = Archive::parse(&packed.bytes).unwrap();
        prop_assert_eq!(archive.entries().len(), files.len());
        for (path, content) in &files {
            prop_assert_eq!(archive.lookup(path).unwrap().content(Encoding::Identity), Some(content.as_slice()));
        }
    }
}

/// Three files: one with variants, one empty, one without variants.
fn sample() -> Vec<u8> {
    let text = "to and fro, ".repeat(30);
    pack_files(vec![file("/a.txt", text.as_bytes()), file("/b.txt", b""), file("/c.png", b"picture")]).bytes
}

fn file(path: &str, content: &[u8]) -> File {
    File { path: path.to_owned(), content: content.to_vec(), modified: 1 }
}

/// Puts the checksum right, so that a change is found by the check of its own.
fn finish(bytes: &mut [u8]) {
    let Ok((header, _)) = Header::read_from_prefix(bytes) else { return };
    let index = 40 + 104 * header.entries.get() as usize + header.text.get() as usize;
    let Some(index) = bytes.get_mut(..index) else { return };
    index[CHECKSUM..CHECKSUM + 4].fill(0);
    let mut crc = flate2::Crc::new();
    crc.update(index);
    index[CHECKSUM..CHECKSUM + 4].copy_from_slice(crc.sum().as_bytes());
}
