//! The image's bytes while they are laid out: page-aligned pieces, one behind the other.

use std::collections::HashMap;

use palisade_abi::layout::{IMAGE_BASE, LARGE_PAGE, page_align_up};
use sha2::{Digest, Sha256};

use crate::elf::FILE_OFFSET;

/// The image while it grows.
///
/// Bytes beyond `limit` are counted and not kept, so that a system that is far too large costs no memory and the error can
/// still name what it needs.
pub(crate) struct Store {
    /// The image's file: room for its headers, then the pieces.
    file: Vec<u8>,
    end: u64,
    limit: u64,
    shared: HashMap<([u8; 32], u64), usize>,
    items: Vec<Item>,
}

/// A piece of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Physical address.
    pub(crate) address: u64,
    /// Bytes, a multiple of the page size.
    pub(crate) size: u64,
    /// Everyone it is there for.
    pub(crate) owners: Vec<String>,
}

impl Store {
    /// An image that may reach up to the physical address `limit`.
    pub(crate) fn new(limit: u64) -> Self {
        let file = vec![0; FILE_OFFSET];
        Self { file, end: IMAGE_BASE, limit, shared: HashMap::new(), items: Vec::new() }
    }

    /// First byte after what is placed so far: the address that the next piece gets.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Appends a piece of its own, padded with zeros to `size` and to a whole page. Returns its physical address.
    pub(crate) fn append(&mut self, owner: impl Into<String>, content: &[u8], size: u64) -> u64 {
        let address = self.end;
        let size = page_align_up(size);
        self.end = self.end.saturating_add(size);
        self.items.push(Item { address, size, owners: vec![owner.into()] });
        if self.end <= self.limit {
            self.file.resize(offset(address), 0);
            self.file.extend(content);
            self.file.resize(offset(self.end), 0);
        }
        address
    }

    /// Appends a piece unless the same bytes are there already. Returns its physical address and the SHA-256 of all of it,
    /// padding included.
    ///
    /// Only for what nobody may write. A piece that subjects see at the address `seen_at`, and that is large, gets a
    /// physical address that large pages can map there.
    pub(crate) fn share(
        &mut self,
        owner: impl Into<String>,
        content: &[u8],
        size: u64,
        seen_at: u64,
    ) -> (u64, [u8; 32]) {
        if self.end.saturating_add(size) > self.limit {
            return (self.append(owner, content, size), [0; 32]);
        }
        let digest = padded_digest(content, size);
        if let Some(item) = self.shared.get(&(digest, size)).and_then(|index| self.items.get_mut(*index)) {
            item.owners.push(owner.into());
            return (item.address, digest);
        }
        self.shared.insert((digest, size), self.items.len());
        if size >= LARGE_PAGE {
            let gap = seen_at.wrapping_sub(self.end) % LARGE_PAGE;
            self.end = self.end.saturating_add(gap);
        }
        (self.append(owner, content, size), digest)
    }

    /// Appends a piece that is nobody else's, whatever its bytes. Returns its physical address and the SHA-256 of all of
    /// it, padding included.
    pub(crate) fn keep(&mut self, owner: impl Into<String>, content: &[u8], size: u64) -> (u64, [u8; 32]) {
        (self.append(owner, content, size), padded_digest(content, size))
    }

    /// Replaces the first bytes of a piece placed before, whose content was not known then.
    pub(crate) fn fill(&mut self, address: u64, content: &[u8]) {
        let start = offset(address);
        if let Some(place) = self.file.get_mut(start..start + content.len()) {
            place.copy_from_slice(content);
        }
    }

    /// The image's file, still without its headers, and the pieces in the order of their addresses.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<Item>) {
        (self.file, self.items)
    }
}

/// Where the byte of a physical address is in the file.
fn offset(address: u64) -> usize {
    FILE_OFFSET + (address - IMAGE_BASE) as usize
}

/// SHA-256 of `content` padded with zeros to `size`.
pub(crate) fn padded_digest(content: &[u8], size: u64) -> [u8; 32] {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut hash = Sha256::new();
    hash.update(content);
    let mut padding = size.saturating_sub(content.len() as u64);
    while padding > 0 {
        let step = padding.min(ZEROS.len() as u64);
        hash.update(&ZEROS[..step as usize]);
        padding -= step;
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_stored_once_and_keep_all_their_owners() {
        let mut store = Store::new(u64::MAX);
        let (first, digest) = store.share("a", b"text", 0x1000, 0);
        let (second, _) = store.share("b", b"other", 0x1000, 0);
        let (third, same) = store.share("c", b"text\0", 0x1000, 0);
        let (larger, _) = store.share("d", b"text", 0x2000, 0);
        assert_eq!((first, digest), (third, same));
        assert!(second != first && larger != first);
        assert_eq!(store.end(), IMAGE_BASE + 0x4000);
        assert_eq!(store.finish().1[0].owners, ["a", "c"]);
    }

    #[test]
    fn a_private_piece_is_never_shared() {
        let mut store = Store::new(u64::MAX);
        let first = store.append("a", b"text", 0x1000);
        assert_ne!(store.append("b", b"text", 0x1000), first);
        let (shared, digest) = store.share("c", b"text", 0x1000, 0);
        let (kept, same) = store.keep("d", b"text", 0x1000);
        assert_eq!(digest, same);
        assert!(shared != first && kept != shared);
        assert_eq!(store.share("e", b"text", 0x1000, 0).0, shared);
    }

    #[test]
    fn a_large_piece_can_be_mapped_with_large_pages() {
        let mut store = Store::new(u64::MAX);
        store.append("a", b"small", 0x1000);
        let content = vec![7; 0x1800];
        let (address, _) = store.share("b", &content, LARGE_PAGE + 0x1000, 0xf_0000_3000);
        assert_eq!((address % LARGE_PAGE, store.end()), (0x3000, address + LARGE_PAGE + 0x1000));
        let next = store.append("c", b"next", 0x1000);
        let (file, items) = store.finish();
        assert_eq!(items.iter().map(|i| i.address).collect::<Vec<_>>(), [IMAGE_BASE, address, next]);
        assert!(file[offset(IMAGE_BASE + 0x1000)..offset(address)].iter().all(|byte| *byte == 0));
        assert_eq!(file[offset(address)..][..0x1800], content);
        assert!(file[offset(next)..].starts_with(b"next"));
    }

    #[test]
    fn what_does_not_fit_is_counted_but_not_kept() {
        let mut store = Store::new(IMAGE_BASE + 0x1000);
        store.append("fits", b"1", 0x1000);
        store.append("far too large", b"2", 1 << 60);
        assert_eq!(store.end(), IMAGE_BASE + 0x1000 + (1 << 60));
        assert_eq!(store.finish().0.len(), FILE_OFFSET + 0x1000);
    }

    #[test]
    fn the_digest_is_that_of_the_padded_region() {
        let digest: [u8; 32] = Sha256::digest([b"abc".as_slice(), &[0; 0x2ffd]].concat()).into();
        assert_eq!(padded_digest(b"abc", 0x3000), digest);
    }
}
