//! `palisade run`: the system on this computer, each unikernel in a process that can do nothing but what the plan says.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use palisade_hosted::{
    End as HostedEnd, Happening, Network, Next as HostedNext, Renewals, Settings, renewals,
};
use palisade_machine::{End, Next, Report, Signal, Stream};
use palisade_policy::Planned;
use palisade_policy::plan::{Plan, SubjectKind};
use serde_json::json;

use crate::cli::Run;
use crate::embedded;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::gauge::Gauge;
use crate::network::connect_here;
use crate::outcome::Place;
use crate::session::Session;
use crate::supplies::Supplies;
use crate::system::{self, Purpose, Source};
use crate::terminal::Terminal;
use crate::traffic;
use crate::watch::Watched;

/// Runs a system, shows its log, and ends as its unikernels did.
pub(crate) fn run(arguments: &Run, terminal: &Terminal) -> Result<Exit, Failure> {
    let Run { description, undescribed, surroundings, gdb, trace: _, watch } = arguments;
    let source = Source { description: description.as_deref(), undescribed };
    let supplies = Supplies::default();
    let plan = |terminal: &Terminal| {
        system::plan_with(&supplies, source, Purpose::Computer, &surroundings.publish, terminal)
    };
    let planned = plan(terminal)?;
    gdb.as_deref().map_or(Ok(()), |name| check_subject(name, &planned.plan))?;
    let watched = if *watch { Some(Watched::of(&planned, source)?) } else { None };
    let here = connect_here(&planned, surroundings.tap.as_deref())?;
    let (network, published) = here.map_or((None, Vec::new()), |it| (Some(it.network), it.published));
    announce(&planned.plan, terminal)?;
    let mut session =
        Session::begin(&planned.plan, Place::Computer, surroundings, published, Next::Continue, terminal)?;
    let (renewer, renewals) = renewals().map_err(|error| Failure::host("nothing can be watched", &error))?;
    let over = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let watching = watched.map(|watched| {
            let plan = || plan(&terminal.hushed());
            let (running, over) = (&planned.plan, &over);
            scope.spawn(move || watched.watch(running, &plan, &renewer, over, terminal))
        });
        let _watched = Watching { over: &over, thread: watching.as_ref().map(|it| it.thread().clone()) };
        follow(arguments, &planned, network.as_ref(), &renewals, &mut session, terminal)
    });
    session.end(result)
}

/// A thread that watches as long as this exists, which ends with the run however that ends.
struct Watching<'a> {
    over: &'a AtomicBool,
    thread: Option<Thread>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.iter().for_each(Thread::unpark);
    }
}

/// Runs it to its end, and passes on what happens.
fn follow(
    arguments: &Run,
    planned: &Planned,
    network: Option<&Network>,
    renewals: &Renewals,
    session: &mut Session<'_>,
    terminal: &Terminal,
) -> Result<Report, Failure> {
    let (plan, debug) = (&planned.plan, arguments.gdb.as_deref());
    let gauge = Gauge::new(planned);
    let (interrupts, mut output) = session.parts();
    let settings = Settings {
        plan,
        launcher: embedded::LAUNCHER,
        network,
        limit: arguments.surroundings.limit,
        stop: Some(interrupts.wake()),
        untaken: Some(interrupts.at_once()),
        debug,
        renewals: Some(renewals),
        figures: terminal.shows_status().then_some(STATUS_PERIOD),
        trace: arguments.trace,
    };
    let result = palisade_hosted::run(&settings, &mut |happening| {
        match happening {
            Happening::Output(bytes) => {
                if let Next::EndAfter(_) = output(Stream::Serial, bytes)? {
                    return Ok(HostedNext::End);
                }
            }
            Happening::Started { subject, generation, process } => {
                let name = plan.subjects.get(usize::from(subject)).map_or("", |subject| &subject.name);
                started(name, generation, process, debug == Some(name), terminal)?;
            }
            Happening::Trace(trace) if terminal.json() => terminal.object(&traffic::object(trace))?,
            Happening::Trace(trace) => terminal.trace(&traffic::line(trace))?,
            Happening::Figures(figures) => terminal.status(&gauge.line(figures)),
            Happening::Remark(text) => terminal.remark(text),
        }
        Ok(HostedNext::Continue)
    });
    terminal.status("");
    let signal = interrupts.received();
    drop(output);
    let report = result.map_err(Failure::of_run)?;
    if let HostedEnd::Panic(subject) = &report.end {
        session.outcome().stopped_by(subject);
    }
    Ok(as_of_machine(&report, signal))
}

/// Whether a debugger can wait for a subject of this name.
fn check_subject(name: &str, plan: &Plan) -> Result<(), Failure> {
    let unikernels = plan.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel);
    let names: Vec<_> = unikernels.map(|subject| subject.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let help = format!("its unikernels are: {}", names.join(", "));
    Err(Failure::message(Exit::Input, format!("--gdb {name}: the system has no such unikernel"), Some(help)))
}

fn announce(plan: &Plan, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.json() {
        let subjects: Vec<_> = plan.subjects.iter().map(|subject| &subject.name).collect();
        terminal.object(&json!({ "event": "run", "system": plan.name, "subjects": subjects }))?;
    }
    Ok(())
}

/// Tells of a process that begins, or waits for a debugger to begin.
fn started(subject: &str, generation: u64, process: i32, waits: bool, terminal: &Terminal) -> io::Result<()> {
    if terminal.json() {
        return terminal.object(&json!({
            "event": "started",
            "subject": subject,
            "generation": generation,
            "process": process,
            "waits_for_debugger": waits,
        }));
    }
    if waits {
        terminal.remark(format_args!(
            "{subject} waits before its first instruction; in another terminal: gdb --pid={process}"
        ));
    } else {
        terminal.detail(format_args!("{subject}: process {process}, generation {generation}"));
    }
    Ok(())
}

/// A run as if it had been that of a machine. `signal` is what asked it to stop, if anybody did.
fn as_of_machine(report: &palisade_hosted::Report, signal: Option<Signal>) -> Report {
    let end = match &report.end {
        HostedEnd::PowerOff => End::PowerOff,
        HostedEnd::Reset => End::Reset,
        HostedEnd::TimeRanOut => End::TimeRanOut,
        HostedEnd::Asked => End::Interrupted(signal.unwrap_or(Signal::Terminate)),
        HostedEnd::Panic(_) | HostedEnd::Stopped => End::Stopped,
    };
    Report { end, resets: 0, duration: report.duration }
}

/// How often the status line changes.
const STATUS_PERIOD: Duration = Duration::from_secs(1);
