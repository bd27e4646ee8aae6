//! The supervisor: restarts subjects that end, and ends the system when all unikernels have ended.
//!
//! It maps nobody's memory: a subject restores itself when it is started again.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use palisade_abi::layout::MAX_SUBJECTS;
use palisade_abi::status::StatusPage;
use palisade_abi::supervisor_config::{self, Config, Record};
use palisade_abi::volatile::{Memory, Shared};
use palisade_services::report_line::{ReportLine, What};
use palisade_services::supervisor::{Drain, Ending, Observation, Step, Unit, all_ended};
use palisade_services::text::Text;
use solo5::{StartInfo, clock, console, raise_number, shared_memory, sleep};

solo5::subject!(main);

fn main(_: &StartInfo) -> i32 {
    let mut bytes = ConfigBytes([0; CONFIG_SIZE]);
    let (Some(config), Some(reports)) = (read_config(&mut bytes), shared_memory("report")) else {
        console::write_line(b"there is no configuration or no report page");
        return 1;
    };
    let mut units = [Unit::new(); MAX_SUBJECTS];
    let mut over = false;
    loop {
        for (record, unit) in config.records.iter().zip(&mut units) {
            attend(record, unit, &reports);
        }
        if !over && all_ended(config.records, &units) {
            over = true;
            end(config.end_event);
        }
        let now = clock::monotonic();
        let deadline = units.iter().filter_map(Unit::deadline).min();
        sleep::wait_until(deadline.unwrap_or(u64::MAX).min(now.saturating_add(LONGEST_SLEEP)));
    }
}

/// Looks at a subject and does what has to be done about it.
fn attend(record: &Record, unit: &mut Unit, reports: &Shared<'_>) {
    let status = if record.has_status == 1 { status_of(record.name()) } else { None };
    let Some(observation) = Observation::take(reports, record.subject, status) else { return };
    if let Some(count) = unit.refusals(&observation) {
        report(record, What::Refused(count));
    }
    match unit.step(record, observation, clock::monotonic()) {
        Step::Nothing => {}
        Step::Report(ending) => report(
            record,
            match &ending {
                Ending::Exited(code) => What::Exited(*code),
                Ending::Halted => What::Halted,
                Ending::Faulted(cause) => What::Faulted(cause.as_str()),
            },
        ),
        Step::Restart { event, generation } => {
            report(record, What::Restarting(generation));
            // A new start of the subject begins a new epoch of its log channel, and what was not read of the old one is lost.
            if record.name() != LOG {
                wait_for_log();
            }
            raise_number(u64::from(event));
        }
    }
}

fn report(record: &Record, what: What<'_>) {
    let line = ReportLine::Subject { name: record.name(), what };
    console::write_line(line.format().as_bytes());
}

/// Says that the system is over, waits until the log has printed everything, and ends it if it is meant to end.
fn end(event: Option<u8>) {
    console::write_line(ReportLine::SystemEnded.format().as_bytes());
    let Some(event) = event else { return };
    wait_for_log();
    raise_number(u64::from(event));
}

/// Waits until the log has printed everything, for a limited time: others may keep it busy.
fn wait_for_log() {
    let log = status_of(LOG);
    let sweeps = || log.as_ref().and_then(|page| page.counter(IDLE_SWEEPS)).unwrap_or(0);
    let drain = Drain::begin(sweeps(), clock::monotonic());
    while !drain.is_over(sweeps(), clock::monotonic()) {
        sleep::wait_until(clock::monotonic().saturating_add(DRAIN_POLL));
    }
}

fn status_of(name: &str) -> Option<StatusPage<'static>> {
    shared_memory(Text::<63>::new().str("status_").str(name).as_str()).map(StatusPage)
}

fn read_config(bytes: &mut ConfigBytes) -> Option<Config<'_>> {
    let memory = shared_memory("config")?;
    let length = CONFIG_SIZE.min(memory.size());
    memory.copy_out(0, bytes.0.get_mut(..length)?)?;
    supervisor_config::parse(&bytes.0)
}

/// The largest configuration, aligned as its structures are.
#[repr(align(8))]
struct ConfigBytes([u8; CONFIG_SIZE]);

const CONFIG_SIZE: usize = supervisor_config::size(MAX_SUBJECTS);

/// Name of the log subject.
const LOG: &str = "log";
/// The log's progress counter with the number of sweeps that found nothing to do.
const IDLE_SWEEPS: usize = 0;

/// Every end is announced by an event. This is for the case that none comes.
const LONGEST_SLEEP: u64 = 1_000_000_000;
const DRAIN_POLL: u64 = 5_000_000;
