//! What the subject `log` does in a machine: everybody's lines, in an order that makes sense.

use std::mem::size_of;

use palisade_abi::log_element::LogElement;
use palisade_abi::volatile::Shared;
use palisade_policy::plan::{Plan, SubjectKind};
use palisade_services::log::{Output, Progress, Source, write_line};
use palisade_services::report_line::ReportLine;

use crate::memory::SharedMemory;

/// All log channels, and what was read of them.
pub(crate) struct Journal<'a> {
    channels: Vec<Channel<'a>>,
    lines: Lines,
    /// Takes the lines.
    tell: &'a dyn Fn(&[u8]),
}

struct Channel<'a> {
    writer: u16,
    source: Source<'a, Shared<'a>>,
    /// Sweeps that read everything in it, if nobody writes any more.
    sweeps: u64,
}

impl<'a> Journal<'a> {
    /// The log channels of a system, whose lines go to `tell`.
    pub(crate) fn new(plan: &'a Plan, memory: &'a SharedMemory, tell: &'a dyn Fn(&[u8])) -> Self {
        let subject = |id: u16| plan.subjects.get(usize::from(id));
        let of_log = |id| subject(id).is_some_and(|reader| reader.kind == SubjectKind::Log);
        let channels =
            plan.channels.iter().filter(|channel| of_log(channel.reader.0)).filter_map(|channel| {
                let memory = memory.part(channel.phys, channel.size)?;
                let source = Source::new(&subject(channel.writer.0)?.name, memory);
                // Each of them reads an element at least, until only an unfinished line is left.
                let sweeps = channel.size / size_of::<LogElement>() as u64 + UNFINISHED;
                Some(Channel { writer: channel.writer.0, source, sweeps })
            });
        Self { channels: channels.collect(), lines: Lines::default(), tell }
    }

    /// Reads what there is, up to a bound: nobody keeps the others from their turn.
    pub(crate) fn sweep(&mut self) -> Progress {
        let Self { channels, lines, .. } = self;
        channels.iter_mut().map(|channel| channel.source.sweep(lines)).max().unwrap_or(Progress::Idle)
    }

    /// Reads everything that a subject has written, its unfinished line too. Its process has ended, so nothing comes after
    /// that, and how long it takes is not up to anybody.
    pub(crate) fn finish(&mut self, subject: u16) {
        let Self { channels, lines, tell } = self;
        for channel in channels.iter_mut().filter(|channel| channel.writer == subject) {
            channel.finish(lines, tell);
        }
    }

    /// The same for all subjects.
    pub(crate) fn finish_all(&mut self) {
        let Self { channels, lines, tell } = self;
        channels.iter_mut().for_each(|channel| channel.finish(lines, tell));
    }

    /// Adds a line of the supervisor.
    pub(crate) fn report(&mut self, line: ReportLine<'_>) {
        self.say(SUPERVISOR, line.format().as_bytes());
    }

    /// Adds a line of a subject that is no process with a channel.
    pub(crate) fn say(&mut self, subject: &str, line: &[u8]) {
        write_line(&mut self.lines, subject, line);
    }

    /// Tells what was read.
    pub(crate) fn hand_over(&mut self) {
        self.lines.hand_over(self.tell);
    }
}

impl Channel<'_> {
    fn finish(&mut self, lines: &mut Lines, tell: &dyn Fn(&[u8])) {
        for _ in 0..self.sweeps {
            let progress = self.source.sweep(lines);
            // Not all at its end: a channel that holds line ends only makes much more of them than it holds.
            lines.hand_over(tell);
            if progress == Progress::Idle {
                return;
            }
        }
    }
}

/// Lines, each ended by CR and LF.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Vec<u8>);

impl Lines {
    fn hand_over(&mut self, tell: &dyn Fn(&[u8])) {
        if !self.0.is_empty() {
            tell(&self.0);
            self.0.clear();
        }
    }
}

impl Output for Lines {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Whose lines say what became of the others.
pub(crate) const SUPERVISOR: &str = "supervisor";
/// Sweeps that an unfinished line waits for its end, and a start or an overrun may take.
const UNFINISHED: u64 = 16;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::num::NonZeroU64;
    use std::sync::atomic::AtomicU64;

    use palisade_abi::channel::Writer;
    use palisade_abi::log_element::{LogBuffer, TEXT_SIZE};

    use super::*;

    #[test]
    fn the_last_words_of_one_are_told_without_the_flood_of_another() {
        let (flooded, calm) = (words(), words());
        print(&flooded, &"flood\n".repeat(1000));
        print(&calm, "done\nand half a line");
        let channels = vec![channel(1, "flood", &flooded), channel(2, "calm", &calm)];
        let told = RefCell::new(Vec::new());
        let tell = |lines: &[u8]| told.borrow_mut().extend_from_slice(lines);
        let mut journal = Journal { channels, lines: Lines::default(), tell: &tell };
        journal.finish(2);
        assert_eq!(told.take(), b"[calm] done\r\n[calm] and half a line\r\n");
        assert_eq!(journal.sweep(), Progress::Busy);
        journal.hand_over();
        let swept = told.take();
        assert!(!swept.is_empty() && swept.len() < 5000, "{}", swept.len());
        journal.finish_all();
        assert_eq!(journal.sweep(), Progress::Idle);
    }

    #[test]
    fn the_last_words_are_handed_over_in_small_parts() {
        let words = words();
        let mut writer = Writer::start(Shared::from(words.as_slice()), NonZeroU64::MIN).expect("it fits");
        (0..1000).for_each(|_| writer.write(&LogElement { timestamp: 0, text: [b'\n'; TEXT_SIZE] }));
        let parts = RefCell::new(Vec::new());
        let tell = |lines: &[u8]| parts.borrow_mut().push(lines.len());
        let channels = vec![channel(1, "flood", &words)];
        Journal { channels, lines: Lines::default(), tell: &tell }.finish_all();
        let parts = parts.take();
        assert_eq!(parts.iter().sum::<usize>(), 1000 * TEXT_SIZE * "[flood] \r\n".len());
        assert!(parts.iter().all(|part| *part < 10_000), "{parts:?}");
    }

    #[test]
    fn a_writer_that_never_ends_is_not_read_for_ever() {
        let words = words();
        let mut channel = channel(1, "flood", &words);
        channel.sweeps = 3;
        print(&words, &"flood\n".repeat(1000));
        let mut lines = Lines::default();
        channel.finish(&mut lines, &|_| ());
        assert_eq!(channel.source.sweep(&mut lines), Progress::Busy);
    }

    fn words() -> Vec<AtomicU64> {
        (0..8 * 1025).map(|_| AtomicU64::new(0)).collect()
    }

    fn channel<'a>(writer: u16, name: &'a str, words: &'a [AtomicU64]) -> Channel<'a> {
        let sweeps = words.len() as u64 / 8 + UNFINISHED;
        Channel { writer, source: Source::new(name, Shared::from(words)), sweeps }
    }

    /// Starts the channel and writes this to it.
    fn print(words: &[AtomicU64], text: &str) {
        let mut writer = Writer::start(Shared::from(words), NonZeroU64::MIN).expect("it fits");
        let mut buffer = LogBuffer::new();
        text.bytes().filter_map(|byte| buffer.push(byte, 0)).for_each(|element| writer.write(&element));
        buffer.flush(0).iter().for_each(|element| writer.write(element));
    }
}
