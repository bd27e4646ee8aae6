//! All log channels together, written in an order that makes sense.

use palisade_abi::layout::MAX_SUBJECTS;
use palisade_abi::volatile::Memory;

use crate::log::{Output, Progress, Source};
use crate::text::Text;

/// All log channels.
///
/// Channels are read one after the other, so lines of different subjects can change places. That does no harm, except with
/// the reporter: the one subject (the supervisor) whose lines are about others. `hello: exited` must not stand before the
/// last words of `hello`. So the reporter's lines are read before those of the others, and written after them.
#[derive(Debug)]
pub struct Journal<'n, M> {
    reporter: Option<Source<'n, M>>,
    sources: [Option<Source<'n, M>>; MAX_SUBJECTS],
    held: Held,
    held_sweeps: u32,
}

impl<'n, M: Memory> Journal<'n, M> {
    /// A journal of these channels, named by their subjects.
    pub fn new(channels: impl Iterator<Item = (&'n str, M)>, reporter: &str) -> Self {
        let mut journal = Self {
            reporter: None,
            sources: [const { None }; MAX_SUBJECTS],
            held: Held(Text::new()),
            held_sweeps: 0,
        };
        let mut slots = journal.sources.iter_mut();
        for (name, memory) in channels {
            let source = Source::new(name, memory);
            if name == reporter {
                journal.reporter = Some(source);
            } else if let Some(slot) = slots.next() {
                *slot = Some(source);
            }
        }
        journal
    }

    /// Writes what there is of each channel, up to a bound: see [`Source::sweep`].
    pub fn sweep(&mut self, output: &mut impl Output) -> Progress {
        let mut progress = Progress::Idle;
        if self.held.is_empty()
            && let Some(reporter) = &mut self.reporter
        {
            progress = reporter.sweep(&mut self.held);
            self.held_sweeps = 0;
        }
        let others = self.sources.iter_mut().flatten().map(|source| source.sweep(output)).max();
        progress = progress.max(others.unwrap_or(Progress::Idle));
        if self.held.is_empty() {
            return progress;
        }
        self.held_sweeps += 1;
        if others.is_none_or(|others| others == Progress::Idle) || self.held_sweeps >= LONGEST_HOLD {
            output.write(self.held.0.as_bytes());
            self.held.0.clear();
        }
        Progress::Busy
    }
}

/// What the reporter wrote and the others have not caught up with.
#[derive(Debug)]
struct Held(Text<HELD>);

impl Held {
    fn is_empty(&self) -> bool {
        self.0.as_bytes().is_empty()
    }
}

impl Output for Held {
    fn write(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }
}

/// More than one sweep of the reporter's channel can write, even if each of its 16 times 56 bytes is a line.
const HELD: usize = 16 * 1024;

/// A subject that never stops writing does not hold the reporter back for longer than this. It is enough to read a whole
/// channel of the default size.
const LONGEST_HOLD: u32 = 256;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::atomic::AtomicU64;

    use palisade_abi::channel::Writer;
    use palisade_abi::log_element::{LogBuffer, LogElement};
    use palisade_abi::volatile::Shared;

    use super::*;

    #[derive(Default)]
    struct Terminal(String);

    impl Output for Terminal {
        fn write(&mut self, bytes: &[u8]) {
            self.0.push_str(std::str::from_utf8(bytes).unwrap());
        }
    }

    fn channel(elements: usize) -> Vec<AtomicU64> {
        (0..8 + 8 * elements).map(|_| AtomicU64::new(0)).collect()
    }

    fn start(words: &[AtomicU64]) -> Writer<Shared<'_>, LogElement> {
        Writer::start(words.into(), NonZeroU64::new(1).unwrap()).unwrap()
    }

    fn print(writer: &mut Writer<Shared<'_>, LogElement>, line: &str) {
        let mut buffer = LogBuffer::new();
        line.bytes().chain([b'\n']).filter_map(|byte| buffer.push(byte, 0)).for_each(|e| writer.write(&e));
    }

    #[test]
    fn a_report_about_a_subject_stands_behind_its_last_words() {
        let (own, reports) = (channel(200), channel(4));
        let (mut subject, mut reporter) = (start(&own), start(&reports));
        (0..100).for_each(|number| print(&mut subject, &format!("line {number}")));
        print(&mut reporter, "hello: halted");
        let channels = [("supervisor", &reports), ("hello", &own)]
            .map(|(name, words)| (name, Shared::from(words.as_slice())));
        let mut journal = Journal::new(channels.into_iter(), "supervisor");
        let mut terminal = Terminal::default();
        while journal.sweep(&mut terminal) != Progress::Idle {}
        assert_eq!(terminal.0.lines().count(), 101);
        assert!(terminal.0.ends_with("[hello] line 99\r\n[supervisor] hello: halted\r\n"));
    }

    #[test]
    fn last_words_without_a_newline_count_as_well() {
        let (own, reports) = (channel(4), channel(4));
        let (mut subject, mut reporter) = (start(&own), start(&reports));
        subject.write(&LogElement { timestamp: 0, text: [b'x'; 56] });
        print(&mut reporter, "hello: halted");
        let channels = [("supervisor", &reports), ("hello", &own)]
            .map(|(name, words)| (name, Shared::from(words.as_slice())));
        let mut journal = Journal::new(channels.into_iter(), "supervisor");
        let mut terminal = Terminal::default();
        while journal.sweep(&mut terminal) != Progress::Idle {}
        assert!(terminal.0.ends_with("xxx\r\n[supervisor] hello: halted\r\n"));
    }

    #[test]
    fn a_flood_does_not_silence_the_reporter() {
        let (own, reports) = (channel(200), channel(4));
        let (mut subject, mut reporter) = (start(&own), start(&reports));
        print(&mut reporter, "other: halted");
        let channels = [("supervisor", &reports), ("flood", &own)]
            .map(|(name, words)| (name, Shared::from(words.as_slice())));
        let mut journal = Journal::new(channels.into_iter(), "supervisor");
        let mut terminal = Terminal::default();
        for _ in 0..LONGEST_HOLD {
            (0..20).for_each(|_| print(&mut subject, "flood"));
            let _ = journal.sweep(&mut terminal);
        }
        assert!(terminal.0.contains("[supervisor] other: halted"));
    }

    #[test]
    fn nothing_of_one_sweep_is_too_much_to_hold() {
        let reports = channel(16);
        let mut reporter = start(&reports);
        for _ in 0..16 {
            reporter.write(&LogElement { timestamp: 0, text: [b'\n'; 56] });
        }
        let channels = [("supervisor", Shared::from(reports.as_slice()))];
        let mut journal = Journal::new(channels.into_iter(), "supervisor");
        let mut terminal = Terminal::default();
        while journal.sweep(&mut terminal) != Progress::Idle {}
        assert_eq!(terminal.0.lines().count(), 16 * 56);
    }
}
