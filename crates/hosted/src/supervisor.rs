//! What the subject `supervisor` does in a machine: who is started again, and whether the system is over.

use palisade_abi::layout::{CONFIG, MAX_SUBJECTS, STATUS};
use palisade_abi::plan::source_action;
use palisade_abi::status::StatusPage;
use palisade_abi::supervisor_config::{self, Record};
use palisade_policy::plan::{Backing, Plan, Subject, SubjectKind};
use palisade_services::report_line::{ReportLine, What};
use palisade_services::supervisor::{Ending, Observation, Step, Unit, all_ended};
use zerocopy::IntoBytes;

use crate::content::aligned;
use crate::ending::Reports;
use crate::journal::Journal;
use crate::memory::SharedMemory;
use crate::{End, Error};

/// The supervisor.
pub(crate) struct Supervisor {
    records: Vec<Record>,
    units: [Unit; MAX_SUBJECTS],
    end: Option<End>,
    over: bool,
}

impl Supervisor {
    /// The supervisor that the plan configures.
    pub(crate) fn new(plan: &Plan) -> Result<Self, Error> {
        let missing = || Error::Plan("its supervisor has no configuration");
        let own = plan.subjects.iter().find(|s| s.kind == SubjectKind::Supervisor).ok_or_else(missing)?;
        let config = own.regions.iter().find(|region| region.address == CONFIG).ok_or_else(missing)?;
        let Backing::Content(bytes) = &config.backing else { return Err(missing()) };
        let words = aligned(bytes);
        let config = supervisor_config::parse(words.as_bytes()).ok_or_else(missing)?;
        let event = config.end_event.and_then(|number| own.source_events.iter().find(|e| e.number == number));
        let end = match event.map(|event| event.action) {
            Some(source_action::SYSTEM_RESET) => Some(End::Reset),
            Some(_) => Some(End::PowerOff),
            None => None,
        };
        Ok(Self { records: config.records.to_vec(), units: [Unit::new(); MAX_SUBJECTS], end, over: false })
    }

    /// Looks at all subjects, and returns those that are to be started again, now.
    pub(crate) fn attend(
        &mut self,
        plan: &Plan,
        reports: &Reports,
        memory: &SharedMemory,
        now: u64,
        journal: &mut Journal<'_>,
    ) -> Vec<u16> {
        let mut restart = Vec::new();
        for (record, unit) in self.records.iter().zip(&mut self.units) {
            let status = plan.subjects.get(usize::from(record.subject)).and_then(|s| status(s, memory));
            let Some(observation) = Observation::take(&reports.page(), record.subject, status) else {
                continue;
            };
            let what = match unit.step(record, observation, now) {
                Step::Nothing => continue,
                Step::Report(Ending::Exited(code)) => What::Exited(code),
                Step::Report(Ending::Halted) => What::Halted,
                Step::Report(Ending::Faulted(cause)) => {
                    report(record, What::Faulted(cause.as_str()), journal);
                    continue;
                }
                Step::Restart { generation, .. } => {
                    restart.push(record.subject);
                    What::Restarting(generation)
                }
            };
            report(record, what, journal);
        }
        restart
    }

    /// Tells whether the system ends by itself, and how, as it was when all subjects were looked at.
    pub(crate) fn end(&mut self, journal: &mut Journal<'_>) -> Option<End> {
        if self.over || !all_ended(&self.records, &self.units) {
            return None;
        }
        self.over = true;
        journal.report(ReportLine::SystemEnded);
        self.end.clone()
    }

    /// When [`Supervisor::attend`] is to be called although nothing happened.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.units.iter().filter_map(Unit::deadline).min()
    }
}

fn report(record: &Record, what: What<'_>, journal: &mut Journal<'_>) {
    // What a subject said comes before what is said of it.
    journal.finish(record.subject);
    journal.report(ReportLine::Subject { name: record.name(), what });
}

/// What a subject says of itself.
pub(crate) fn status<'a>(subject: &Subject, memory: &'a SharedMemory) -> Option<StatusPage<'a>> {
    let region = subject.regions.iter().find(|region| region.address == STATUS)?;
    match region.backing {
        Backing::Volatile(physical) => memory.part(physical, region.size).map(StatusPage),
        _ => None,
    }
}
