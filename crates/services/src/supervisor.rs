//! What the supervisor decides: who is started again, when, and whether the system is over.
//!
//! It sees two things of a subject: what the kernel reports, which is true, and what the subject says in its status page,
//! which decides nothing but the subject's own fate.

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use palisade_abi::layout::MAX_SUBJECTS;
use palisade_abi::report::{State, SubjectReport};
use palisade_abi::status::{Status, StatusPage};
use palisade_abi::supervisor_config::{NO_EVENT, Record, Restart};
use palisade_abi::volatile::{Memory, Shared};
use zerocopy::{FromZeros, IntoBytes};

use crate::cause::{self, Cause};

/// How a subject ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// With this exit status.
    Exited(i32),
    /// Properly, but without an exit status.
    Halted,
    /// Because of this.
    Faulted(Cause),
}

impl Ending {
    fn is_failure(&self) -> bool {
        !matches!(self, Self::Exited(0) | Self::Halted)
    }
}

/// A subject at some moment.
#[derive(Debug)]
pub struct Observation {
    generation: u64,
    /// What an IOMMU refused its devices since boot.
    refused: u64,
    ending: Option<Ending>,
}

impl Observation {
    /// Looks at a subject: the kernel's report page, and the subject's status page if it has one.
    ///
    /// `None` if there is no report, or if the kernel was changing it: look again later.
    #[must_use]
    pub fn take(reports: &Shared<'_>, subject: u16, status: Option<StatusPage<'_>>) -> Option<Self> {
        let report = read_report(reports, subject)?;
        // What a status page says about another generation is out of date.
        let status =
            status.filter(|page| page.generation() == Some(report.generation)).and_then(|page| page.status());
        let ending = if report.state == State::Faulted as u32 {
            Some(Ending::Faulted(cause::of_report(&report)))
        } else if report.state == State::Halted as u32 {
            Some(match status {
                Some(Status::Exited(code)) => Ending::Exited(code),
                Some(Status::Aborted(abort)) => Ending::Faulted(cause::of_abort(&abort)),
                Some(Status::Running) | None => Ending::Halted,
            })
        } else {
            None
        };
        Some(Self { generation: report.generation, refused: report.refused, ending })
    }
}

/// What the supervisor has to do about a subject.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Report its end.
    Report(Ending),
    /// Start it again: raise this event, and it becomes this generation.
    Restart {
        /// Number of the supervisor's source event.
        event: u8,
        /// The generation to come.
        generation: u64,
    },
}

/// A subject under supervision.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    phase: Phase,
    /// The generation whose end was dealt with; 0 for none.
    ended_generation: u64,
    started: u64,
    restarts_in_a_row: u32,
    /// The refusals that were told last.
    refused: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Waiting { until: u64 },
    Ended,
}

impl Unit {
    /// A subject of which nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { phase: Phase::Running, ended_generation: 0, started: 0, restarts_in_a_row: 0, refused: 0 }
    }

    /// How often an IOMMU refused something to the subject's devices, if that is to be told: when there is something to tell,
    /// and whenever it has doubled. Whoever causes refusals must not fill the log.
    pub fn refusals(&mut self, observation: &Observation) -> Option<u64> {
        let count = observation.refused;
        if count == 0 || count < self.refused.saturating_mul(2) {
            return None;
        }
        self.refused = count;
        Some(count)
    }

    /// Decides what to do about the subject at time `now`, in nanoseconds.
    pub fn step(&mut self, record: &Record, observation: Observation, now: u64) -> Step {
        if self.phase != Phase::Running && observation.generation > self.ended_generation {
            // Somebody else has started it: another subject's event, or new content.
            self.phase = Phase::Running;
            self.started = now;
        }
        match self.phase {
            Phase::Running | Phase::Ended => match observation.ending {
                Some(ending) if observation.generation > self.ended_generation => {
                    self.ended_generation = observation.generation;
                    self.phase = self.after(record, &ending, now);
                    Step::Report(ending)
                }
                _ => Step::Nothing,
            },
            Phase::Waiting { until } if now < until => Step::Nothing,
            Phase::Waiting { .. } => {
                self.phase = Phase::Running;
                self.started = now;
                Step::Restart {
                    event: record.reset_event,
                    generation: self.ended_generation.saturating_add(1),
                }
            }
        }
    }

    /// When [`Unit::step`] is to be called although nothing happened.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Running | Phase::Ended => None,
        }
    }

    fn after(&mut self, record: &Record, ending: &Ending, now: u64) -> Phase {
        let wanted = match record.restart() {
            Restart::Never => false,
            Restart::OnFailure => ending.is_failure(),
            Restart::Always => true,
        };
        if !wanted || record.reset_event == NO_EVENT {
            return Phase::Ended;
        }
        let longest = u64::from(record.backoff_max_ms) * MILLISECOND;
        if now.saturating_sub(self.started) > longest.saturating_mul(2) {
            self.restarts_in_a_row = 0;
        }
        let factor = 1_u64.checked_shl(self.restarts_in_a_row).unwrap_or(u64::MAX);
        let wait = (u64::from(record.backoff_ms) * MILLISECOND).saturating_mul(factor).min(longest);
        self.restarts_in_a_row = self.restarts_in_a_row.saturating_add(1);
        Phase::Waiting { until: now.saturating_add(wait) }
    }
}

impl Default for Unit {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the system is over: all its unikernels have ended, and none will be started again.
#[must_use]
pub fn all_ended(records: &[Record], units: &[Unit; MAX_SUBJECTS]) -> bool {
    let mut unikernels = records.iter().zip(units).filter(|(record, _)| record.unikernel == 1).peekable();
    unikernels.peek().is_some() && unikernels.all(|(_, unit)| unit.phase == Phase::Ended)
}

/// The wait for the log to have written everything before the system ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    sweeps: u64,
    deadline: u64,
}

impl Drain {
    /// Begins to wait, when the log has found all channels empty this often.
    #[must_use]
    pub fn begin(sweeps: u64, now: u64) -> Self {
        Self { sweeps, deadline: now.saturating_add(LONGEST_DRAIN) }
    }

    /// Whether everything that was written when the wait began is on the serial port, or the log is not going to do it.
    #[must_use]
    pub fn is_over(&self, sweeps: u64, now: u64) -> bool {
        // The first of two sweeps may have passed a channel before its last line was written.
        sweeps >= self.sweeps.saturating_add(2) || now >= self.deadline
    }
}

/// The kernel's report about a subject.
fn read_report(reports: &Shared<'_>, subject: u16) -> Option<SubjectReport> {
    let start = usize::from(subject) * size_of::<SubjectReport>();
    let mut report = SubjectReport::new_zeroed();
    let state = reports.load_u32(start + offset_of!(SubjectReport, state))?;
    reports.copy_out(start, report.as_mut_bytes())?;
    reports.fence(Ordering::Acquire);
    // When a subject stops, the kernel writes the state last; when it starts, the state first and the generation last. If neither
    // changed meanwhile, the rest belongs to them.
    let generation = reports.load(start + offset_of!(SubjectReport, generation))?;
    let after = reports.load_u32(start + offset_of!(SubjectReport, state))?;
    (report.state == state && after == state && report.generation == generation).then_some(report)
}

const MILLISECOND: u64 = 1_000_000;
const LONGEST_DRAIN: u64 = 2_000 * MILLISECOND;

#[cfg(test)]
mod tests;
