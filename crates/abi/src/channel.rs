//! Shared-memory channels: SHMStream version 2, the way all data passes between subjects.
//!
//! A channel has one writer. A reader never writes to it, so any number of readers can exist, and none can disturb the
//! writer. A slow reader loses elements (an overrun) and is told so.
//!
//! Both ends are generic over [`Memory`], so that the very code that runs in subjects is explored in every possible
//! interleaving by the tests.

#![forbid(unsafe_code)]

use core::marker::PhantomData;
use core::mem::size_of;
use core::num::NonZeroU64;
use core::sync::atomic::Ordering;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::volatile::Memory;

/// What a channel carries: its protocol number, and a type of the element's size.
///
/// Every bit pattern is a valid element: what the bytes mean is judged after they were read.
pub trait Element: FromBytes + IntoBytes + Immutable {
    /// The number that stands for the protocol in the channel's header.
    const PROTOCOL: u64;
}

/// The writing end of a channel.
#[derive(Debug)]
pub struct Writer<M, E> {
    memory: M,
    elements: u64,
    written: u64,
    element: PhantomData<fn(&E)>,
}

impl<M: Memory, E: Element> Writer<M, E> {
    /// Starts the channel: clears it and publishes it with a first epoch.
    ///
    /// The epoch must differ from the last one the readers saw; a time-stamp counter does. Returns `None` if the memory
    /// does not hold a single element.
    pub fn start(memory: M, epoch: NonZeroU64) -> Option<Self> {
        let elements = capacity(memory.size(), size_of::<E>())?;
        memory.store(EPOCH, INACTIVE)?;
        memory.fence(Ordering::Release);
        for offset in (0..memory.size()).step_by(8).filter(|o| *o != EPOCH) {
            memory.store(offset, 0)?;
        }
        memory.store(TRANSPORT, SHMSTREAM_2)?;
        memory.store(PROTOCOL, E::PROTOCOL)?;
        memory.store(ELEMENT_SIZE, size_of::<E>() as u64)?;
        memory.store(ELEMENTS, elements)?;
        memory.store(EPOCH, epoch.get())?;
        Some(Self { memory, elements, written: 0, element: PhantomData })
    }

    /// Writes an element; the oldest one is overwritten if the channel is full.
    pub fn write(&mut self, element: &E) {
        // The slot exists: `start` counted the elements that fit.
        let _: Option<()> = self.try_write(element);
    }

    /// Begins a new epoch: readers start over, and elements they did not read yet are lost.
    ///
    /// A reader that cannot recover from an overrun is kept from one by a new epoch before
    /// [`Writer::written`] exceeds [`Writer::elements`].
    pub fn begin_epoch(&mut self, epoch: NonZeroU64) {
        self.written = 0;
        // The header exists, because `start` wrote all of it.
        let _: Option<()> = self.try_begin_epoch(epoch);
    }

    /// Elements written since the epoch began.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Elements the channel holds.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    fn try_write(&mut self, element: &E) -> Option<()> {
        let slot = slot(self.written, self.elements, size_of::<E>())?;
        let count = self.written.wrapping_add(1);
        self.memory.store(WRITER_STARTED, count)?;
        // A reader that sees any byte of the new element also sees that its slot is being overwritten.
        self.memory.fence(Ordering::Release);
        self.memory.copy_in(slot, element.as_bytes())?;
        self.memory.store(WRITTEN, count)?;
        self.written = count;
        Some(())
    }

    fn try_begin_epoch(&self, epoch: NonZeroU64) -> Option<()> {
        self.memory.store(EPOCH, INACTIVE)?;
        self.memory.fence(Ordering::Release);
        self.memory.store(WRITER_STARTED, 0)?;
        self.memory.store(WRITTEN, 0)?;
        self.memory.store(EPOCH, epoch.get())
    }
}

/// What a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Read {
    /// The next element, now in the caller's hands.
    Element,
    /// No element that was not read yet.
    Nothing,
    /// No writer has started the channel, or it is about to start it anew.
    Inactive,
    /// A writer has started the channel anew. Reading goes on with its first element.
    EpochChanged,
    /// The writer was faster: elements are lost. Nothing more is read until [`Reader::drain`].
    Overrun,
    /// The writer speaks another protocol, or describes elements that do not fit the channel.
    Incompatible,
}

/// A reading end of a channel.
///
/// It survives any writer: every field of the header is read once, judged, and from then on only the judged copy is used.
#[derive(Debug)]
pub struct Reader<M, E> {
    memory: M,
    epoch: u64,
    elements: u64,
    read: u64,
    element: PhantomData<fn(&mut E)>,
}

impl<M: Memory, E: Element> Reader<M, E> {
    /// A reader of the channel in `memory`, whether or not a writer has started it.
    pub fn new(memory: M) -> Self {
        Self { memory, epoch: INACTIVE, elements: 0, read: 0, element: PhantomData }
    }

    /// Reads the next element into `element`, whose contents are meaningless if the result is not [`Read::Element`].
    pub fn read(&mut self, element: &mut E) -> Read {
        // `None` cannot be: a reader that has taken over an epoch knows that header and slots lie inside the memory; one
        // whose memory has no room for a header never gets there.
        self.try_read(element).unwrap_or(Read::Incompatible)
    }

    /// Gives up all elements written so far, and reads on with the next one. Returns how many were given up, as far as
    /// the writer's word goes.
    pub fn drain(&mut self) -> u64 {
        let written = self.memory.load(WRITTEN).unwrap_or(self.read);
        let lost = written.wrapping_sub(self.read);
        self.read = written;
        lost
    }

    /// Whether [`Reader::read`] would return something else than [`Read::Nothing`] or [`Read::Inactive`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let epoch = self.memory.load(EPOCH).unwrap_or(INACTIVE);
        epoch != INACTIVE && (epoch != self.epoch || self.memory.load(WRITTEN) != Some(self.read))
    }

    fn try_read(&mut self, element: &mut E) -> Option<Read> {
        if let Some(news) = self.epoch_news()? {
            return Some(news);
        }
        let written = self.memory.load(WRITTEN)?;
        if written == self.read {
            return Some(Read::Nothing);
        }
        if self.is_overrun(written) {
            // A new epoch begins with smaller counters.
            return Some(self.epoch_news()?.unwrap_or(Read::Overrun));
        }
        let slot = slot(self.read, self.elements, size_of::<E>())?;
        self.memory.copy_out(slot, element.as_mut_bytes())?;
        // If any byte of the copy is from a later element or epoch, one of the two loads that follow shows it.
        self.memory.fence(Ordering::Acquire);
        let started = self.memory.load(WRITER_STARTED)?;
        if let Some(news) = self.epoch_news()? {
            return Some(news);
        }
        if self.is_overrun(started) {
            return Some(Read::Overrun);
        }
        self.read = self.read.wrapping_add(1);
        Some(Read::Element)
    }

    /// Whether the next element is overwritten once the writer's counter has this value.
    fn is_overrun(&self, counter: u64) -> bool {
        counter.wrapping_sub(self.read) > self.elements
    }

    /// What there is to say if the epoch is no longer the one that was taken over.
    fn epoch_news(&mut self) -> Option<Option<Read>> {
        match self.memory.load(EPOCH)? {
            INACTIVE => {
                self.epoch = INACTIVE;
                Some(Some(Read::Inactive))
            }
            epoch if epoch == self.epoch => Some(None),
            epoch => self.take_over(epoch).map(Some),
        }
    }

    fn take_over(&mut self, epoch: u64) -> Option<Read> {
        self.epoch = INACTIVE;
        let size = size_of::<E>();
        let compatible = self.memory.load(TRANSPORT)? == SHMSTREAM_2
            && self.memory.load(PROTOCOL)? == E::PROTOCOL
            && self.memory.load(ELEMENT_SIZE)? == size as u64;
        let elements = self.memory.load(ELEMENTS)?;
        if !compatible || elements == 0 || elements > capacity(self.memory.size(), size)? {
            return Some(Read::Incompatible);
        }
        self.epoch = epoch;
        self.elements = elements;
        self.read = 0;
        Some(Read::EpochChanged)
    }
}

/// Number of elements that fit, if at least one does.
fn capacity(memory: usize, element: usize) -> Option<u64> {
    match memory.checked_sub(HEADER_SIZE)?.checked_div(element)? {
        0 => None,
        elements => Some(elements as u64),
    }
}

/// Offset of the slot of element number `count`.
fn slot(count: u64, elements: u64, size: usize) -> Option<usize> {
    let index = usize::try_from(count.checked_rem(elements)?).ok()?;
    index.checked_mul(size)?.checked_add(HEADER_SIZE)
}

/// Bytes of a channel's header; the slots follow it.
pub const HEADER_SIZE: usize = 64;
/// Number of the transport: SHMStream, version 2.
pub const SHMSTREAM_2: u64 = 0x4873_12b6_b79a_9b6d;
/// The epoch of a channel that no writer has started.
pub const INACTIVE: u64 = 0;

/// Offset of the number of the transport.
pub const TRANSPORT: usize = 0;
/// Offset of the epoch.
pub const EPOCH: usize = 8;
/// Offset of the protocol's number.
pub const PROTOCOL: usize = 16;
/// Offset of the bytes of an element.
pub const ELEMENT_SIZE: usize = 24;
/// Offset of the number of elements.
pub const ELEMENTS: usize = 32;
/// Offset of the writer's first counter: elements it has begun to write.
pub const WRITER_STARTED: usize = 48;
/// Offset of the writer's second counter: elements it has written.
pub const WRITTEN: usize = 56;

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;
    use crate::volatile::Shared;

    #[derive(Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
    #[repr(transparent)]
    struct Number(u64);

    impl Element for Number {
        const PROTOCOL: u64 = 77;
    }

    fn memory(elements: usize) -> Vec<AtomicU64> {
        (0..8 + elements).map(|_| AtomicU64::new(0x5a5a)).collect()
    }

    fn epoch(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    fn pair(words: &[AtomicU64]) -> (Writer<Shared<'_>, Number>, Reader<Shared<'_>, Number>) {
        (Writer::start(words.into(), epoch(1)).unwrap(), Reader::new(words.into()))
    }

    fn read(reader: &mut Reader<Shared<'_>, Number>) -> Result<u64, Read> {
        let mut number = Number(0);
        match reader.read(&mut number) {
            Read::Element => Ok(number.0),
            other => Err(other),
        }
    }

    #[test]
    fn elements_arrive_in_order() {
        let words = memory(3);
        let (mut writer, mut reader) = pair(&words);
        assert!(reader.is_ready());
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        for round in 0..10 {
            assert!(!reader.is_ready());
            assert_eq!(read(&mut reader), Err(Read::Nothing));
            writer.write(&Number(round));
            writer.write(&Number(round + 100));
            assert!(reader.is_ready());
            assert_eq!(read(&mut reader), Ok(round));
            assert_eq!(read(&mut reader), Ok(round + 100));
        }
    }

    #[test]
    fn the_header_is_what_the_interface_says() {
        let words = memory(3);
        let _writer = Writer::<_, Number>::start(Shared::from(words.as_slice()), epoch(9)).unwrap();
        let header: Vec<u64> = words.iter().map(|w| w.load(Ordering::Relaxed)).collect();
        assert_eq!(header, [0x4873_12b6_b79a_9b6d, 9, 77, 8, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_overrun_is_reported_until_the_reader_drains() {
        let words = memory(2);
        let (mut writer, mut reader) = pair(&words);
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        for number in 0..3 {
            writer.write(&Number(number));
        }
        assert_eq!(read(&mut reader), Err(Read::Overrun));
        assert_eq!(read(&mut reader), Err(Read::Overrun));
        assert_eq!(reader.drain(), 3);
        assert_eq!(read(&mut reader), Err(Read::Nothing));
        writer.write(&Number(3));
        assert_eq!(read(&mut reader), Ok(3));
    }

    #[test]
    fn a_new_epoch_starts_readers_over() {
        let words = memory(2);
        let (mut writer, mut reader) = pair(&words);
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        writer.write(&Number(1));
        writer.begin_epoch(epoch(2));
        assert_eq!(writer.written(), 0);
        writer.write(&Number(2));
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        assert_eq!(read(&mut reader), Ok(2));
    }

    #[test]
    fn a_channel_without_a_writer_is_inactive() {
        let words: Vec<AtomicU64> = (0..9).map(|_| AtomicU64::new(0)).collect();
        let mut reader = Reader::new(words.as_slice().into());
        assert!(!reader.is_ready());
        assert_eq!(read(&mut reader), Err(Read::Inactive));
    }

    #[test]
    fn memory_without_room_for_an_element_is_no_channel() {
        let words = memory(0);
        let shared = Shared::from(words.as_slice());
        assert!(Writer::<_, Number>::start(shared, epoch(1)).is_none());
        for size in 0..8 {
            let mut reader = Reader::new(words.get(..size).unwrap().into());
            let read = read(&mut reader).unwrap_err();
            assert!(matches!(read, Read::Incompatible | Read::Inactive), "{read:?}");
        }
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        for (offset, value) in [
            (TRANSPORT, 0),
            (PROTOCOL, 78),
            (ELEMENT_SIZE, 0),
            (ELEMENT_SIZE, 16),
            (ELEMENT_SIZE, u64::MAX),
            (ELEMENTS, 0),
            (ELEMENTS, 4),
            (ELEMENTS, u64::MAX),
        ] {
            let words = memory(3);
            let (_, mut reader) = pair(&words);
            words[offset / 8].store(value, Ordering::Relaxed);
            assert_eq!(read(&mut reader), Err(Read::Incompatible));
        }
    }

    #[test]
    fn a_counter_that_goes_backwards_is_an_overrun() {
        let words = memory(3);
        let (mut writer, mut reader) = pair(&words);
        writer.write(&Number(1));
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        assert_eq!(read(&mut reader), Ok(1));
        words[WRITTEN / 8].store(0, Ordering::Relaxed);
        assert_eq!(read(&mut reader), Err(Read::Overrun));
    }

    #[test]
    fn a_header_that_changes_after_it_was_judged_changes_nothing() {
        let words = memory(3);
        let (mut writer, mut reader) = pair(&words);
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        writer.write(&Number(5));
        for offset in [TRANSPORT, PROTOCOL, ELEMENT_SIZE, ELEMENTS] {
            words[offset / 8].store(u64::MAX, Ordering::Relaxed);
        }
        assert_eq!(read(&mut reader), Ok(5));
    }
}
