//! A run of a machine, from its start to its end.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::child::Child;
use crate::control::{self, Message};
use crate::machine::Descriptors;
use crate::{Emulator, Error, Interrupts, Lines, Machine, Signal};

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
/// [`Error::Start`], and [`Error::Output`] with the error of `output`.
pub fn run(
    emulator: &Emulator,
    machine: &Machine<'_>,
    interrupts: &Interrupts,
    output: &mut Output<'_>,
) -> Result<Report, Error> {
    let (mut run, child) = start(emulator, machine).map_err(Error::Start)?;
    run.watch(child, machine.limit, interrupts, output)
}

/// A run under way.
struct Run {
    started: Instant,
    sources: Vec<Source>,
    control: Lines,
    said: Vec<u8>,
    announced: Option<End>,
    stop_at: Option<Instant>,
    resets: u32,
}

/// Something to read from, until it ends.
struct Source {
    kind: Kind,
    file: File,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Output(Stream),
    Said,
    Control,
}

fn start(emulator: &Emulator, machine: &Machine<'_>) -> io::Result<(Run, Child)> {
    let (serial, serial_end) = pipe()?;
    let (console, console_end) = pipe()?;
    let (control, control_end) = control::pair()?;
    let descriptors = Descriptors {
        serial: serial_end,
        console: console_end,
        control: control_end,
        image: machine.image_in_memory()?,
    };
    control::ask(&control, control::CONTINUE)?;
    let mut command = Command::new(emulator.path());
    command.args(machine.arguments(&descriptors));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let Descriptors { serial: a, console: b, control: c, image: d } = descriptors;
    let started = Instant::now();
    let mut child = Child::start(command, vec![a, b, c, d])?;
    let said = child.take_stderr().map(|said| Source { kind: Kind::Said, file: OwnedFd::from(said).into() });
    let mut sources = vec![
        Source { kind: Kind::Output(Stream::Serial), file: serial.into() },
        Source { kind: Kind::Output(Stream::Console), file: console.into() },
        Source { kind: Kind::Control, file: control.into() },
    ];
    sources.extend(said);
    let run = Run {
        started,
        sources,
        control: Lines::default(),
        said: Vec::new(),
        announced: None,
        stop_at: None,
        resets: 0,
    };
    Ok((run, child))
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
            if others.first() == Some(&true) {
                break None;
            }
        };
        let status = child.end().map_err(Error::Start)?;
        let duration = self.started.elapsed();
        self.take_the_rest(output)?;
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
        match kind {
            Kind::Output(stream) => match output(stream, bytes).map_err(Error::Output)? {
                Next::Continue => {}
                Next::EndAfter(time) => {
                    self.stop_at.get_or_insert(Instant::now() + time);
                }
            },
            Kind::Said => {
                self.said.extend_from_slice(bytes);
                let surplus = self.said.len().saturating_sub(SAID_KEPT);
                self.said.drain(..surplus);
            }
            Kind::Control => {
                for message in self.control.push(bytes).iter().filter_map(|line| Message::parse(line)) {
                    match message {
                        Message::Reset => self.resets += 1,
                        Message::PowerOff => self.announced = Some(End::PowerOff),
                        Message::ResetAsEnd => self.announced = Some(End::Reset),
                        Message::CpuModel { .. } => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// What an end by itself was. The exit device makes every exit status odd; 1 is how the emulator ends when it fails.
    fn end_of(&mut self, status: ExitStatus) -> End {
        match (status.code(), self.announced.take()) {
            (Some(0), Some(end)) => end,
            (Some(code @ 3..=255), _) if code % 2 == 1 => {
                End::ExitDevice(u8::try_from(code >> 1).unwrap_or_default())
            }
            _ => End::Crash(Crash { status, said: String::from_utf8_lossy(&self.said).trim().to_owned() }),
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

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// How much of the emulator's own words is kept.
const SAID_KEPT: usize = 16 * 1024;
const MOMENT: Duration = Duration::from_secs(1);
