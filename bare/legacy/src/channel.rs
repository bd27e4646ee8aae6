//! Both ends of a channel, as simple as they can be.

use core::sync::atomic::{Ordering, fence};

use crate::info::{SCHEDULING_INFO, load};

/// A writing end.
pub(crate) struct Writer {
    address: u64,
    size: u64,
    elements: u64,
}

impl Writer {
    /// Starts the channel at `address`.
    pub(crate) fn start(address: u64, length: u64, protocol: u64, size: u64) -> Self {
        let elements = (length - 64) / size;
        store(address + 8, 0);
        for (offset, value) in
            [(0, TRANSPORT), (16, protocol), (24, size), (32, elements), (40, 0), (48, 0), (56, 0)]
        {
            store(address + offset, value);
        }
        store(address + 8, load(SCHEDULING_INFO));
        Self { address, size, elements }
    }

    /// Writes an element, given as words.
    pub(crate) fn write(&self, words: &[u64]) {
        let count = load(self.address + 56);
        store(self.address + 48, count + 1);
        let slot = self.address + 64 + count % self.elements * self.size;
        for (word, at) in words.iter().zip(0..) {
            store(slot + at * 8, *word);
        }
        store(self.address + 56, count + 1);
    }
}

/// A reading end that does not know what to do about an overrun.
pub(crate) struct Reader {
    address: u64,
    epoch: u64,
    read: u64,
}

/// What a reader finds.
pub(crate) enum Found {
    /// An element: its first word.
    Element(u64),
    Nothing,
    Overrun,
}

impl Reader {
    pub(crate) fn new(address: u64) -> Self {
        Self { address, epoch: 0, read: 0 }
    }

    pub(crate) fn read(&mut self) -> Found {
        let epoch = load(self.address + 8);
        if epoch != self.epoch {
            (self.epoch, self.read) = (epoch, 0);
        }
        let (elements, size) = (load(self.address + 32), load(self.address + 24));
        if epoch == 0 || load(self.address + 56) == self.read {
            return Found::Nothing;
        }
        if load(self.address + 56) - self.read > elements {
            return Found::Overrun;
        }
        // Network elements have 1516 bytes, so the slot need not be aligned to a word.
        let element = crate::info::load_unaligned(self.address + 64 + self.read % elements * size);
        if load(self.address + 48) - self.read > elements {
            return Found::Overrun;
        }
        self.read += 1;
        Found::Element(element)
    }
}

fn store(address: u64, value: u64) {
    fence(Ordering::Release);
    // SAFETY: the subject info says that the channel lies there and is writable.
    unsafe { (address as *mut u64).write_volatile(value) }
}

const TRANSPORT: u64 = 0x4873_12b6_b79a_9b6d;
