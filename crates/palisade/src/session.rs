//! A system that runs, as the command sees it: its log on its way, its websites awaited, requests to stop caught, and at the
//! end what to tell of it.

use palisade_machine::{End, Interrupts, Next, Report, Stream};
use palisade_policy::plan::{Plan, SubjectKind};
use serde_json::Value;

use crate::cli::Surroundings;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::journal::Journal;
use crate::outcome::{Outcome, Place};
use crate::output::OutputDirectory;
use crate::published::{Published, advise};
use crate::readiness::Readiness;
use crate::terminal::Terminal;

/// A system that runs.
pub(crate) struct Session<'a> {
    terminal: &'a Terminal,
    interrupts: Interrupts,
    journal: Journal<'a>,
    readiness: Readiness,
}

impl<'a> Session<'a> {
    /// Begins: the system starts now.
    pub(crate) fn begin(
        plan: &'a Plan,
        place: Place,
        surroundings: &Surroundings,
        published: Vec<Published>,
        on_kernel_stop: Next,
        terminal: &'a Terminal,
    ) -> Result<Self, Failure> {
        advise(&published, terminal)?;
        let names: Vec<_> = plan.subjects.iter().map(|subject| subject.name.as_str()).collect();
        let directory =
            surroundings.output.as_deref().map(|path| OutputDirectory::create(path, &names)).transpose()?;
        let unikernel = |kind| kind == SubjectKind::Unikernel;
        let subjects = plan.subjects.iter().map(|subject| (subject.name.as_str(), unikernel(subject.kind)));
        let journal = Journal::new(terminal, names, directory, on_kernel_stop, Outcome::new(place, subjects));
        let interrupts =
            Interrupts::catch().map_err(|error| Failure::host("signals cannot be caught", &error))?;
        Ok(Self { terminal, interrupts, journal, readiness: Readiness::watch(published, place, *terminal) })
    }

    /// What catches requests to stop, and what takes the output.
    pub(crate) fn parts(
        &mut self,
    ) -> (&Interrupts, impl FnMut(Stream, &[u8]) -> std::io::Result<Next> + use<'_, 'a>) {
        let Self { interrupts, journal, .. } = self;
        (interrupts, |stream, bytes: &[u8]| journal.take(stream, bytes))
    }

    /// What is known so far.
    pub(crate) const fn outcome(&mut self) -> &mut Outcome {
        self.journal.outcome()
    }

    /// The system has ended: tells of it.
    pub(crate) fn end(mut self, result: Result<Report, Failure>) -> Result<Exit, Failure> {
        let published = self.readiness.finish(self.terminal);
        let finished = self.journal.finish();
        let (outcome, directory, failure) = self.journal.into_parts();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let report = result?;
        finished?;
        conclude(&outcome, &report, published, directory, self.terminal)
    }
}

fn conclude(
    outcome: &Outcome,
    report: &Report,
    published: Vec<Value>,
    directory: Option<OutputDirectory>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let mut object = outcome.object(report);
    object["published"] = published.into();
    directory.map(|directory| directory.result(&object)).transpose()?;
    if terminal.json() {
        terminal.object(&object)?;
    }
    if matches!(report.end, End::Crash(_)) {
        return Err(Failure::message(Exit::Host, outcome.summary(report), None));
    }
    terminal.remark(outcome.summary(report));
    Ok(outcome.exit(&report.end))
}
