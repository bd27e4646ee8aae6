//! The image's bytes while they are laid out: page-aligned pieces, one behind the other.

use std::collections::HashMap;

use palisade_abi::layout::{IMAGE_BASE, page_align_up};
use sha2::{Digest, Sha256};

/// The image while it grows.
///
/// Bytes beyond `limit` are counted and not kept, so that a system that is far too large costs no memory and the error can
/// still name what it needs.
pub(crate) struct Store {
    bytes: Vec<u8>,
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
        Self { bytes: Vec::new(), end: IMAGE_BASE, limit, shared: HashMap::new(), items: Vec::new() }
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
            self.bytes.extend(content);
            self.bytes.resize((self.end - IMAGE_BASE) as usize, 0);
        }
        address
    }

    /// Appends a piece unless the same bytes are there already. Returns its physical address and the SHA-256 of all of it,
    /// padding included.
    ///
    /// Only for what nobody may write.
    pub(crate) fn share(&mut self, owner: impl Into<String>, content: &[u8], size: u64) -> (u64, [u8; 32]) {
        if self.end.saturating_add(size) > self.limit {
            return (self.append(owner, content, size), [0; 32]);
        }
        let digest = padded_digest(content, size);
        if let Some(item) = self.shared.get(&(digest, size)).and_then(|index| self.items.get_mut(*index)) {
            item.owners.push(owner.into());
            return (item.address, digest);
        }
        self.shared.insert((digest, size), self.items.len());
        (self.append(owner, content, size), digest)
    }

    /// Replaces the first bytes of a piece placed before, whose content was not known then.
    pub(crate) fn fill(&mut self, address: u64, content: &[u8]) {
        let start = (address - IMAGE_BASE) as usize;
        if let Some(place) = self.bytes.get_mut(start..start + content.len()) {
            place.copy_from_slice(content);
        }
    }

    /// The image and its pieces in the order of their addresses.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<Item>) {
        (self.bytes, self.items)
    }
}

/// SHA-256 of `content` padded with zeros to `size`.
fn padded_digest(content: &[u8], size: u64) -> [u8; 32] {
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
        let (first, digest) = store.share("a", b"text", 0x1000);
        let (second, _) = store.share("b", b"other", 0x1000);
        let (third, same) = store.share("c", b"text\0", 0x1000);
        let (larger, _) = store.share("d", b"text", 0x2000);
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
        assert_ne!(store.share("c", b"text", 0x1000).0, first);
    }

    #[test]
    fn what_does_not_fit_is_counted_but_not_kept() {
        let mut store = Store::new(IMAGE_BASE + 0x1000);
        store.append("fits", b"1", 0x1000);
        store.append("far too large", b"2", 1 << 60);
        assert_eq!(store.end(), IMAGE_BASE + 0x1000 + (1 << 60));
        assert_eq!(store.finish().0.len(), 0x1000);
    }

    #[test]
    fn the_digest_is_that_of_the_padded_region() {
        let digest: [u8; 32] = Sha256::digest([b"abc".as_slice(), &[0; 0x2ffd]].concat()).into();
        assert_eq!(padded_digest(b"abc", 0x3000), digest);
    }
}
