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
        Self::start_announcing(memory, epoch, 0)
    }

    /// Starts the channel like [`Writer::start`], with this value as its announcement: a word for readers that is there
    /// from the first epoch on and stays. The protocol says what it means.
    pub fn start_announcing(memory: M, epoch: NonZeroU64, announcement: u64) -> Option<Self> {
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
        memory.store(ANNOUNCEMENT, announcement)?;
        memory.store(EPOCH, epoch.get())?;
        Some(Self { memory, elements, written: 0, element: PhantomData })
    }

    /// Writes an element; the oldest one is overwritten if the channel is full.
    pub fn write(&mut self, element: &E) {
        self.write_with(|slot| slot.copy_in(0, element.as_bytes()));
    }

    /// Writes an element of which `fill` sets the bytes that matter; the others are those of some earlier element. If
    /// `fill` gives up (`None`), nothing is written as far as readers can tell.
    pub fn write_with(&mut self, fill: impl FnOnce(Slot<'_, M>) -> Option<()>) {
        // The slot exists: `start` counted the elements that fit.
        let _: Option<()> = self.try_write(fill);
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

    /// Announces something else from now on.
    pub fn announce(&mut self, announcement: u64) {
        // The header exists, because `start` wrote all of it.
        let _: Option<()> = self.memory.store(ANNOUNCEMENT, announcement);
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

    fn try_write(&mut self, fill: impl FnOnce(Slot<'_, M>) -> Option<()>) -> Option<()> {
        let slot = Slot::of::<E>(&self.memory, self.written, self.elements)?;
        let count = self.written.wrapping_add(1);
        self.memory.store(WRITER_STARTED, count)?;
        // A reader that sees any byte of the new element also sees that its slot is being overwritten.
        self.memory.fence(Ordering::Release);
        fill(slot)?;
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

/// An element as it lies in shared memory, where it can change at any moment.
#[derive(Debug)]
pub struct Slot<'a, M> {
    memory: &'a M,
    start: usize,
    size: usize,
}

impl<'a, M: Memory> Slot<'a, M> {
    /// Copies bytes of the element out, from `offset` on. `None`, and nothing is copied, if it has not that many.
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        self.memory.copy_out(self.place(offset, to.len())?, to)
    }

    /// Copies bytes into the element, from `offset` on. `None`, and nothing is copied, if it has not that many.
    pub fn copy_in(&self, offset: usize, from: &[u8]) -> Option<()> {
        self.memory.copy_in(self.place(offset, from.len())?, from)
    }

    /// The slot of element number `count`.
    fn of<E>(memory: &'a M, count: u64, elements: u64) -> Option<Self> {
        let size = size_of::<E>();
        let index = usize::try_from(count.checked_rem(elements)?).ok()?;
        let start = index.checked_mul(size)?.checked_add(HEADER_SIZE)?;
        Some(Self { memory, start, size })
    }

    fn place(&self, offset: usize, length: usize) -> Option<usize> {
        let fits = offset.checked_add(length).is_some_and(|end| end <= self.size);
        if fits { self.start.checked_add(offset) } else { None }
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
    /// Elements of the channel in this epoch; 0 if its header was refused.
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
        self.read_with(|slot| slot.copy_out(0, element.as_mut_bytes()))
    }

    /// Reads of the next element what `copy` takes out of its slot: meaningless if the result is not [`Read::Element`].
    ///
    /// What `copy` sees can change while it looks, so it must get along with any bytes. If it gives up (`None`), the
    /// channel counts as incompatible and the element as unread.
    pub fn read_with(&mut self, copy: impl FnOnce(Slot<'_, M>) -> Option<()>) -> Read {
        // Apart from `copy`, `None` cannot be: a reader that has taken over an epoch knows that header and slots lie inside
        // the memory; one whose memory has no room for a header never gets there.
        self.try_read(copy).unwrap_or(Read::Incompatible)
    }

    /// Gives up all elements written so far, and reads on with the next one. Returns how many were given up, as far as
    /// the writer's word goes.
    pub fn drain(&mut self) -> u64 {
        self.drain_to(0)
    }

    /// Gives up all elements written so far but the latest ones, at most `keep` of them. Returns how many were given up,
    /// as far as the writer's word goes.
    pub fn drain_to(&mut self, keep: u64) -> u64 {
        let written = self.memory.load(WRITTEN).unwrap_or(self.read);
        let unread = written.wrapping_sub(self.read);
        let kept = keep.min(unread).min(self.elements);
        self.read = written.wrapping_sub(kept);
        unread - kept
    }

    /// Elements the channel holds, as far as the writer's word goes; 0 before its first epoch was taken over.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Elements of this epoch that were read or given up.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.read
    }

    /// Whether [`Reader::read`] would say something new: not [`Read::Nothing`], [`Read::Inactive`] or once more
    /// [`Read::Incompatible`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let epoch = self.memory.load(EPOCH).unwrap_or(INACTIVE);
        let unread = || self.elements != 0 && self.memory.load(WRITTEN) != Some(self.read);
        epoch != INACTIVE && (epoch != self.epoch || unread())
    }

    /// The epoch that the elements read last belong to; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What the writer announces; `None` if the channel is inactive. The writer may have started it anew meanwhile.
    #[must_use]
    pub fn announcement(&self) -> Option<u64> {
        let active = self.memory.load(EPOCH).is_some_and(|epoch| epoch != INACTIVE);
        if active { self.memory.load(ANNOUNCEMENT) } else { None }
    }

    fn try_read(&mut self, copy: impl FnOnce(Slot<'_, M>) -> Option<()>) -> Option<Read> {
        if let Some(news) = self.epoch_news()? {
            return Some(news);
        }
        if self.elements == 0 {
            return Some(Read::Incompatible);
        }
        let written = self.memory.load(WRITTEN)?;
        if written == self.read {
            return Some(Read::Nothing);
        }
        if self.is_overrun(written) {
            // A new epoch begins with smaller counters.
            return Some(self.epoch_news()?.unwrap_or(Read::Overrun));
        }
        copy(Slot::of::<E>(&self.memory, self.read, self.elements)?)?;
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
        // A writer publishes its epoch after everything else in the header: what is refused stays so until the next one.
        (self.epoch, self.elements, self.read) = (epoch, 0, 0);
        let size = size_of::<E>();
        let compatible = self.memory.load(TRANSPORT)? == SHMSTREAM_2
            && self.memory.load(PROTOCOL)? == E::PROTOCOL
            && self.memory.load(ELEMENT_SIZE)? == size as u64;
        let elements = self.memory.load(ELEMENTS)?;
        if !compatible || elements == 0 || elements > capacity(self.memory.size(), size)? {
            return Some(Read::Incompatible);
        }
        self.elements = elements;
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
/// Offset of the writer's announcement. The transport reserves the word: a writer that knows nothing of it leaves 0.
pub const ANNOUNCEMENT: usize = 40;
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
    fn a_reader_can_keep_the_latest_elements_after_an_overrun() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        assert_eq!((read(&mut reader), reader.elements()), (Err(Read::EpochChanged), 4));
        for number in 0..7 {
            writer.write(&Number(number));
        }
        assert_eq!(read(&mut reader), Err(Read::Overrun));
        assert_eq!(reader.drain_to(2), 5);
        assert_eq!([read(&mut reader), read(&mut reader)], [Ok(5), Ok(6)]);
        assert_eq!(reader.drain_to(2), 0, "nothing is read twice");
        assert_eq!(read(&mut reader), Err(Read::Nothing));
        for number in 7..20 {
            writer.write(&Number(number));
        }
        assert_eq!(reader.drain_to(u64::MAX), 9, "no more is kept than the channel holds");
        assert_eq!(read(&mut reader), Ok(16));
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
            assert!(reader.is_ready());
            assert_eq!(read(&mut reader), Err(Read::Incompatible));
            assert!(!reader.is_ready(), "there is nothing to wake up for until the next epoch");
            assert_eq!(read(&mut reader), Err(Read::Incompatible));
        }
    }

    #[test]
    fn a_writer_that_starts_over_properly_is_read_after_one_that_lied() {
        let words = memory(3);
        let (_, mut reader) = pair(&words);
        words[ELEMENTS / 8].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(read(&mut reader), Err(Read::Incompatible));
        let mut writer = Writer::start(Shared::from(words.as_slice()), epoch(2)).unwrap();
        writer.write(&Number(4));
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        assert_eq!(read(&mut reader), Ok(4));
    }

    #[test]
    fn an_announcement_is_there_from_the_first_epoch_on_and_stays() {
        let words = memory(2);
        let reader = Reader::<_, Number>::new(Shared::from(words.as_slice()));
        words[EPOCH / 8].store(INACTIVE, Ordering::Relaxed);
        assert_eq!(reader.announcement(), None);
        let start =
            |announcement| Writer::start_announcing(Shared::from(words.as_slice()), epoch(1), announcement);
        let mut writer: Writer<_, Number> = start(0x1234).unwrap();
        assert_eq!(reader.announcement(), Some(0x1234));
        writer.write(&Number(1));
        writer.begin_epoch(epoch(2));
        assert_eq!(reader.announcement(), Some(0x1234));
    }

    #[test]
    fn a_slot_ends_where_its_element_ends() {
        let words = memory(2);
        let (mut writer, mut reader) = pair(&words);
        writer.write(&Number(u64::MAX));
        writer.write(&Number(u64::MAX));
        writer.begin_epoch(epoch(2));
        writer.write_with(|slot| {
            assert_eq!(slot.copy_in(1, &[0; 8]), None);
            assert_eq!(slot.copy_in(usize::MAX, &[0; 8]), None);
            slot.copy_in(2, &[0x34, 0x12])
        });
        writer.write_with(|_| None);
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        let mut bytes = [0; 4];
        let read = reader.read_with(|slot| {
            assert_eq!(slot.copy_out(5, &mut [0; 4]), None);
            slot.copy_out(0, &mut bytes)
        });
        assert_eq!((read, bytes), (Read::Element, [0xff, 0xff, 0x34, 0x12]));
        assert!(!reader.is_ready(), "an element that was given up is not there");
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
