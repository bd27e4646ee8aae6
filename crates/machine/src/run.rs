//! A run of a machine, from its start to its end.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::bochs::{self, Log, Screen};
use crate::child::Child;
use crate::control::Message;
use crate::{Emulator, Error, Interrupts, Lines, Machine, Program, Signal, qemu};

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The serial port.
    Serial,
    /// The debug console port.
    Console,
}

/// What whoever takes the output wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// End the machine, but not before this time: something may still come.
    EndAfter(Duration),
}

/// Takes the output in the pieces in which it arrives.
pub type Output<'a> = dyn FnMut(Stream, &[u8]) -> io::Result<Next> + 'a;

/// What is known of a run after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// How often the guest reset the machine, the end not counted.
    pub resets: u32,
    /// How long it ran.
    pub duration: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The guest powered the machine off.
    PowerOff,
    /// The guest reset the machine, or a CPU shut down.
    Reset,
    /// The guest wrote this value to the exit device. The value 0 looks like a failure of the emulator, so it is one:
    /// nobody should use it.
    ExitDevice(u8),
    /// The time given was used up.
    TimeRanOut,
    /// The run was asked to stop by a signal.
    Interrupted(Signal),
    /// Whoever takes the output had enough.
    Stopped,
    /// The emulator failed.
    Crash(Crash),
}

/// How an emulator failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// Its exit status.
    pub status: ExitStatus,
    /// The end of what it said.
    pub said: String,
}

/// Runs `machine` to its end. What the guest writes goes to `output`.
///
/// When this returns, whatever the result, the emulator is gone.
///
/// # Errors
/// [`Error::Unsuitable`] if the emulator cannot be this machine, [`Error::Start`], and [`Error::Output`] with the error of
/// `output`.
pub fn run(
    emulator: &Emulator,
    machine: &Machine<'_>,
    interrupts: &Interrupts,
    output: &mut Output<'_>,
) -> Result<Report, Error> {
    let (started, dialect) = match emulator.program() {
        Program::Qemu => (qemu::start(emulator.path(), machine), Dialect::Qemu),
        Program::Bochs => {
            bochs::require_possible(machine)?;
            let dialect = Dialect::Bochs { log: Log::new(machine.on_reset), screen: Screen::default() };
            (bochs::start(emulator.path(), machine), dialect)
        }
    };
    let Started { child, sources } = started.map_err(Error::Start)?;
    let mut run = Run {
        started: Instant::now(),
        sources,
        dialect,
        events: Lines::default(),
        said: Vec::new(),
        announced: None,
        over: false,
        stop_at: None,
        resets: 0,
    };
    run.watch(child, machine.limit, interrupts, output)
}

/// An emulator that was started.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) sources: Vec<Source>,
}

/// Something to read from, until it ends.
pub(crate) struct Source {
    kind: Kind,
    file: File,
}

/// What a source is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the machine writes.
    Output(Stream),
    /// The same, among the words of Bochs' debugger.
    Screen,
    /// The emulator's own words, for people.
    Said,
    /// Lines that tell what happens to the machine.
    Events,
}

/// What happens to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest reset it, and it starts again.
    Reset,
    /// It ends because the guest powered it off.
    PowerOff,
    /// It ends, or is to be ended, because the guest reset it.
    LastReset,
}

/// How an emulator tells of its machine.
enum Dialect {
    Qemu,
    Bochs { log: Log, screen: Screen },
}

/// A run under way.
struct Run {
    started: Instant,
    sources: Vec<Source>,
    dialect: Dialect,
    events: Lines,
    said: Vec<u8>,
    announced: Option<End>,
    /// The machine has ended, the emulator not: it waits for nothing.
    over: bool,
    stop_at: Option<Instant>,
    resets: u32,
}

impl Source {
    pub(crate) fn new(kind: Kind, file: OwnedFd) -> Self {
        Self { kind, file: file.into() }
    }
}

impl Run {
    fn watch(
        &mut self,
        mut child: Child,
        limit: Option<Duration>,
        interrupts: &Interrupts,
        output: &mut Output<'_>,
    ) -> Result<Report, Error> {
        let ended = child.end_signal().map_err(Error::Start)?;
        let deadline = limit.and_then(|limit| self.started.checked_add(limit));
        let stopped = loop {
            if let Some(signal) = interrupts.received() {
                break Some(End::Interrupted(signal));
            }
            let now = Instant::now();
            if self.stop_at.is_some_and(|time| time <= now) {
                break Some(End::Stopped);
            }
            if deadline.is_some_and(|time| time <= now) {
                break Some(End::TimeRanOut);
            }
            let next = [deadline, self.stop_at].into_iter().flatten().min();
            let (ready, others) = self.wait(next, &[ended.as_fd(), interrupts.wake()])?;
            self.take(&ready, output)?;
            if others.first() == Some(&true) || self.over {
                break None;
            }
        };
        let status = child.end().map_err(Error::Start)?;
        let duration = self.started.elapsed();
        self.take_the_rest(output)?;
        if let Dialect::Bochs { screen, .. } = &mut self.dialect {
            let rest = screen.finish();
            self.put_out(Stream::Console, &rest, output)?;
        }
        let end = stopped.unwrap_or_else(|| self.end_of(status));
        Ok(Report { end, resets: self.resets, duration })
    }

    /// Waits until there is something to read, or one of `others` is ready, or the deadline has come.
    fn wait(
        &self,
        deadline: Option<Instant>,
        others: &[BorrowedFd<'_>],
    ) -> Result<(Vec<bool>, Vec<bool>), Error> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let sources = self.sources.iter().map(|source| source.file.as_fd());
        let mut all: Vec<_> = sources
            .chain(others.iter().copied())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut all, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::Start(error.into())),
        }
        let mut ready: Vec<bool> = all.iter().map(|fd| !fd.revents().is_empty()).collect();
        let others = ready.split_off(self.sources.len());
        Ok((ready, others))
    }

    /// Reads once from each source that is ready, and forgets those that have ended.
    fn take(&mut self, ready: &[bool], output: &mut Output<'_>) -> Result<(), Error> {
        let mut buffer = vec![0; 64 * 1024];
        let mut open = Vec::new();
        for (mut source, ready) in mem::take(&mut self.sources).into_iter().zip(ready) {
            if !ready {
                open.push(source);
                continue;
            }
            match source.file.read(&mut buffer) {
                Ok(0) => continue,
                Ok(count) => self.heard(source.kind, &buffer[..count], output)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The emulator closed the control channel with something unread in it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Err(error) => return Err(Error::Start(error)),
            }
            open.push(source);
        }
        self.sources = open;
        Ok(())
    }

    /// What is still in the pipes after the end. A process that escaped the emulator's group could keep them open: it is
    /// not waited for longer than a moment.
    fn take_the_rest(&mut self, output: &mut Output<'_>) -> Result<(), Error> {
        let deadline = Instant::now() + MOMENT;
        while !self.sources.is_empty() && Instant::now() < deadline {
            let (ready, _) = self.wait(Some(deadline), &[])?;
            self.take(&ready, output)?;
        }
        Ok(())
    }

    fn heard(&mut self, kind: Kind, bytes: &[u8], output: &mut Output<'_>) -> Result<(), Error> {
        match (kind, &mut self.dialect) {
            (Kind::Output(stream), _) => self.put_out(stream, bytes, output)?,
            (Kind::Screen, Dialect::Bochs { screen, .. }) => {
                let written = screen.push(bytes);
                self.put_out(Stream::Console, &written, output)?;
            }
            (Kind::Said | Kind::Screen, _) => {
                self.said.extend_from_slice(bytes);
                let surplus = self.said.len().saturating_sub(SAID_KEPT);
                self.said.drain(..surplus);
            }
            (Kind::Events, dialect) => {
                let lines = self.events.push(bytes);
                let events: Vec<_> = lines.iter().filter_map(|line| dialect.event(line)).collect();
                events.into_iter().for_each(|event| self.happened(event));
            }
        }
        Ok(())
    }

    fn put_out(&mut self, stream: Stream, bytes: &[u8], output: &mut Output<'_>) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        match output(stream, bytes).map_err(Error::Output)? {
            Next::Continue => {}
            Next::EndAfter(time) => {
                self.stop_at.get_or_insert(Instant::now() + time);
            }
        }
        Ok(())
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Reset => self.resets += 1,
            Event::PowerOff => self.announced = Some(End::PowerOff),
            Event::LastReset => {
                self.announced = Some(End::Reset);
                // QEMU ends by itself then.
                self.over = matches!(self.dialect, Dialect::Bochs { .. });
            }
        }
    }

    /// What an end was that nobody asked for.
    fn end_of(&mut self, status: ExitStatus) -> End {
        let said = String::from_utf8_lossy(&self.said);
        let crash = |said: &str| End::Crash(Crash { status, said: said.trim().to_owned() });
        match (&self.dialect, self.announced.take()) {
            (Dialect::Qemu, announced) => match (status.code(), announced) {
                (Some(0), Some(end)) => end,
                (Some(code), _) => qemu::exit_device(code).map_or_else(|| crash(&said), End::ExitDevice),
                (None, _) => crash(&said),
            },
            (Dialect::Bochs { .. }, Some(end)) => end,
            (Dialect::Bochs { .. }, None) => crash(bochs::last_words(&said)),
        }
    }
}

impl Dialect {
    /// What a line says that matters.
    fn event(&mut self, line: &[u8]) -> Option<Event> {
        match self {
            Self::Qemu => match Message::parse(line)? {
                Message::Event(event) => Some(event),
                Message::CpuModel { .. } => None,
            },
            Self::Bochs { log, .. } => log.event(line),
        }
    }
}

impl Crash {
    /// One line: with what status, or by what signal.
    #[must_use]
    pub fn cause(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("it ended with status {code}"),
            (None, Some(signal)) => format!("signal {signal} killed it"),
            (None, None) => "it ended without a status".into(),
        }
    }
}

/// The two ends of a pipe: to read from, and to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// How much of the emulator's own words is kept.
const SAID_KEPT: usize = 16 * 1024;
const MOMENT: Duration = Duration::from_secs(1);
