//! What became of a system: gathered from the supervisor's and the kernel's lines, judged at the end.

use palisade_machine::{End, Report};
use palisade_services::report_line::{ReportLine, What};
use serde_json::{Value, json};

use crate::exit::Exit;

/// What a system runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A machine of its own.
    Machine,
    /// This computer.
    Computer,
}

impl Place {
    /// What ends when it ends.
    const fn what(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Computer => "system",
        }
    }

    /// What it had begun with.
    pub(crate) const fn start(self) -> &'static str {
        match self {
            Self::Machine => "power-on",
            Self::Computer => "the start",
        }
    }
}

/// What is known so far.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    place: Place,
    subjects: Vec<Subject>,
    all_ended: bool,
    kernel: Option<KernelEnd>,
}

#[derive(Debug, Clone)]
struct Subject {
    name: String,
    unikernel: bool,
    ending: Option<Ending>,
    generation: u64,
}

/// How a subject ended, as far as it is not running again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Exited(i32),
    Halted,
    Faulted(String),
}

/// The kernel's last words.
#[derive(Debug, Clone, PartialEq, Eq)]
enum KernelEnd {
    Stopped(String),
    Refused(String),
}

impl Outcome {
    /// Nothing happened yet to these subjects: name, and whether it is a unikernel; in the order of the description.
    #[must_use]
    pub(crate) fn new<'a>(place: Place, subjects: impl IntoIterator<Item = (&'a str, bool)>) -> Self {
        let subjects = subjects
            .into_iter()
            .map(|(name, unikernel)| Subject { name: name.into(), unikernel, ending: None, generation: 1 })
            .collect();
        Self { place, subjects, all_ended: false, kernel: None }
    }

    /// Takes a line of the supervisor.
    pub(crate) fn supervisor_line(&mut self, text: &str) {
        match ReportLine::parse(text) {
            Some(ReportLine::Subject { name, what }) => self.happened(name, what),
            Some(ReportLine::SystemEnded) => self.all_ended = true,
            None => {}
        }
    }

    /// Takes a line of the kernel. Tells whether the kernel has stopped, now or before.
    pub(crate) fn kernel_line(&mut self, text: &str) -> bool {
        if self.kernel.is_none() {
            let stopped = text.strip_prefix("kernel stopped: ").map(|why| KernelEnd::Stopped(why.into()));
            let refused = || text.strip_prefix("kernel refused: ").map(|why| KernelEnd::Refused(why.into()));
            self.kernel = stopped.or_else(refused);
        }
        self.kernel.is_some()
    }

    /// A subject has stopped the system, as its rights allow.
    pub(crate) fn stopped_by(&mut self, subject: &str) {
        self.kernel = Some(KernelEnd::Stopped(format!("{subject} stopped the system")));
    }

    /// The exit status of the whole.
    #[must_use]
    pub(crate) fn exit(&self, end: &End) -> Exit {
        match (&self.kernel, end) {
            (_, End::Interrupted(signal)) => Exit::Interrupted(*signal),
            (Some(KernelEnd::Refused(_)), _) => Exit::KernelRefused,
            (Some(KernelEnd::Stopped(_)), _) => Exit::KernelStopped,
            (None, End::TimeRanOut) => Exit::TimeRanOut,
            (None, End::Crash(_)) => Exit::Host,
            (None, End::Reset) if !self.all_ended => Exit::KernelStopped,
            (None, End::Reset | End::PowerOff | End::ExitDevice(_) | End::Stopped) => self.exit_of_subjects(),
        }
    }

    /// One sentence for people.
    #[must_use]
    pub(crate) fn summary(&self, report: &Report) -> String {
        let how = match (&self.kernel, &report.end) {
            (_, End::Interrupted(signal)) => format!("{signal} ended the {}", self.place.what()),
            (Some(KernelEnd::Stopped(why)), _) if self.place == Place::Computer => why.clone(),
            (Some(KernelEnd::Refused(why)), _) => format!("the kernel refused the machine: {why}"),
            (Some(KernelEnd::Stopped(why)), _) => format!("the kernel stopped: {why}"),
            (None, End::TimeRanOut) => "time ran out".into(),
            (None, End::Crash(crash)) if crash.said.is_empty() => {
                format!("the emulator failed: {}", crash.cause())
            }
            (None, End::Crash(crash)) => {
                format!("the emulator failed: {}; it said: {}", crash.cause(), crash.said)
            }
            (None, End::Reset) if self.place == Place::Computer => "the system asked for a reset".into(),
            (None, End::Reset) if self.all_ended => "the machine was reset".into(),
            (None, End::Reset) => "the machine was reset without a word from the kernel".into(),
            (None, End::PowerOff | End::ExitDevice(_) | End::Stopped) => match self.place {
                Place::Machine => "the machine powered off".into(),
                Place::Computer => "the system ended".into(),
            },
        };
        format!("{how} after {:.1} s", report.duration.as_secs_f64())
    }

    /// Everything, for machines.
    #[must_use]
    pub(crate) fn object(&self, report: &Report) -> Value {
        let subjects: Vec<_> = self.subjects.iter().map(Subject::object).collect();
        json!({
            "event": "result",
            "exit": self.exit(&report.end).code(),
            "end": end_name(&report.end),
            "summary": self.summary(report),
            "seconds": report.duration.as_secs_f64(),
            "resets": report.resets,
            "subjects": subjects,
        })
    }

    fn exit_of_subjects(&self) -> Exit {
        let of = |unikernel| {
            let chosen = self.subjects.iter().filter(move |subject| subject.unikernel == unikernel);
            chosen.map(Subject::exit).find(|exit| *exit != Exit::SUCCESS)
        };
        of(true).or_else(|| of(false)).unwrap_or(Exit::SUCCESS)
    }

    fn happened(&mut self, name: &str, what: What<'_>) {
        let Some(subject) = self.subjects.iter_mut().find(|subject| subject.name == name) else { return };
        subject.ending = match what {
            What::Exited(status) => Some(Ending::Exited(status)),
            What::Halted => Some(Ending::Halted),
            What::Faulted(cause) => Some(Ending::Faulted(cause.into())),
            What::Restarting(generation) => {
                subject.generation = generation;
                None
            }
            // It goes on.
            What::Refused(_) => return,
        };
    }
}

impl Subject {
    fn exit(&self) -> Exit {
        match &self.ending {
            Some(Ending::Exited(status)) => Exit::of_status(*status),
            Some(Ending::Faulted(_)) => Exit::SubjectFaulted,
            // An unmodified unikernel reports no status: its end counts as a success.
            Some(Ending::Halted) | None => Exit::SUCCESS,
        }
    }

    fn object(&self) -> Value {
        let (state, status, cause) = match &self.ending {
            None => ("running", None, None),
            Some(Ending::Exited(status)) => ("exited", Some(status), None),
            Some(Ending::Halted) => ("halted", None, None),
            Some(Ending::Faulted(cause)) => ("faulted", None, Some(cause)),
        };
        json!({
            "name": self.name,
            "unikernel": self.unikernel,
            "state": state,
            "status": status,
            "cause": cause,
            "generation": self.generation,
        })
    }
}

const fn end_name(end: &End) -> &'static str {
    match end {
        End::PowerOff => "power-off",
        End::Reset => "reset",
        End::ExitDevice(_) => "exit-device",
        End::TimeRanOut => "time-ran-out",
        End::Interrupted(_) => "interrupted",
        End::Stopped => "stopped",
        End::Crash(_) => "emulator-failed",
    }
}
