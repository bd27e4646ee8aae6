//! `palisade boot`: build, verify, run, and tell what became of it.

use palisade_machine::{Accelerator, Emulator, End, Image, Interrupts, Machine, Next, OnReset, Report, run};
use palisade_policy::plan::{Plan, SubjectKind};
use serde_json::{Value, json};

use crate::cli::{self, Boot};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::journal::{Journal, LAST_WORDS};
use crate::network::connect;
use crate::outcome::Outcome;
use crate::output::OutputDirectory;
use crate::readiness::Readiness;
use crate::system::{self, MachineSize};
use crate::terminal::Terminal;

/// Boots a system, shows its log, and ends as its unikernels did.
pub(crate) fn boot(arguments: &Boot, terminal: &Terminal) -> Result<Exit, Failure> {
    let size = MachineSize { memory: arguments.memory.as_deref(), cpus: arguments.smp };
    let planned = system::plan(&arguments.system, size, &arguments.surroundings.publish, terminal)?;
    let image = system::image(&planned, terminal)?;
    let emulator = emulator(arguments)?;
    let plan = &planned.plan;
    let names: Vec<_> = plan.subjects.iter().map(|subject| subject.name.as_str()).collect();
    let directory = arguments
        .surroundings
        .output
        .as_deref()
        .map(|path| OutputDirectory::create(path, &names))
        .transpose()?;
    let connection = connect(&planned, arguments.surroundings.tap.as_deref())?;
    let (network, published) = connection.map_or((None, Vec::new()), |it| (Some(it.network), it.published));
    let machine = Machine {
        image: Image::Kernel(&image.bytes),
        memory: plan.machine.memory,
        cpus: plan.machine.cpus,
        accelerator: accelerator(arguments),
        on_reset: if arguments.reboot { OnReset::BootAgain } else { OnReset::End },
        network,
        limit: arguments.surroundings.limit,
    };
    announce(&machine, plan, &emulator, terminal)?;
    // After a reset there is a life after the kernel's last words.
    let on_kernel_stop = if arguments.reboot { Next::Continue } else { Next::EndAfter(LAST_WORDS) };
    let outcome = Outcome::new(subjects(plan));
    let mut journal = Journal::new(terminal, names, directory, on_kernel_stop, outcome);
    let interrupts =
        Interrupts::catch().map_err(|error| Failure::host("signals cannot be caught", &error))?;
    let readiness = Readiness::watch(published, *terminal);
    let result = run(&emulator, &machine, &interrupts, &mut |stream, bytes| journal.take(stream, bytes));
    let published = readiness.finish(terminal);
    let finished = journal.finish();
    let (outcome, directory, failure) = journal.into_parts();
    if let Some(failure) = failure {
        return Err(failure);
    }
    let report = result.map_err(Failure::of_emulator)?;
    finished?;
    conclude(&outcome, &report, published, directory, terminal)
}

fn emulator(arguments: &Boot) -> Result<Emulator, Failure> {
    let emulator = Emulator::find(arguments.emulator.as_deref()).map_err(Failure::of_emulator)?;
    if accelerator(arguments) == Accelerator::Kvm {
        emulator.require_nested_svm().map_err(Failure::of_emulator)?;
    }
    Ok(emulator)
}

const fn accelerator(arguments: &Boot) -> Accelerator {
    match arguments.accelerator {
        cli::Accelerator::Software => Accelerator::Software,
        cli::Accelerator::Kvm => Accelerator::Kvm,
    }
}

fn subjects(plan: &Plan) -> impl Iterator<Item = (&str, bool)> {
    plan.subjects.iter().map(|subject| (subject.name.as_str(), subject.kind == SubjectKind::Unikernel))
}

fn announce(
    machine: &Machine<'_>,
    plan: &Plan,
    emulator: &Emulator,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let (memory, cpus, version) = (machine.memory >> 20, machine.cpus, emulator.version());
    terminal.detail(format_args!("{}: QEMU {version}, {memory} MiB, {cpus} CPU(s)", plan.name));
    if terminal.json() {
        let subjects: Vec<_> = subjects(plan).map(|(name, _)| name).collect();
        terminal.object(&json!({
            "event": "boot",
            "system": plan.name,
            "subjects": subjects,
            "memory": machine.memory,
            "cpus": cpus,
            "emulator": emulator.path(),
            "emulator_version": version.to_string(),
        }))?;
    }
    Ok(())
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
