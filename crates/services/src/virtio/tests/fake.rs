//! A network card of the tests' own, written from the specification's view of the device.

use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicU64;

use palisade_abi::volatile::{Memory, Shared};

use crate::virtio::Registers;

/// The card. What a test sets before or while it is used makes it misbehave.
pub(super) struct Fake {
    pub(super) memory: Vec<AtomicU64>,
    pub(super) configuration: RefCell<Vec<u8>>,
    pub(super) offered: Cell<u64>,
    pub(super) accepted: Cell<u64>,
    pub(super) queue_limit: Cell<u16>,
    /// Status bits that it never shows.
    pub(super) refused_status: Cell<u8>,
    /// Reads of the status until a reset is over.
    pub(super) reset_takes: Cell<u32>,
    pub(super) refuses_vectors: Cell<bool>,
    pub(super) notify_offset: Cell<u16>,
    pub(super) memory_is_open: Cell<bool>,
    pub(super) interrupts: Cell<u32>,
    pub(super) bells: RefCell<Vec<u16>>,
    pub(super) statuses: RefCell<Vec<u8>>,
    status: Cell<u8>,
    device_half: Cell<u32>,
    driver_half: Cell<u32>,
    selected: Cell<usize>,
    queues: [FakeQueue; 2],
}

#[derive(Default)]
struct FakeQueue {
    size: Cell<u16>,
    vector: Cell<u16>,
    enabled: Cell<bool>,
    addresses: [Cell<u64>; 3],
    taken: Cell<u16>,
    used: Cell<u16>,
}

/// A base address register of the card, or its configuration.
#[derive(Clone, Copy)]
pub(super) struct Bar<'a>(pub(super) &'a Fake);

/// The PCI configuration of a card.
pub(super) struct Configuration<'a>(pub(super) &'a Fake);

impl Fake {
    pub(super) fn new(memory: usize) -> Self {
        Self {
            memory: (0..memory / 8).map(|_| AtomicU64::new(0x5a5a_5a5a_5a5a_5a5a)).collect(),
            configuration: RefCell::new(configuration()),
            offered: Cell::new(MAC | EVENT_INDEX | VERSION_1 | ACCESS_PLATFORM | 0x7f_0000),
            accepted: Cell::new(0),
            queue_limit: Cell::new(256),
            refused_status: Cell::new(0),
            reset_takes: Cell::new(2),
            refuses_vectors: Cell::new(false),
            notify_offset: Cell::new(1),
            memory_is_open: Cell::new(false),
            interrupts: Cell::new(0),
            bells: RefCell::default(),
            statuses: RefCell::default(),
            status: Cell::new(0xf),
            device_half: Cell::new(0),
            driver_half: Cell::new(0),
            selected: Cell::new(0),
            queues: Default::default(),
        }
    }

    pub(super) fn shared(&self) -> Shared<'_> {
        self.memory.as_slice().into()
    }

    /// A frame arrives. Returns whether the card had a buffer for it.
    pub(super) fn deliver(&self, frame: &[u8]) -> bool {
        let Some((buffer, address, length, flags)) = self.take(0) else { return false };
        assert_eq!(flags, 2, "a buffer that the card may write");
        let bytes = [&[0xee; 12][..], frame].concat();
        assert!(bytes.len() <= length as usize);
        assert_eq!(self.shared().copy_in(Self::offset(address), &bytes), Some(()));
        self.put(0, buffer.into(), bytes.len() as u32);
        true
    }

    /// Sends what there is to send.
    pub(super) fn transmit(&self) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        while let Some((buffer, address, length, flags)) = self.take(1) {
            assert_eq!(flags, 0, "a buffer that the card may read");
            let mut bytes = vec![0; length as usize];
            assert_eq!(self.shared().copy_out(Self::offset(address), &mut bytes), Some(()));
            assert_eq!(bytes[..12], [0; 12], "no offload");
            frames.push(bytes[12..].to_vec());
            self.put(1, buffer.into(), 0);
        }
        frames
    }

    /// Takes an available buffer: number, address, length, flags.
    pub(super) fn take(&self, queue: usize) -> Option<(u16, u64, u32, u16)> {
        let state = &self.queues[queue];
        assert!(state.enabled.get() && self.memory_is_open.get() && self.status.get() & 4 != 0);
        let (size, taken) = (state.size.get(), state.taken.get());
        // No notification is wanted as long as there are buffers.
        if self.events() {
            self.set_u16(state.addresses[2].get() + 4 + 8 * u64::from(size), taken.wrapping_sub(1));
        }
        let available = state.addresses[1].get();
        if self.u16(available + 2) == taken {
            if self.events() {
                self.set_u16(state.addresses[2].get() + 4 + 8 * u64::from(size), taken);
            }
            return None;
        }
        let buffer = self.u16(available + 4 + 2 * u64::from(taken % size));
        state.taken.set(taken.wrapping_add(1));
        let descriptor = state.addresses[0].get() + 16 * u64::from(buffer);
        let address = self.word(descriptor);
        let rest = self.word(descriptor + 8);
        Some((buffer, address, rest as u32, (rest >> 32) as u16))
    }

    /// Returns a buffer, whichever, and raises an interrupt if one is wanted.
    pub(super) fn put(&self, queue: usize, buffer: u32, length: u32) {
        let state = &self.queues[queue];
        let (size, used) = (state.size.get(), state.used.get());
        let ring = state.addresses[2].get();
        let element = ring + 4 + 8 * u64::from(used % size);
        let bytes = [buffer.to_le_bytes(), length.to_le_bytes()].concat();
        assert_eq!(self.shared().copy_in(Self::offset(element), &bytes), Some(()));
        self.set_used(queue, used.wrapping_add(1));
        let available = state.addresses[1].get();
        let wanted = if self.events() {
            self.u16(available + 4 + 2 * u64::from(size)) == used
        } else {
            self.u16(available) & 1 == 0
        };
        if wanted && state.vector.get() == 0 {
            self.interrupts.set(self.interrupts.get() + 1);
        }
    }

    /// Sets the index of returned buffers, whatever was returned.
    pub(super) fn set_used(&self, queue: usize, index: u16) {
        self.queues[queue].used.set(index);
        self.set_u16(self.queues[queue].addresses[2].get() + 2, index);
    }

    fn events(&self) -> bool {
        self.accepted.get() & EVENT_INDEX != 0
    }

    fn offset(address: u64) -> usize {
        usize::try_from(address - DMA_ADDRESS).unwrap()
    }

    fn word(&self, address: u64) -> u64 {
        self.shared().load(Self::offset(address)).unwrap()
    }

    fn u16(&self, address: u64) -> u16 {
        let mut bytes = [0; 2];
        self.shared().copy_out(Self::offset(address), &mut bytes).unwrap();
        u16::from_le_bytes(bytes)
    }

    fn set_u16(&self, address: u64, value: u16) {
        self.shared().copy_in(Self::offset(address), &value.to_le_bytes()).unwrap();
    }

    fn set_status(&self, status: u8) {
        self.statuses.borrow_mut().push(status);
        self.status.set(status & !self.refused_status.get());
        if status == 0 {
            self.status.set(0x80);
        }
    }

    fn read_status(&self) -> u8 {
        if self.status.get() == 0x80 {
            self.reset_takes.set(self.reset_takes.get().saturating_sub(1));
            if self.reset_takes.get() == 0 {
                self.status.set(0);
            }
        }
        self.status.get()
    }

    fn set_half(cell: &Cell<u64>, upper: bool, value: u32) {
        let (shift, keep) = if upper { (32, 0xffff_ffff) } else { (0, 0xffff_ffff << 32) };
        cell.set(cell.get() & keep | u64::from(value) << shift);
    }
}

/// The registers lie as QEMU has them: common at 0, the card's own at 0x2000, notification at 0x3000.
impl Registers for Bar<'_> {
    fn size(&self) -> u64 {
        0x4000
    }

    fn read_u8(&self, offset: u64) -> u8 {
        match offset {
            20 => self.0.read_status(),
            21 => 7,
            0x2000..0x2006 => ADDRESS[(offset - 0x2000) as usize],
            _ => panic!("8-bit read at {offset:#x}"),
        }
    }

    fn read_u16(&self, offset: u64) -> u16 {
        let queue = self.0.queues.get(self.0.selected.get());
        match offset {
            24 => queue.map_or(0, |_| self.0.queue_limit.get()),
            26 if self.0.refuses_vectors.get() => 0xffff,
            26 => queue.map_or(0xffff, |queue| queue.vector.get()),
            30 => self.0.notify_offset.get() * self.0.selected.get() as u16,
            _ => panic!("16-bit read at {offset:#x}"),
        }
    }

    fn read_u32(&self, offset: u64) -> u32 {
        assert_eq!(offset, 4, "32-bit read");
        (self.0.offered.get() >> (32 * self.0.device_half.get())) as u32
    }

    fn write_u8(&self, offset: u64, value: u8) {
        assert_eq!(offset, 20, "8-bit write");
        self.0.set_status(value);
    }

    fn write_u16(&self, offset: u64, value: u16) {
        let queue = &self.0.queues[self.0.selected.get()];
        match offset {
            16 => assert_eq!(value, 0),
            22 => self.0.selected.set(value.into()),
            24 => queue.size.set(value),
            26 => queue.vector.set(value),
            28 => queue.enabled.set(value == 1),
            0x3000..0x4000 => self.0.bells.borrow_mut().push(value),
            _ => panic!("16-bit write at {offset:#x}"),
        }
    }

    fn write_u32(&self, offset: u64, value: u32) {
        let queue = &self.0.queues[self.0.selected.get()];
        match offset {
            0 => self.0.device_half.set(value),
            8 => self.0.driver_half.set(value),
            12 => Fake::set_half(&self.0.accepted, self.0.driver_half.get() == 1, value),
            32..56 => {
                let register = (offset - 32) as usize / 4;
                Fake::set_half(&queue.addresses[register / 2], register % 2 == 1, value);
            }
            _ => panic!("32-bit write at {offset:#x}"),
        }
    }
}

impl Registers for Configuration<'_> {
    fn size(&self) -> u64 {
        4096
    }

    fn read_u8(&self, offset: u64) -> u8 {
        self.0.configuration.borrow().get(offset as usize).copied().unwrap_or(0xff)
    }

    fn read_u16(&self, offset: u64) -> u16 {
        u16::from_le_bytes([self.read_u8(offset), self.read_u8(offset + 1)])
    }

    fn read_u32(&self, offset: u64) -> u32 {
        u32::from(self.read_u16(offset)) | u32::from(self.read_u16(offset + 2)) << 16
    }

    fn write_u8(&self, _: u64, _: u8) {
        panic!("the configuration is not written");
    }

    fn write_u16(&self, _: u64, _: u16) {
        panic!("the configuration is not written");
    }

    fn write_u32(&self, _: u64, _: u32) {
        panic!("the configuration is not written");
    }
}

/// A configuration as QEMU's cards have it: another capability first, then the virtio ones.
fn configuration() -> Vec<u8> {
    let mut page = vec![0; 256];
    (page[0x06], page[0x34]) = (0x10, 0x98);
    let capability = |next, kind, offset: u32, length: u32| {
        let mut bytes = vec![9, next, 16, kind, 4, 0, 0, 0];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes
    };
    page[0x98..0x9a].copy_from_slice(&[0x11, 0x84]);
    page[0x84..0x94].copy_from_slice(&capability(0x70, 5, 0, 0));
    page[0x70..0x80].copy_from_slice(&capability(0x60, 2, 0x3000, 0x1000));
    page[0x80] = 4;
    page[0x60..0x70].copy_from_slice(&capability(0x50, 4, 0x2000, 0x1000));
    page[0x50..0x60].copy_from_slice(&capability(0x40, 3, 0x1000, 0x1000));
    page[0x40..0x50].copy_from_slice(&capability(0, 1, 0, 0x1000));
    page
}

/// The address by which the card reaches the shared memory.
pub(super) const DMA_ADDRESS: u64 = 0x1_2345_6000;
pub(super) const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub(super) const MAC: u64 = 1 << 5;
pub(super) const EVENT_INDEX: u64 = 1 << 29;
pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const ACCESS_PLATFORM: u64 = 1 << 33;
