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
}

struct Channel<'a> {
    writer: u16,
    source: Source<'a, Shared<'a>>,
    /// Sweeps that read everything in it, if nobody writes any more.
    sweeps: u64,
}

impl<'a> Journal<'a> {
    /// The log channels of a system.
    pub(crate) fn new(plan: &'a Plan, memory: &'a SharedMemory) -> Self {
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
        Self { channels: channels.collect(), lines: Lines::default() }
    }

    /// Reads what there is, up to a bound: nobody keeps the others from their turn.
    pub(crate) fn sweep(&mut self) -> Progress {
        let Self { channels, lines } = self;
        channels.iter_mut().map(|channel| channel.source.sweep(lines)).max().unwrap_or(Progress::Idle)
    }

    /// Reads everything that a subject has written, its unfinished line too. Its process has ended, so nothing comes after
    /// that, and how long it takes is not up to anybody.
    pub(crate) fn finish(&mut self, subject: u16) {
        let Self { channels, lines } = self;
        for channel in channels.iter_mut().filter(|channel| channel.writer == subject) {
            channel.finish(lines);
        }
    }

    /// The same for all subjects.
    pub(crate) fn finish_all(&mut self) {
        let Self { channels, lines } = self;
        channels.iter_mut().for_each(|channel| channel.finish(lines));
    }

    /// Adds a line of the supervisor.
    pub(crate) fn report(&mut self, line: ReportLine<'_>) {
        self.say(SUPERVISOR, line.format().as_bytes());
    }

    /// Adds a line of a subject that is no process with a channel.
    pub(crate) fn say(&mut self, subject: &str, line: &[u8]) {
        write_line(&mut self.lines, subject, line);
    }

    /// Takes what was read.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines.0)
    }
}

impl Channel<'_> {
    fn finish(&mut self, lines: &mut Lines) {
        for _ in 0..self.sweeps {
            if self.source.sweep(lines) == Progress::Idle {
                return;
            }
        }
    }
}

/// Lines, each ended by CR and LF.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Vec<u8>);

impl Output for Lines {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Whose lines say what became of the others.
pub(crate) const SUPERVISOR: &str = "supervisor";
/// Sweeps that an unfinished line waits for its end, and a start or an overrun may take.
const UNFINISHED: u64 = 16;
