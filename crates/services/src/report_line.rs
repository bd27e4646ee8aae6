//! The lines in which the supervisor says what became of a subject: for people, and for the command that reads them.

use crate::text::Text;

/// The longest line.
pub const MAX_LINE: usize = 200;

/// What the supervisor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportLine<'a> {
    /// Something happened to a subject.
    Subject {
        /// Its name.
        name: &'a str,
        /// What happened.
        what: What<'a>,
    },
    /// No unikernel is left, and none will be started again.
    SystemEnded,
}

/// What happens to subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// It ended with this exit status.
    Exited(i32),
    /// It ended without saying how.
    Halted,
    /// It was stopped, or stopped itself, because of this.
    Faulted(&'a str),
    /// It is started again; it will be this generation of it.
    Restarting(u64),
    /// An IOMMU refused its devices what is not theirs, so many times since boot.
    Refused(u64),
}

impl<'a> ReportLine<'a> {
    /// The line, without a newline.
    #[must_use]
    pub fn format(&self) -> Text<MAX_LINE> {
        let Self::Subject { name, what } = self else { return Text::new().str(SYSTEM_ENDED) };
        let text = Text::new().str(name).str(SEPARATOR);
        match what {
            What::Exited(status) => text.str(EXITED).signed(i64::from(*status)),
            What::Halted => text.str(HALTED),
            What::Faulted(cause) => text.str(FAULTED).str(cause),
            What::Restarting(generation) => text.str(RESTARTING).decimal(*generation),
            What::Refused(count) => text.str(REFUSED).decimal(*count),
        }
    }

    /// Reads a line that [`ReportLine::format`] made; `None` for any other.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        if line == SYSTEM_ENDED {
            return Some(Self::SystemEnded);
        }
        let (name, rest) = line.split_once(SEPARATOR)?;
        let what = if rest == HALTED {
            What::Halted
        } else if let Some(status) = rest.strip_prefix(EXITED) {
            What::Exited(status.parse().ok()?)
        } else if let Some(cause) = rest.strip_prefix(FAULTED) {
            What::Faulted(cause)
        } else if let Some(count) = rest.strip_prefix(REFUSED) {
            What::Refused(count.parse().ok()?)
        } else {
            What::Restarting(rest.strip_prefix(RESTARTING)?.parse().ok()?)
        };
        Some(Self::Subject { name, what })
    }
}

const SEPARATOR: &str = ": ";
const SYSTEM_ENDED: &str = "system: all unikernels have ended";
const EXITED: &str = "exited with status ";
const HALTED: &str = "halted";
const FAULTED: &str = "faulted: ";
const RESTARTING: &str = "restarting, generation ";
const REFUSED: &str = "its device was refused memory or interrupts that are not its own; so far ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_read_back() {
        for (what, text) in [
            (What::Exited(3), "hello: exited with status 3"),
            (What::Exited(-1), "hello: exited with status -1"),
            (What::Halted, "hello: halted"),
            (What::Faulted("triple fault at rip 0x1"), "hello: faulted: triple fault at rip 0x1"),
            (What::Restarting(2), "hello: restarting, generation 2"),
            (
                What::Refused(4),
                "hello: its device was refused memory or interrupts that are not its own; so far 4",
            ),
        ] {
            let line = ReportLine::Subject { name: "hello", what };
            assert_eq!(line.format().as_str(), text);
            assert_eq!(ReportLine::parse(text), Some(line));
        }
        let ended = ReportLine::SystemEnded;
        assert_eq!(ended.format().as_str(), "system: all unikernels have ended");
        assert_eq!(ReportLine::parse(ended.format().as_str()), Some(ended));
    }

    #[test]
    fn other_lines_mean_nothing() {
        for text in
            ["", "hello", "hello: ", "hello: exited with status x", "hello: halted twice", "a: b: halted"]
        {
            assert_eq!(ReportLine::parse(text), None, "{text}");
        }
    }
}
