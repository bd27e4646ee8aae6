//! Both ends of a channel, as simple as they can be.

use core::ptr::copy_nonoverlapping;
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

    /// Writes an element.
    pub(crate) fn write(&self, element: &[u8]) {
        let count = load(self.address + 56);
        store(self.address + 48, count + 1);
        let slot = self.address + 64 + count % self.elements * self.size;
        // SAFETY: the slot lies in the channel, and an element has as many bytes as this one.
        unsafe { copy_nonoverlapping(element.as_ptr(), slot as *mut u8, element.len()) }
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
#[derive(PartialEq, Eq)]
pub(crate) enum Found {
    Element,
    Nothing,
    Overrun,
}

impl Reader {
    pub(crate) fn new(address: u64) -> Self {
        Self { address, epoch: 0, read: 0 }
    }

    /// Whether there is something: after an overrun always.
    pub(crate) fn is_ready(&mut self) -> bool {
        load(self.address + 8) != 0 && {
            self.follow_epoch();
            load(self.address + 56) > self.read
        }
    }

    /// Reads as many bytes of the next element as `element` has.
    pub(crate) fn read(&mut self, element: &mut [u8]) -> Found {
        self.follow_epoch();
        let (elements, size) = (load(self.address + 32), load(self.address + 24));
        if self.epoch == 0 || load(self.address + 56) == self.read {
            return Found::Nothing;
        }
        if load(self.address + 56) - self.read > elements {
            return Found::Overrun;
        }
        let slot = self.address + 64 + self.read % elements * size;
        // SAFETY: the writer is trusted to say how large its elements are.
        unsafe { copy_nonoverlapping(slot as *const u8, element.as_mut_ptr(), element.len()) }
        if load(self.address + 48) - self.read > elements {
            return Found::Overrun;
        }
        self.read += 1;
        if load(self.address + 8) != self.epoch {
            self.epoch = 0;
            return Found::Nothing;
        }
        Found::Element
    }

    fn follow_epoch(&mut self) {
        let epoch = load(self.address + 8);
        if epoch != self.epoch {
            (self.epoch, self.read) = (epoch, 0);
        }
    }
}

fn store(address: u64, value: u64) {
    fence(Ordering::Release);
    // SAFETY: the subject info says that the channel lies there and is writable.
    unsafe { (address as *mut u64).write_volatile(value) }
}

const TRANSPORT: u64 = 0x4873_12b6_b79a_9b6d;
