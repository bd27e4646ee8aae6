//! A split virtqueue (2.7): a table of descriptors, one for each buffer; a ring in which the driver makes buffers available;
//! and a ring in which the card returns the used ones.
//!
//! Descriptor and buffer number `n` belong together for good, so the driver keeps no list of its own in shared memory, and
//! believes nothing that it reads back from there.

use core::sync::atomic::Ordering;

use palisade_abi::volatile::Memory;

use super::fault::Fault;

/// Where a queue is, by the addresses that the card uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
}

/// A buffer that the card returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// Its number.
    pub(super) buffer: u16,
    /// Bytes that the card claims to have written.
    pub(super) length: u32,
}

/// The driver's side of a queue.
#[derive(Debug)]
pub(super) struct Queue<M> {
    memory: M,
    /// Offset of the descriptors in the memory.
    start: usize,
    size: u16,
    /// Whether both sides say from where on they want to be told; else they say whether.
    events: bool,
    /// Buffers made available so far, and those of them that the card can see. These and `used` wrap, as the rings' own do.
    available: u16,
    published: u16,
    /// Buffers taken back so far.
    used: u16,
    /// The buffers that the card has, a bit each, and how many.
    lent: [u64; MAX_SIZE as usize / 64],
    lent_count: u16,
}

impl<M: Memory> Queue<M> {
    /// An empty queue of `size` entries, a power of two up to [`MAX_SIZE`], in the [`RINGS`] bytes of memory from `start` on.
    /// `None` if there are not that many.
    pub(super) fn new(memory: M, start: usize, size: u16, events: bool) -> Option<Self> {
        if !size.is_power_of_two() || size > MAX_SIZE || start.checked_add(RINGS)? > memory.size() {
            return None;
        }
        for offset in (start..start + RINGS).step_by(8) {
            memory.store(offset, 0)?;
        }
        let queue = Self {
            memory,
            start,
            size,
            events,
            available: 0,
            published: 0,
            used: 0,
            lent: [0; MAX_SIZE as usize / 64],
            lent_count: 0,
        };
        queue.disarm();
        if events {
            // As far away as can be.
            queue.store_u16(queue.used_event(), u16::MAX);
        }
        Some(queue)
    }

    /// Where the queue is, if the card reaches the memory at `address`.
    pub(super) fn place(&self, address: u64) -> Place {
        let descriptors = address.wrapping_add(self.start as u64);
        Place {
            descriptors,
            available: descriptors.wrapping_add(AVAILABLE as u64),
            used: descriptors.wrapping_add(USED as u64),
        }
    }

    /// Says where buffer number `buffer` is, how many bytes it has, and who writes it.
    pub(super) fn describe(&self, buffer: u16, address: u64, length: u32, writer: Writer) {
        let flags = match writer {
            Writer::Driver => 0,
            Writer::Card => DEVICE_WRITES,
        };
        let at = self.start + self.slot(buffer) * DESCRIPTOR;
        let _: Option<()> = self.memory.store(at, address);
        let _: Option<()> = self.memory.store(at + 8, u64::from(length) | flags << 32);
    }

    /// Lends a buffer to the card, which learns of it with [`Queue::publish`].
    pub(super) fn lend(&mut self, buffer: u16) {
        let (word, bit) = place(buffer);
        let Some(lent) = self.lent.get_mut(word).filter(|lent| **lent & bit == 0 && buffer < self.size)
        else {
            return;
        };
        *lent |= bit;
        self.lent_count += 1;
        self.store_u16(AVAILABLE + 4 + self.slot(self.available) * 2, buffer);
        self.available = self.available.wrapping_add(1);
    }

    /// Has the card see the buffers that were lent. Returns whether it wants to be told.
    pub(super) fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.available);
        if old == new {
            return false;
        }
        self.published = new;
        // A store comes after everything before it: who sees the index sees buffers, descriptors and ring.
        self.store_u16(AVAILABLE + 2, new);
        // The card first says that it wants to be told, then looks at the index; here it is the other way round. Unless the
        // load stays behind the store, each could miss the other (2.7.13.3.1).
        self.memory.fence(Ordering::SeqCst);
        if self.events {
            let event = self.load_u16(USED + 4 + usize::from(self.size) * USED_ELEMENT);
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.load_u16(USED) & NO_NOTIFICATION == 0
        }
    }

    /// Takes back a buffer that the card has used; `None` if there is none.
    pub(super) fn take(&mut self) -> Result<Option<Used>, Fault> {
        // What is read after the index is at least as new as the index: loads do not overtake it.
        let returned = self.load_u16(USED + 2).wrapping_sub(self.used);
        if returned == 0 {
            return Ok(None);
        }
        if returned > self.lent_count {
            return Err(Fault::ForeignBuffer);
        }
        let at = USED + 4 + self.slot(self.used) * USED_ELEMENT;
        let (buffer, length) = (self.load_u32(at), self.load_u32(at + 4));
        let buffer = u16::try_from(buffer).map_err(|_| Fault::ForeignBuffer)?;
        let (word, bit) = place(buffer);
        let lent = self.lent.get_mut(word).filter(|lent| **lent & bit != 0).ok_or(Fault::ForeignBuffer)?;
        *lent &= !bit;
        self.lent_count -= 1;
        self.used = self.used.wrapping_add(1);
        Ok(Some(Used { buffer, length }))
    }

    /// Whether the card has returned a buffer that was not taken yet.
    pub(super) fn has_used(&self) -> bool {
        self.load_u16(USED + 2) != self.used
    }

    /// Asks for an interrupt when the card returns the next buffer. If it has done so already, the result is `true` and
    /// the interrupt may not come.
    pub(super) fn arm(&self) -> bool {
        if self.events {
            self.store_u16(self.used_event(), self.used);
        } else {
            self.store_u16(AVAILABLE, 0);
        }
        // The card first returns a buffer, then looks whether an interrupt is wanted: as in `publish`, with roles exchanged.
        self.memory.fence(Ordering::SeqCst);
        self.has_used()
    }

    /// Wants no more interrupts. One can come nevertheless.
    pub(super) fn disarm(&self) {
        if !self.events {
            self.store_u16(AVAILABLE, NO_INTERRUPT);
        }
    }

    /// The entry for this count: sizes are powers of two.
    fn slot(&self, count: u16) -> usize {
        usize::from(count & self.size.wrapping_sub(1))
    }

    /// Offset of the place where the driver says with which used buffer it wants an interrupt.
    fn used_event(&self) -> usize {
        AVAILABLE + 4 + usize::from(self.size) * 2
    }

    /// The 16 bits at an offset from the start. It is inside: `new` checked the size.
    fn load_u16(&self, offset: usize) -> u16 {
        self.load(offset) as u16
    }

    fn load_u32(&self, offset: usize) -> u32 {
        self.load(offset) as u32
    }

    /// What the word that contains the offset holds from there on.
    fn load(&self, offset: usize) -> u64 {
        let at = self.start + offset;
        self.memory.load(at & !7).unwrap_or(0) >> (at % 8 * 8)
    }

    /// Sets 16 bits of a word that the card does not write.
    fn store_u16(&self, offset: usize, value: u16) {
        let at = self.start + offset;
        let shift = at % 8 * 8;
        let rest = self.memory.load(at & !7).unwrap_or(0) & !(u64::from(u16::MAX) << shift);
        let _: Option<()> = self.memory.store(at & !7, rest | u64::from(value) << shift);
    }
}

/// Who writes a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Driver,
    Card,
}

/// Word and bit of a buffer in a set.
fn place(buffer: u16) -> (usize, u64) {
    (usize::from(buffer / 64), 1 << (buffer % 64))
}

/// Most entries of a queue of this driver.
pub(super) const MAX_SIZE: u16 = 256;
/// Bytes for descriptors and rings of the largest queue.
pub(super) const RINGS: usize = 0x2000;

/// Bytes of a descriptor: address (64 bits), length (32), flags (16), next one (16).
const DESCRIPTOR: usize = 16;
/// Flag of a descriptor: the card writes the buffer.
const DEVICE_WRITES: u64 = 2;
/// Offset of the ring of available buffers: flags, index, entries of 16 bits, and where the next interrupt is wanted.
const AVAILABLE: usize = 0x1000;
/// Flag of that ring: no interrupts, please.
const NO_INTERRUPT: u16 = 1;
/// Offset of the ring of used buffers: flags, index, elements, and where the next notification is wanted.
const USED: usize = 0x1400;
/// Bytes of an element: number of the buffer (32 bits) and bytes written (32).
const USED_ELEMENT: usize = 8;
/// Flag of that ring: no notifications, please.
const NO_NOTIFICATION: u16 = 1;

const _: () = {
    let size = MAX_SIZE as usize;
    assert!(size * DESCRIPTOR <= AVAILABLE);
    assert!(AVAILABLE + 4 + size * 2 + 2 <= USED);
    assert!(USED + 4 + size * USED_ELEMENT + 2 <= RINGS);
};
