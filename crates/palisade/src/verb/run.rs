//! `palisade run`: the system on this computer, each unikernel in a process that can do nothing but what the plan says.

use std::io;

use palisade_hosted::{End as HostedEnd, Happening, Next as HostedNext, Settings};
use palisade_machine::{End, Next, Report, Signal, Stream};
use palisade_policy::plan::{Plan, SubjectKind};
use serde_json::json;

use crate::cli::Run;
use crate::embedded;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::network::connect_here;
use crate::outcome::Place;
use crate::session::Session;
use crate::system::{self, Purpose, Source};
use crate::terminal::Terminal;

/// Runs a system, shows its log, and ends as its unikernels did.
pub(crate) fn run(arguments: &Run, terminal: &Terminal) -> Result<Exit, Failure> {
    let Run { description, undescribed, surroundings, gdb } = arguments;
    let source = Source { description: description.as_deref(), undescribed };
    let planned = system::plan(source, Purpose::Computer, &surroundings.publish, terminal)?;
    let plan = &planned.plan;
    gdb.as_deref().map_or(Ok(()), |name| check_subject(name, plan))?;
    let here = connect_here(&planned, surroundings.tap.as_deref())?;
    let (network, published) = here.map_or((None, Vec::new()), |it| (Some(it.network), it.published));
    announce(plan, terminal)?;
    let mut session =
        Session::begin(plan, Place::Computer, surroundings, published, Next::Continue, terminal)?;
    let (interrupts, mut output) = session.parts();
    let settings = Settings {
        plan,
        launcher: embedded::LAUNCHER,
        network: network.as_ref(),
        limit: surroundings.limit,
        stop: Some(interrupts.wake()),
        debug: gdb.as_deref(),
    };
    let result = palisade_hosted::run(&settings, &mut |happening| match happening {
        Happening::Output(bytes) => output(Stream::Serial, bytes).map(|next| match next {
            Next::Continue => HostedNext::Continue,
            Next::EndAfter(_) => HostedNext::End,
        }),
        Happening::Started { subject, generation, process } => {
            let name = plan.subjects.get(usize::from(subject)).map_or("", |subject| &subject.name);
            let waits = gdb.as_deref() == Some(name);
            started(name, generation, process, waits, terminal).map(|()| HostedNext::Continue)
        }
        Happening::Remark(text) => {
            terminal.remark(text);
            Ok(HostedNext::Continue)
        }
    });
    let signal = interrupts.received();
    drop(output);
    if let Ok(palisade_hosted::Report { end: HostedEnd::Panic(subject), .. }) = &result {
        session.outcome().stopped_by(subject);
    }
    session.end(result.map(|report| as_of_machine(&report, signal)).map_err(Failure::of_run))
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
