//! The two ends of a channel, and sleeping until there is something to read, in every interleaving that two processors can
//! produce: the order in which one sees the other's stores included.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::{AtomicBool, AtomicU64, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use palisade_abi::channel::{Element, HEADER_SIZE, Read, Reader, Writer};
use palisade_abi::volatile::Memory;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[test]
fn a_torn_element_is_never_returned() {
    loom::model(|| slow_reader(1, FENCES));
}

#[test]
fn a_torn_element_would_be_noticed_here() {
    fails("torn", || slow_reader(1, NO_FENCES));
}

#[test]
fn elements_arrive_in_order_or_an_overrun_is_reported() {
    loom::model(|| slow_reader(2, FENCES));
}

#[test]
fn elements_of_two_epochs_are_never_mixed_up() {
    loom::model(|| {
        let memory = SharedWords::new(1, FENCES);
        let mut writer = Writer::start(memory.clone(), epoch(1)).unwrap();
        let mut reader = Reader::<_, Pair>::new(memory);
        assert_eq!(read(&mut reader), Err(Read::EpochChanged));
        writer.write(&Pair::new(1));
        let writer = thread::spawn(move || {
            writer.begin_epoch(epoch(2));
            writer.write(&Pair::new(2));
        });
        let (mut current, mut last) = (1, 0);
        let mut try_read = |reader: &mut Reader<_, _>| match read(reader) {
            Ok(number) => {
                assert_eq!(number, current, "an element of another epoch");
                last = number;
            }
            Err(Read::EpochChanged) => current = 2,
            Err(other) => assert!(matches!(other, Read::Nothing | Read::Inactive), "{other:?}"),
        };
        try_read(&mut reader);
        writer.join().unwrap();
        while reader.is_ready() {
            try_read(&mut reader);
        }
        assert_eq!(last, 2, "the new epoch's element is not read");
    });
}

#[test]
fn a_reader_may_be_there_before_the_writer() {
    loom::model(|| {
        let memory = SharedWords::new(1, FENCES);
        let mut reader = Reader::<_, Pair>::new(memory.clone());
        let writer = thread::spawn(move || {
            let mut writer = Writer::start(memory, epoch(1)).unwrap();
            writer.write(&Pair::new(1));
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.push(read(&mut reader));
        }
        writer.join().unwrap();
        while reader.is_ready() {
            seen.push(read(&mut reader));
        }
        seen.retain(|r| !matches!(r, Err(Read::Inactive | Read::Nothing)));
        assert_eq!(seen, [Err(Read::EpochChanged), Ok(1)]);
    });
}

#[test]
fn a_reader_that_sleeps_is_woken_by_what_is_written() {
    loom::model(|| sleeping_reader(Wake::Token));
}

#[test]
fn a_lost_wake_up_would_be_noticed_here() {
    fails("deadlock", || sleeping_reader(Wake::Interrupt));
}

/// A writer that overwrites elements while a reader reads them.
fn slow_reader(slots: usize, fences: bool) {
    let memory = SharedWords::new(slots, fences);
    let mut writer = Writer::start(memory.clone(), epoch(1)).unwrap();
    let mut reader = Reader::<_, Pair>::new(memory);
    assert_eq!(read(&mut reader), Err(Read::EpochChanged));
    writer.write(&Pair::new(0));
    let last = slots as u64;
    let writer = thread::spawn(move || {
        for number in 1..=last {
            writer.write(&Pair::new(number));
        }
    });
    let mut next = 0;
    let mut try_read = |reader: &mut Reader<_, _>| match read(reader) {
        Ok(number) => {
            assert_eq!(number, next, "an element that is not the next one");
            next += 1;
        }
        Err(Read::Overrun) => next += reader.drain(),
        Err(other) => assert_eq!(other, Read::Nothing),
    };
    for _ in 0..2 {
        try_read(&mut reader);
    }
    writer.join().unwrap();
    while reader.is_ready() {
        try_read(&mut reader);
    }
    assert_eq!(next, last + 1, "an element that is neither read nor reported as lost");
}

/// A writer that signals what it writes, and a reader that sleeps when it finds nothing.
fn sleeping_reader(wake: Wake) {
    let memory = SharedWords::new(1, FENCES);
    let mut writer = Writer::start(memory.clone(), epoch(1)).unwrap();
    let mut reader = Reader::<_, Pair>::new(memory);
    assert_eq!(read(&mut reader), Err(Read::EpochChanged));
    let kernel = Arc::new(Kernel {
        wake,
        token: AtomicBool::new(false),
        cpu: Mutex::new(()),
        interrupt: Condvar::new(),
    });
    let signalling = kernel.clone();
    let writer = thread::spawn(move || {
        writer.write(&Pair::new(7));
        signalling.signal();
    });
    loop {
        match read(&mut reader) {
            Ok(number) => break assert_eq!(number, 7),
            Err(Read::Nothing) => kernel.sleep(),
            Err(other) => panic!("{other:?}"),
        }
    }
    writer.join().unwrap();
}

/// The kernel's part of sleeping, on the CPU of the sleeper.
struct Kernel {
    wake: Wake,
    token: AtomicBool,
    /// Held while the kernel runs on that CPU: no interrupt arrives then, it stays pending until the CPU halts.
    cpu: Mutex<()>,
    interrupt: Condvar,
}

/// What ends a sleep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// The token that an event leaves behind.
    Token,
    /// Nothing but the interrupt that comes with the event, which may come before the sleep.
    Interrupt,
}

impl Kernel {
    fn signal(&self) {
        // A store would do. But the model takes a store that is ordered by nothing but a swap it comes after for one that
        // may come before it.
        self.token.swap(true, Ordering::AcqRel);
        let _cpu = self.cpu.lock().unwrap();
        self.interrupt.notify_one();
    }

    fn sleep(&self) {
        let mut cpu = self.cpu.lock().unwrap();
        match self.wake {
            Wake::Interrupt => drop(self.interrupt.wait(cpu).unwrap()),
            Wake::Token => {
                while !self.token.swap(false, Ordering::AcqRel) {
                    cpu = self.interrupt.wait(cpu).unwrap();
                }
            }
        }
    }
}

/// An element of two words, which are equal unless it is torn.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Pair([u64; 2]);

impl Pair {
    fn new(number: u64) -> Self {
        Self([number; 2])
    }
}

impl Element for Pair {
    const PROTOCOL: u64 = 1;
}

/// Memory whose every access is a decision that the model explores.
#[derive(Clone)]
struct SharedWords {
    words: Arc<Vec<AtomicU64>>,
    fences: bool,
}

const FENCES: bool = true;
const NO_FENCES: bool = false;

impl SharedWords {
    fn new(slots: usize, fences: bool) -> Self {
        let words = (0..HEADER_SIZE / 8 + slots * 2).map(|_| AtomicU64::new(0)).collect();
        Self { words: Arc::new(words), fences }
    }
}

impl Memory for SharedWords {
    fn size(&self) -> usize {
        self.words.len() * 8
    }

    fn load(&self, offset: usize) -> Option<u64> {
        Some(self.words.get(offset / 8)?.load(Ordering::Acquire))
    }

    fn store(&self, offset: usize, value: u64) -> Option<()> {
        self.words.get(offset / 8)?.store(value, Ordering::Release);
        Some(())
    }

    fn copy_out(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        let words = self.words.get(offset / 8..)?;
        for (to, word) in to.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.load(Ordering::Relaxed).to_le_bytes();
        }
        Some(())
    }

    fn copy_in(&self, offset: usize, from: &[u8]) -> Option<()> {
        let words = self.words.get(offset / 8..)?;
        for (word, from) in words.iter().zip(from.as_chunks().0) {
            word.store(u64::from_le_bytes(*from), Ordering::Relaxed);
        }
        Some(())
    }

    fn fence(&self, order: Ordering) {
        if self.fences {
            fence(order);
        }
    }
}

fn read(reader: &mut Reader<SharedWords, Pair>) -> Result<u64, Read> {
    let mut pair = Pair::new(u64::MAX);
    match reader.read(&mut pair) {
        Read::Element => {
            assert_eq!(pair.0[0], pair.0[1], "a torn element");
            Ok(pair.0[0])
        }
        other => Err(other),
    }
}

fn epoch(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

/// Expects the exploration to find an execution that fails with this message.
fn fails(message: &str, model: impl Fn() + Sync + Send + 'static) {
    let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loom::model(model))).unwrap_err();
    let text = failure.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains(message), "failed with: {text}");
}
