//! The network card: frames in and out (5.1).

use palisade_abi::network_element::MAX_FRAME;
use palisade_abi::volatile::Memory;

use super::fault::Fault;
use super::features::bit;
use super::pci::BARS;
use super::queue::{MAX_SIZE, Queue, RINGS, Writer};
use super::registers::Registers;
use super::transport::{Doorbell, Transport};
use crate::switch::{Address, Loss, Wire};

/// Memory that the card shares with its driver.
#[derive(Debug, Clone, Copy)]
pub struct Dma<M> {
    /// The memory.
    pub memory: M,
    /// The address by which the card reaches it.
    pub address: u64,
}

/// A network card at work.
#[derive(Debug)]
pub struct Card<R, M> {
    transport: Transport<R>,
    memory: M,
    address: Option<Address>,
    receive: Ring<M>,
    send: Ring<M>,
    /// Buffers to send with that the card does not have.
    free: Free,
    fault: Option<Fault>,
}

impl<R: Registers + Copy, M: Memory + Clone> Card<R, M> {
    /// Resets the card, and starts it.
    ///
    /// `configuration` is its PCI configuration, `bars` are its mapped registers, and MSI-X entry 0 leads to this driver.
    /// `wait` lets some time pass, and says whether more may; `open_memory` lets the card reach the shared memory, which it
    /// must not before it was reset: it could go on with what it was told by somebody else.
    ///
    /// # Errors
    ///
    /// It cannot be used.
    pub fn start(
        configuration: &impl Registers,
        bars: &[Option<R>; BARS],
        dma: &Dma<M>,
        wait: impl FnMut() -> bool,
        open_memory: impl FnOnce(),
    ) -> Result<Self, Fault> {
        let transport = Transport::find(configuration, bars)?;
        transport.reset(wait)?;
        open_memory();
        let features = transport.negotiate()?;
        let half = dma.memory.size() / 2;
        let events = features.has(bit::EVENT_INDEX);
        let receive = Ring::set_up(&transport, RECEIVE_QUEUE, dma, 0..half, events)?;
        let send = Ring::set_up(&transport, SEND_QUEUE, dma, half..2 * half, events)?;
        let address = transport.address(features);
        transport.start(VECTOR);
        let memory = dma.memory.clone();
        let free = Free::new();
        let mut card = Self { transport, memory, address, receive, send, free, fault: None };
        for buffer in 0..card.receive.size {
            card.receive.describe(buffer, BUFFER as u32, Writer::Card);
            card.receive.queue.lend(buffer);
        }
        for buffer in 0..card.send.size {
            card.free.push(buffer);
            // No offload, one buffer (5.1.6.2): nobody changes this header any more.
            let _: Option<()> = card.memory.copy_in(card.send.offset(buffer), &[0; HEADER]);
        }
        card.flush();
        Ok(card)
    }

    /// The card's own MAC address, if it has one.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.address
    }

    /// How the card broke its promises since it was started. It is not used any more until it is started again.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether the card says that it cannot go on. Its register is asked, which takes longer than anything else here.
    #[must_use]
    pub fn needs_reset(&self) -> bool {
        self.transport.needs_reset()
    }

    /// Asks for an interrupt when a frame arrives and, if the card has no room for more to send, when it has. Returns
    /// whether that happened already.
    pub fn arm(&mut self) -> bool {
        let has_room = self.room() > 0;
        let sent = !has_room && self.send.queue.arm();
        self.receive.queue.arm() || sent
    }

    /// Wants no more interrupts for now.
    pub fn disarm(&mut self) {
        self.receive.queue.disarm();
        self.send.queue.disarm();
    }

    /// Takes back the buffers that the card has sent.
    fn reclaim(&mut self) {
        while self.fault.is_none() {
            match self.send.queue.take() {
                Ok(Some(used)) => self.free.push(used.buffer),
                Ok(None) => break,
                Err(fault) => self.fault = Some(fault),
            }
        }
    }
}

impl<R: Registers + Copy, M: Memory + Clone> Wire for Card<R, M> {
    fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<Result<usize, Loss>> {
        if self.fault.is_some() {
            return None;
        }
        let used = match self.receive.queue.take() {
            Ok(used) => used?,
            Err(fault) => {
                self.fault = Some(fault);
                return None;
            }
        };
        let length = (used.length as usize).checked_sub(HEADER);
        let copied = length.and_then(|length| {
            let start = self.receive.offset(used.buffer) + HEADER;
            self.memory.copy_out(start, frame.get_mut(..length)?)?;
            Some(length)
        });
        // What was copied is the driver's own; the card may have the buffer back.
        self.receive.queue.lend(used.buffer);
        Some(copied.ok_or(Loss::Length))
    }

    fn has_received(&self) -> bool {
        self.fault.is_none() && self.receive.queue.has_used()
    }

    fn room(&mut self) -> usize {
        if self.free.count < usize::from(self.send.size) / 2 {
            self.reclaim();
        }
        if self.fault.is_some() { 0 } else { self.free.count }
    }

    fn send(&mut self, frame: &[u8], _sender: usize) {
        if frame.len() > MAX_FRAME || self.room() == 0 {
            return;
        }
        let Some(buffer) = self.free.pop() else { return };
        let _: Option<()> = self.memory.copy_in(self.send.offset(buffer) + HEADER, frame);
        self.send.describe(buffer, (HEADER + frame.len()) as u32, Writer::Driver);
        self.send.queue.lend(buffer);
    }

    fn flush(&mut self) {
        for ring in [&mut self.receive, &mut self.send] {
            if ring.queue.publish() {
                self.transport.ring(ring.doorbell);
            }
        }
    }
}

/// A queue with its buffers.
#[derive(Debug)]
struct Ring<M> {
    queue: Queue<M>,
    size: u16,
    doorbell: Doorbell,
    /// Offset of the first buffer in the shared memory, and the address by which the card reaches that.
    buffers: usize,
    address: u64,
}

impl<M: Memory + Clone> Ring<M> {
    /// Sets up a queue in a part of the shared memory: the rings, and behind them as many buffers as there is room for.
    fn set_up<R: Registers + Copy>(
        transport: &Transport<R>,
        number: u16,
        dma: &Dma<M>,
        part: core::ops::Range<usize>,
        events: bool,
    ) -> Result<Self, Fault> {
        let limit = transport.queue_limit(number).min(MAX_SIZE);
        if !limit.is_power_of_two() {
            return Err(Fault::NoQueue);
        }
        let start = part.start.next_multiple_of(PAGE);
        let buffers = start.saturating_add(RINGS);
        let room = part.end.saturating_sub(buffers) / BUFFER;
        let fits = |size: &u16| usize::from(*size) <= room;
        let size = (0..u16::BITS).map(|shift| limit >> shift).find(fits).filter(|size| *size > 0);
        let size = size.ok_or(Fault::NoMemory)?;
        let queue = Queue::new(dma.memory.clone(), start, size, events).ok_or(Fault::NoMemory)?;
        let doorbell = transport.set_up_queue(number, size, &queue.place(dma.address), VECTOR)?;
        Ok(Self { queue, size, doorbell, buffers, address: dma.address.wrapping_add(buffers as u64) })
    }

    /// Offset of a buffer in the shared memory.
    fn offset(&self, buffer: u16) -> usize {
        self.buffers + usize::from(buffer) * BUFFER
    }

    fn describe(&self, buffer: u16, length: u32, writer: Writer) {
        let address = self.address.wrapping_add(u64::from(buffer) * BUFFER as u64);
        self.queue.describe(buffer, address, length, writer);
    }
}

/// Numbers of buffers.
#[derive(Debug)]
struct Free {
    buffers: [u16; MAX_SIZE as usize],
    count: usize,
}

impl Free {
    const fn new() -> Self {
        Self { buffers: [0; MAX_SIZE as usize], count: 0 }
    }

    fn push(&mut self, buffer: u16) {
        if let Some(slot) = self.buffers.get_mut(self.count) {
            *slot = buffer;
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Option<u16> {
        let last = self.count.checked_sub(1)?;
        self.count = last;
        self.buffers.get(last).copied()
    }
}

/// The queues (5.1.2).
const RECEIVE_QUEUE: u16 = 0;
const SEND_QUEUE: u16 = 1;
/// The entry of the MSI-X table for all interrupts.
const VECTOR: u16 = 0;
/// Bytes of the header before each frame (5.1.6): twelve with version 1.
const HEADER: usize = 12;
/// Bytes of a buffer: header and frame, rounded up to what never crosses more than one page boundary.
const BUFFER: usize = 2048;
/// Alignment of a queue. It needs 16 bytes (2.7).
const PAGE: usize = 4096;
