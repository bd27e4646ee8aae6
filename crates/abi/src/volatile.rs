//! Memory that somebody else can read and change at any moment: pages shared with the kernel or another subject.
//!
//! This is the only module of the crate with `unsafe` code: the one constructor that trusts an address. Everything above
//! it sees a bounds-checked range of words.
//!
//! Each access is one atomic machine instruction, so no value is ever read twice or in pieces behind the caller's back:
//! what was loaded is a local copy that can be judged and then used. Loads are relaxed ones followed by a fence, because
//! only relaxed atomic loads may be made on memory that is mapped read-only.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Shared memory as the protocols of this crate see it: a range of bytes, accessed by aligned 64-bit words or copied.
///
/// Functions return `None`, and do nothing, if an offset lies outside the memory or is not aligned.
pub trait Memory {
    /// Bytes of the memory; a multiple of 8.
    fn size(&self) -> usize;

    /// Loads the word at `offset`; accesses that follow are not moved before it.
    fn load(&self, offset: usize) -> Option<u64>;

    /// Stores the word at `offset`; accesses that precede it are not moved after it.
    fn store(&self, offset: usize, value: u64) -> Option<()>;

    /// Copies bytes out of the memory. The order of the accesses is open: see [`Memory::fence`].
    fn copy_out(&self, offset: usize, to: &mut [u8]) -> Option<()>;

    /// Copies bytes into the memory. The order of the accesses is open: see [`Memory::fence`].
    ///
    /// Only the single writer of the words concerned may do this: words that are changed in part are read and stored again.
    fn copy_in(&self, offset: usize, from: &[u8]) -> Option<()>;

    /// Orders copies and words: with `Acquire` loads before it against accesses after it, with `Release` accesses before
    /// it against stores after it.
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

/// A range of real shared memory.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Shared<'a> {
    /// The `size` bytes of shared memory at `address`.
    ///
    /// Returns `None` if the address is null or not a multiple of 8. A size that is no multiple of 8 is rounded down.
    ///
    /// # Safety
    /// For the whole of `'a`, the memory must be mapped readable, and writable if something is stored through the result;
    /// and all other accesses of this program to it must go through `Shared` or atomics as well. What others do to the
    /// memory at the same time does not matter.
    #[must_use]
    pub const unsafe fn new(address: u64, size: u64) -> Option<Self> {
        let start = address as *const AtomicU64;
        if start.is_null() || !address.is_multiple_of(8) {
            return None;
        }
        // SAFETY: the address is aligned and not null, and the caller vouches for the memory. Words that change under
        // the reference are what atomics are for.
        Some(Self { words: unsafe { core::slice::from_raw_parts(start, (size / 8) as usize) } })
    }

    /// Loads the 32-bit half word at `offset`; accesses that follow are not moved before it.
    #[must_use]
    pub fn load_u32(&self, offset: usize) -> Option<u32> {
        let word = self.load(offset & !7)?;
        match offset % 8 {
            0 => Some(word as u32),
            4 => Some((word >> 32) as u32),
            _ => None,
        }
    }

    /// Stores the 32-bit half word at `offset`; accesses that precede it are not moved after it.
    ///
    /// Only the single writer of both halves of the word may do this.
    pub fn store_u32(&self, offset: usize, value: u32) -> Option<()> {
        let (value, shift) = match offset % 8 {
            0 => (u64::from(value), 0),
            4 => (u64::from(value) << 32, 32),
            _ => return None,
        };
        let rest = self.load(offset & !7)? & !(u64::from(u32::MAX) << shift);
        self.store(offset & !7, rest | value)
    }

    fn word(&self, offset: usize) -> Option<&'a AtomicU64> {
        if offset.is_multiple_of(8) { self.words.get(offset / 8) } else { None }
    }

    /// The words from the one that contains byte `offset` on, if `length` bytes exist from there.
    fn words_from(&self, offset: usize, length: usize) -> Option<&'a [AtomicU64]> {
        let end = offset.checked_add(length)?;
        if end > self.size() { None } else { self.words.get(offset / 8..) }
    }
}

/// Memory of this program, shared between its own threads.
impl<'a> From<&'a [AtomicU64]> for Shared<'a> {
    fn from(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }
}

impl Memory for Shared<'_> {
    fn size(&self) -> usize {
        self.words.len() * 8
    }

    fn load(&self, offset: usize) -> Option<u64> {
        let value = self.word(offset)?.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Some(value)
    }

    fn store(&self, offset: usize, value: u64) -> Option<()> {
        self.word(offset)?.store(value, Ordering::Release);
        Some(())
    }

    fn copy_out(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        let mut words = self.words_from(offset, to.len())?;
        let unaligned = ((8 - offset % 8) % 8).min(to.len());
        let (head, rest) = to.split_at_mut_checked(unaligned)?;
        if !head.is_empty() {
            pick(words.split_off_first()?, offset % 8, head);
        }
        let (chunks, tail) = rest.as_chunks_mut::<8>();
        let (whole, last) = words.split_at_checked(chunks.len())?;
        for (chunk, word) in chunks.iter_mut().zip(whole) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        if !tail.is_empty() {
            pick(last.first()?, 0, tail);
        }
        Some(())
    }

    fn copy_in(&self, offset: usize, from: &[u8]) -> Option<()> {
        let mut words = self.words_from(offset, from.len())?;
        let (head, rest) = from.split_at_checked((8 - offset % 8) % 8).unwrap_or((from, &[]));
        if !head.is_empty() {
            merge(words.split_off_first()?, offset % 8, head);
        }
        let (chunks, tail) = rest.as_chunks::<8>();
        let (whole, last) = words.split_at_checked(chunks.len())?;
        for (chunk, word) in chunks.iter().zip(whole) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
        if !tail.is_empty() {
            merge(last.first()?, 0, tail);
        }
        Some(())
    }
}

/// Copies bytes of a word, from byte `start` on.
fn pick(word: &AtomicU64, start: usize, to: &mut [u8]) {
    let value = word.load(Ordering::Relaxed).to_le_bytes();
    for (to, from) in to.iter_mut().zip(value.into_iter().skip(start)) {
        *to = from;
    }
}

/// Replaces the bytes of `word` from byte `start` on by `bytes`.
fn merge(word: &AtomicU64, start: usize, bytes: &[u8]) {
    let mut value = word.load(Ordering::Relaxed).to_le_bytes();
    for (to, from) in value.iter_mut().skip(start).zip(bytes) {
        *to = *from;
    }
    word.store(u64::from_le_bytes(value), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(words: usize) -> Vec<AtomicU64> {
        (0..words as u64).map(|w| AtomicU64::new(0x0706_0504_0302_0100 + w * 0x0808_0808_0808_0808)).collect()
    }

    #[test]
    fn words_are_found_at_aligned_offsets_inside_only() {
        let words = numbered(2);
        let memory = Shared::from(words.as_slice());
        assert_eq!(memory.load(8), Some(0x0f0e_0d0c_0b0a_0908));
        assert_eq!(memory.load(4), None);
        assert_eq!(memory.load(16), None);
        assert_eq!(memory.load_u32(12), Some(0x0f0e_0d0c));
        assert_eq!(memory.load_u32(14), None);
        assert_eq!(memory.store(16, 1), None);
    }

    #[test]
    fn storing_half_a_word_leaves_the_other_half() {
        let words = numbered(1);
        let memory = Shared::from(words.as_slice());
        assert_eq!(memory.store_u32(4, 0xffff_eeee), Some(()));
        assert_eq!(memory.load(0), Some(0xffff_eeee_0302_0100));
        assert_eq!(memory.store_u32(0, 5), Some(()));
        assert_eq!(memory.load(0), Some(0xffff_eeee_0000_0005));
    }

    #[test]
    fn every_range_copies_out_exactly() {
        let words = numbered(4);
        let memory = Shared::from(words.as_slice());
        for start in 0..=32 {
            for length in 0..=32 - start {
                let mut out = vec![0; length];
                assert_eq!(memory.copy_out(start, &mut out), Some(()));
                let expected: Vec<u8> = (start as u8..(start + length) as u8).collect();
                assert_eq!(out, expected);
            }
        }
        assert_eq!(memory.copy_out(1, &mut [0; 32]), None);
        assert_eq!(memory.copy_out(usize::MAX, &mut [0; 2]), None);
    }

    #[test]
    fn every_range_copies_in_and_touches_nothing_else() {
        for start in 0..=32 {
            for length in 0..=32 - start {
                let words = numbered(4);
                let memory = Shared::from(words.as_slice());
                assert_eq!(memory.copy_in(start, &vec![0xaa; length]), Some(()));
                let mut all = [0; 32];
                assert_eq!(memory.copy_out(0, &mut all), Some(()));
                for (at, byte) in all.iter().enumerate() {
                    let expected = if (start..start + length).contains(&at) { 0xaa } else { at as u8 };
                    assert_eq!(*byte, expected);
                }
            }
        }
    }

    #[test]
    fn an_address_that_cannot_hold_words_is_refused() {
        // SAFETY: nothing is accessed: the constructor must refuse both.
        let (null, odd) = unsafe { (Shared::new(0, 8), Shared::new(4, 8)) };
        assert!(null.is_none() && odd.is_none());
    }
}
