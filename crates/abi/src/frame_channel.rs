//! Both ends of a channel with the network protocol, as a network needs them: frames can get lost, but never the channel.

#![forbid(unsafe_code)]

use core::num::NonZeroU64;

use crate::channel::{Read, Reader, Writer};
use crate::network_element::{LENGTH, MAX_FRAME, NetworkElement};
use crate::volatile::Memory;

/// What the writer of a network channel says in the channel's announcement. Foreign writers say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announcement {
    /// The MAC address that the channel's reader is to use, in wire order.
    pub address: Option<[u8; 6]>,
    /// Whether the writer recovers from overruns of the channel in the other direction.
    pub recovers: bool,
}

impl Announcement {
    /// The announcement in this word.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        let [a, b, c, d, e, f, ..] = word.to_le_bytes();
        let address = [a, b, c, d, e, f];
        // Only this project's writers say anything, and their readers recover.
        Self { address: Some(address).filter(|address| *address != [0; 6]), recovers: word != 0 }
    }

    /// The word that stands for it: the address in the low six bytes, its first byte lowest.
    #[must_use]
    pub fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.address.unwrap_or([0; 6]);
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) | if self.recovers { RECOVERS } else { 0 }
    }
}

/// What the reader at the other end does after an overrun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overruns {
    /// It goes on with frames that are still there.
    Recovered,
    /// Nothing any more, as unmodified unikernels do: an overrun must not happen.
    Fatal,
}

/// The end that writes frames.
#[derive(Debug)]
pub struct FrameWriter<M> {
    writer: Writer<M, NetworkElement>,
    epoch: NonZeroU64,
}

impl<M: Memory> FrameWriter<M> {
    /// Starts the channel. A later start must give a later epoch, and each epoch in between stands for as many frames as
    /// the channel holds: a time-stamp counter is fast enough. `None` if the memory does not hold a frame.
    pub fn start(memory: M, epoch: NonZeroU64, announcement: Announcement) -> Option<Self> {
        let writer = Writer::start_announcing(memory, epoch, announcement.word())?;
        Some(Self { writer, epoch })
    }

    /// Writes a frame. Where an overrun is fatal to the reader, it begins a new epoch in time; frames that were not read by
    /// then are lost, which is what a network may do.
    ///
    /// # Errors
    ///
    /// The frame is longer than [`MAX_FRAME`].
    pub fn write(&mut self, frame: &[u8], overruns: Overruns) -> Result<(), TooLong> {
        let length = u16::try_from(frame.len()).map_err(|_| TooLong)?;
        if frame.len() > MAX_FRAME {
            return Err(TooLong);
        }
        if overruns == Overruns::Fatal && self.writer.written() >= self.writer.elements() {
            self.begin_epoch();
        }
        self.writer.write_with(|slot| {
            slot.copy_in(0, frame)?;
            slot.copy_in(LENGTH, &length.to_le_bytes())
        });
        Ok(())
    }

    /// Has the reader start over: frames that it did not read yet are lost.
    pub fn begin_epoch(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(NonZeroU64::MIN);
        self.writer.begin_epoch(self.epoch);
    }

    /// Frames that the channel holds.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.writer.elements()
    }

    /// Frames written in this epoch, as far as a reader can acknowledge them: the low 48 bits.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.written() & ACKNOWLEDGED
    }

    /// Announces, in place of an address, how many frames of the channel in the other direction were taken: to a switch,
    /// which gives addresses and needs none.
    pub fn acknowledge(&mut self, taken: u64) {
        self.writer.announce(RECOVERS | taken & ACKNOWLEDGED);
    }
}

/// A frame has more bytes than an element has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Frames that were written and not delivered, as far as the writer's word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Overwritten before they were read.
    pub overrun: u64,
    /// Longer than the reader's buffer, or than a frame can be.
    pub unfit: u64,
}

impl Losses {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.overrun.saturating_add(self.unfit)
    }
}

/// The end that reads frames. It survives any writer, and goes on after every overrun and restart of it.
#[derive(Debug)]
pub struct FrameReader<M> {
    reader: Reader<M, NetworkElement>,
    losses: Losses,
    /// Nothing was read in this epoch. What was overwritten before that was not for this reader.
    begins: bool,
}

impl<M: Memory> FrameReader<M> {
    /// A reader of the channel in `memory`, whether or not a writer has started it.
    pub fn new(memory: M) -> Self {
        Self { reader: Reader::new(memory), losses: Losses::default(), begins: true }
    }

    /// Copies the next frame into `buffer` and returns its length; `None` if there is none. Frames longer than the buffer
    /// are dropped; a buffer of [`MAX_FRAME`] bytes is long enough for each. After an overrun it goes on with the newer half
    /// of the channel.
    ///
    /// It does a bounded amount of work, whatever the writer does meanwhile: with `None`, [`FrameReader::is_ready`] can
    /// be true.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let mut overruns = 0_u32;
        for _ in 0..ATTEMPTS {
            let mut frame = None;
            match self.reader.read_with(|slot| {
                let mut length = [0; 2];
                slot.copy_out(LENGTH, &mut length)?;
                let length = usize::from(u16::from_le_bytes(length));
                if let Some(buffer) = buffer.get_mut(..length).filter(|_| length <= MAX_FRAME) {
                    slot.copy_out(0, buffer)?;
                    frame = Some(length);
                }
                Some(())
            }) {
                Read::Element => {
                    self.begins = false;
                    match frame {
                        Some(length) => return Some(length),
                        None => self.losses.unfit = self.losses.unfit.saturating_add(1),
                    }
                }
                Read::Overrun => {
                    // Counters that do not fit each other are an overrun for ever, unless nothing is kept.
                    let keep = if overruns == 0 { self.reader.elements() / 2 } else { 0 };
                    overruns += 1;
                    let lost = self.reader.drain_to(keep);
                    if !self.begins {
                        self.losses.overrun = self.losses.overrun.saturating_add(lost);
                    }
                    self.begins = false;
                }
                Read::EpochChanged => self.begins = true,
                Read::Nothing | Read::Inactive | Read::Incompatible => return None,
            }
        }
        None
    }

    /// Gives up what was written so far, and does not count it as lost: for a reader that starts anew.
    pub fn skip(&mut self) {
        // The first look at a channel reads nothing but the header.
        let _ = self.reader.read_with(|_| None);
        self.reader.drain();
        self.begins = false;
    }

    /// The writer's epoch that the frames read last belong to; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.reader.epoch()
    }

    /// Whether there is something to read.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reader.is_ready()
    }

    /// What the writer announces; `None` if the channel is inactive.
    #[must_use]
    pub fn announcement(&self) -> Option<Announcement> {
        self.reader.announcement().map(Announcement::from_word)
    }

    /// How many frames of the channel in the other direction the writer says it has taken; `None` if it says nothing.
    #[must_use]
    pub fn acknowledged(&self) -> Option<u64> {
        let word = self.reader.announcement().filter(|word| word & RECOVERS != 0)?;
        Some(word & ACKNOWLEDGED)
    }

    /// Frames of this epoch that were taken or given up.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.reader.taken()
    }

    /// Frames lost since the reader was made.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }
}

/// Most looks at the channel for one frame: a writer that starts over or overruns again and again has nothing to say.
const ATTEMPTS: usize = 8;
/// The bit of an announcement, above the address, that says that the writer recovers.
const RECOVERS: u64 = 1 << 48;
/// The bits of an announcement in which a unikernel tells a switch what it has taken.
const ACKNOWLEDGED: u64 = RECOVERS - 1;

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::channel::{ELEMENTS, EPOCH, HEADER_SIZE, WRITER_STARTED, WRITTEN};
    use crate::volatile::Shared;

    #[test]
    fn frames_of_every_length_arrive_as_they_were_written() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        for length in [MAX_FRAME, 0, 1, 14, 59, 60, 61, 62, 63, 1500, MAX_FRAME] {
            let frame: Vec<u8> = (0..length).map(|at| at as u8 ^ length as u8).collect();
            assert_eq!(writer.write(&frame, Overruns::Recovered), Ok(()));
            assert_eq!(read(&mut reader), Some(frame));
            assert_eq!(read(&mut reader), None);
        }
        assert_eq!(reader.losses(), Losses::default());
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_and_not_cut() {
        let words = memory(2);
        let (mut writer, mut reader) = pair(&words);
        for length in [MAX_FRAME + 1, 65_536 + 60] {
            assert_eq!(writer.write(&vec![0; length], Overruns::Recovered), Err(TooLong));
        }
        assert_eq!(read(&mut reader), None);
    }

    #[test]
    fn after_an_overrun_the_newer_half_is_read_and_the_lost_frames_are_counted() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        for number in 0..8 {
            assert_eq!(writer.write(&[number], Overruns::Recovered), Ok(()));
            if number == 0 {
                assert_eq!(read(&mut reader), Some(vec![0]));
            }
        }
        assert_eq!(read(&mut reader), Some(vec![6]));
        assert_eq!(read(&mut reader), Some(vec![7]));
        assert_eq!(read(&mut reader), None);
        assert_eq!(reader.losses(), Losses { overrun: 5, unfit: 0 });
    }

    #[test]
    fn what_was_overwritten_before_the_reader_began_is_no_loss() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        for number in 0..8 {
            assert_eq!(writer.write(&[number], Overruns::Recovered), Ok(()));
        }
        assert_eq!(read(&mut reader), Some(vec![6]));
        assert_eq!(reader.losses(), Losses::default());
    }

    #[test]
    fn a_reader_that_cannot_recover_never_meets_an_overrun() {
        let words = memory(4);
        let (mut writer, _) = pair(&words);
        for number in 0_u8..100 {
            assert_eq!(writer.write(&[number], Overruns::Fatal), Ok(()));
            let written = words[WRITTEN / 8].load(Ordering::Relaxed);
            assert!((1..=writer.elements()).contains(&written));
            // Such a reader starts with the first element of an epoch, and may do so at any time.
            let mut restarted = FrameReader::new(Shared::from(words.as_slice()));
            let first = number - (written - 1) as u8;
            assert_eq!(read(&mut restarted), Some(vec![first]));
        }
    }

    #[test]
    fn frames_that_do_not_fit_are_dropped_and_counted() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        assert_eq!(writer.write(&[1; 20], Overruns::Recovered), Ok(()));
        assert_eq!(writer.write(&[2; 10], Overruns::Recovered), Ok(()));
        assert_eq!(reader.read(&mut [0; 10]), Some(10));
        assert_eq!(writer.write(&[3; 10], Overruns::Recovered), Ok(()));
        // A length beyond the element, as a hostile writer sets it.
        let memory = Shared::from(words.as_slice());
        let slot = HEADER_SIZE + 2 * size_of::<NetworkElement>();
        assert_eq!(memory.copy_in(slot + LENGTH, &u16::MAX.to_le_bytes()), Some(()));
        assert_eq!(read(&mut reader), None);
        assert_eq!(reader.losses(), Losses { overrun: 0, unfit: 2 });
    }

    #[test]
    fn a_restarted_writer_is_read_on() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        for generation in 2..12 {
            for number in 0..3 {
                assert_eq!(writer.write(&[generation, number], Overruns::Recovered), Ok(()));
            }
            assert_eq!(read(&mut reader), Some(vec![generation, 0]));
            let epoch = NonZeroU64::new(u64::from(generation) * 1000).unwrap();
            writer = FrameWriter::start(words.as_slice().into(), epoch, Announcement::default()).unwrap();
        }
        assert_eq!(read(&mut reader), None);
    }

    #[test]
    fn a_writer_that_keeps_starting_over_does_not_keep_the_reader() {
        /// Every look at the epoch finds another one.
        struct Restless(AtomicU64);
        impl Memory for Restless {
            fn size(&self) -> usize {
                4096
            }
            fn load(&self, offset: usize) -> Option<u64> {
                Some(match offset {
                    EPOCH => self.0.fetch_add(1, Ordering::Relaxed),
                    ELEMENTS => 2,
                    16 => <NetworkElement as crate::channel::Element>::PROTOCOL,
                    24 => size_of::<NetworkElement>() as u64,
                    0 => crate::channel::SHMSTREAM_2,
                    _ => 1,
                })
            }
            fn store(&self, _: usize, _: u64) -> Option<()> {
                None
            }
            fn copy_out(&self, _: usize, _: &mut [u8]) -> Option<()> {
                Some(())
            }
            fn copy_in(&self, _: usize, _: &[u8]) -> Option<()> {
                None
            }
        }
        let mut reader = FrameReader::new(Restless(AtomicU64::new(1)));
        assert_eq!(reader.read(&mut [0; MAX_FRAME]), None);
    }

    #[test]
    fn a_writer_whose_counters_contradict_each_other_keeps_no_reader_awake() {
        let words = memory(4);
        let (mut writer, mut reader) = pair(&words);
        assert_eq!(writer.write(&[1], Overruns::Recovered), Ok(()));
        assert_eq!(read(&mut reader), Some(vec![1]));
        for started in [0, 1 << 31, u64::MAX] {
            for written in [2, 100, 1 << 63, u64::MAX] {
                words[WRITER_STARTED / 8].store(started, Ordering::Relaxed);
                words[WRITTEN / 8].store(written, Ordering::Relaxed);
                for _ in 0..4 {
                    let _ = read(&mut reader);
                }
                assert!(!reader.is_ready(), "{started:#x} {written:#x}");
            }
        }
    }

    #[test]
    fn an_announcement_survives_the_round_trip() {
        let address = [0x02, 1, 2, 3, 4, 5];
        assert_eq!(Announcement { address: Some(address), recovers: false }.word(), 0x0504_0302_0102);
        for announced in [
            Announcement::default(),
            Announcement { address: None, recovers: true },
            Announcement { address: Some(address), recovers: true },
        ] {
            let words = memory(1);
            let writer = FrameWriter::start(Shared::from(words.as_slice()), NonZeroU64::MIN, announced);
            assert!(writer.is_some());
            let reader = FrameReader::new(Shared::from(words.as_slice()));
            assert_eq!(reader.announcement(), Some(announced));
        }
    }

    #[test]
    fn a_reader_that_acknowledges_says_what_it_has_taken() {
        let (inward, outward) = (memory(8), memory(1));
        let (mut input, mut reader) = pair(&inward);
        let said = Announcement { address: None, recovers: true };
        let outward = Shared::from(outward.as_slice());
        let mut output = FrameWriter::start(outward, NonZeroU64::MIN, said).unwrap();
        let acknowledged = FrameReader::new(outward);
        for number in 0..5 {
            assert_eq!(input.write(&[number], Overruns::Recovered), Ok(()));
        }
        assert_eq!((input.written(), acknowledged.acknowledged()), (5, Some(0)));
        assert_eq!((read(&mut reader), read(&mut reader)), (Some(vec![0]), Some(vec![1])));
        output.acknowledge(reader.taken());
        assert_eq!(acknowledged.acknowledged(), Some(2));
        let foreign = memory(1);
        let foreign = Shared::from(foreign.as_slice());
        assert!(FrameWriter::start(foreign, NonZeroU64::MIN, Announcement::default()).is_some());
        assert_eq!(FrameReader::new(foreign).acknowledged(), None);
    }

    fn memory(elements: usize) -> Vec<AtomicU64> {
        let bytes = HEADER_SIZE + elements * size_of::<NetworkElement>();
        (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect()
    }

    fn pair(words: &[AtomicU64]) -> (FrameWriter<Shared<'_>>, FrameReader<Shared<'_>>) {
        let writer = FrameWriter::start(words.into(), NonZeroU64::MIN, Announcement::default()).unwrap();
        (writer, FrameReader::new(words.into()))
    }

    fn read(reader: &mut FrameReader<Shared<'_>>) -> Option<Vec<u8>> {
        let mut buffer = [0; MAX_FRAME];
        let length = reader.read(&mut buffer)?;
        Some(buffer[..length].to_vec())
    }
}
