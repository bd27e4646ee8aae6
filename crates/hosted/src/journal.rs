//! What the subject `log` does in a machine: everybody's lines, in an order that makes sense.

use palisade_policy::plan::{Plan, SubjectKind};
use palisade_services::journal::Journal as Channels;
use palisade_services::log::{Output, Progress, write_line};
use palisade_services::report_line::ReportLine;

use crate::memory::SharedMemory;
use palisade_abi::volatile::Shared;

/// All log channels, and what was read of them.
pub(crate) struct Journal<'a> {
    channels: Channels<'a, Shared<'a>>,
    lines: Lines,
}

impl<'a> Journal<'a> {
    /// The log channels of a system.
    pub(crate) fn new(plan: &'a Plan, memory: &'a SharedMemory) -> Self {
        let subject = |id: u16| plan.subjects.get(usize::from(id));
        let of_log = |id| subject(id).is_some_and(|reader| reader.kind == SubjectKind::Log);
        let channels =
            plan.channels.iter().filter(|channel| of_log(channel.reader.0)).filter_map(|channel| {
                Some((subject(channel.writer.0)?.name.as_str(), memory.part(channel.phys, channel.size)?))
            });
        // The supervisor is this process: it has no channel to be held back.
        Self { channels: Channels::new(channels, ""), lines: Lines(Vec::new()) }
    }

    /// Reads what there is, up to a bound.
    pub(crate) fn sweep(&mut self) -> Progress {
        self.channels.sweep(&mut self.lines)
    }

    /// Reads everything that was written before, unfinished lines too. A subject that never stops writing does not hold
    /// this up for ever.
    pub(crate) fn drain(&mut self) {
        for _ in 0..MOST_SWEEPS {
            if self.sweep() == Progress::Idle {
                return;
            }
        }
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

struct Lines(Vec<u8>);

impl Output for Lines {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Whose lines say what became of the others.
const SUPERVISOR: &str = "supervisor";
/// Enough to read a whole channel of the default size several times.
const MOST_SWEEPS: u32 = 1024;
