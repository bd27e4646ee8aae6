//! The output of a machine on its way: cut into lines, told apart by author, shown, kept and judged.

use std::io;
use std::time::Duration;

use palisade_machine::{Lines, Next, Stream};

use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::output::OutputDirectory;
use crate::terminal::{Author, Terminal};

/// Takes the output of a machine.
pub(crate) struct Journal<'a> {
    terminal: &'a Terminal,
    subjects: Vec<&'a str>,
    directory: Option<OutputDirectory>,
    serial: Lines,
    console: Lines,
    on_kernel_stop: Next,
    outcome: Outcome,
    failure: Option<Failure>,
}

impl<'a> Journal<'a> {
    /// Begins with nothing heard. `on_kernel_stop` says whether there is a life after the kernel's last words.
    pub(crate) fn new(
        terminal: &'a Terminal,
        subjects: Vec<&'a str>,
        directory: Option<OutputDirectory>,
        on_kernel_stop: Next,
        outcome: Outcome,
    ) -> Self {
        Self {
            terminal,
            subjects,
            directory,
            serial: Lines::default(),
            console: Lines::default(),
            on_kernel_stop,
            outcome,
            failure: None,
        }
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<Next> {
        self.try_take(stream, bytes).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("the output could not be taken")
        })
    }

    /// What is known so far.
    pub(crate) const fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// Takes the lines that were begun and never ended.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        if let Some(line) = self.serial.finish() {
            self.serial_line(&line)?;
        }
        if let Some(line) = self.console.finish() {
            self.kernel_line(&line)?;
        }
        Ok(())
    }

    /// What was learnt, where it is kept, and what failed if [`Journal::take`] did.
    pub(crate) fn into_parts(self) -> (Outcome, Option<OutputDirectory>, Option<Failure>) {
        (self.outcome, self.directory, self.failure)
    }

    fn try_take(&mut self, stream: Stream, bytes: &[u8]) -> Result<Next, Failure> {
        if let Some(directory) = &mut self.directory {
            directory.raw(stream, bytes)?;
        }
        let mut next = Next::Continue;
        match stream {
            Stream::Serial => {
                for line in self.serial.push(bytes) {
                    self.serial_line(&line)?;
                }
            }
            Stream::Console => {
                for line in self.console.push(bytes) {
                    if self.kernel_line(&line)? {
                        next = self.on_kernel_stop;
                    }
                }
            }
        }
        Ok(next)
    }

    fn serial_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let Some((number, text)) = self.author(line) else {
            return Ok(self.terminal.foreign(line)?);
        };
        let name = self.subjects[number];
        self.terminal.log(Author::Subject(name, number), text)?;
        if let Some(directory) = &mut self.directory {
            directory.line(number, text)?;
        }
        if name == SUPERVISOR {
            self.outcome.supervisor_line(&String::from_utf8_lossy(text));
        }
        Ok(())
    }

    /// Shows the kernel's words to those who want to know more, and from its last ones on to everybody.
    fn kernel_line(&mut self, line: &[u8]) -> Result<bool, Failure> {
        let stopped = self.outcome.kernel_line(&String::from_utf8_lossy(line));
        if stopped || self.terminal.is_verbose() || self.terminal.json() {
            self.terminal.log(Author::Kernel, line)?;
        }
        Ok(stopped)
    }

    /// Splits `[name] text`, the form that the log subject gives every line. Only it writes to the serial port, so what
    /// a subject logs cannot pass for another's line.
    fn author<'l>(&self, line: &'l [u8]) -> Option<(usize, &'l [u8])> {
        let rest = line.strip_prefix(b"[")?;
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (name, text) = rest.split_at(end);
        let number = self.subjects.iter().position(|subject| subject.as_bytes() == name)?;
        let text = &text[1..];
        Some((number, text.strip_prefix(b" ").unwrap_or(text)))
    }
}

/// How long the kernel may still speak after its last words began.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(500);

/// The subject whose lines say what became of the others.
const SUPERVISOR: &str = "supervisor";
