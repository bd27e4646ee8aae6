//! `palisade boot`: build, verify, run, and tell what became of it.

use palisade_machine::{Accelerator, Emulator, Image, Machine, Next, OnReset, run};
use palisade_policy::plan::Plan;
use serde_json::json;

use crate::cli::{self, Boot};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::journal::LAST_WORDS;
use crate::network::connect;
use crate::outcome::Place;
use crate::session::Session;
use crate::system::{self, MachineSize, Purpose};
use crate::terminal::Terminal;

/// Boots a system, shows its log, and ends as its unikernels did.
pub(crate) fn boot(arguments: &Boot, terminal: &Terminal) -> Result<Exit, Failure> {
    let size = MachineSize { memory: arguments.memory.as_deref(), cpus: arguments.smp };
    let planned =
        system::plan(&arguments.system, Purpose::Machine(size), &arguments.surroundings.publish, terminal)?;
    let image = system::image(&planned, terminal)?;
    let emulator = emulator(arguments)?;
    let plan = &planned.plan;
    let surroundings = &arguments.surroundings;
    let connection = connect(&planned, surroundings.tap.as_deref())?;
    let (network, published) = connection.map_or((None, Vec::new()), |it| (Some(it.network), it.published));
    let machine = Machine {
        image: Image::Kernel(&image.bytes),
        memory: plan.machine.memory,
        cpus: plan.machine.cpus,
        accelerator: accelerator(arguments),
        on_reset: if arguments.reboot { OnReset::BootAgain } else { OnReset::End },
        network,
        limit: surroundings.limit,
    };
    announce(&machine, plan, &emulator, terminal)?;
    // After a reset there is a life after the kernel's last words.
    let on_kernel_stop = if arguments.reboot { Next::Continue } else { Next::EndAfter(LAST_WORDS) };
    let mut session =
        Session::begin(plan, Place::Machine, surroundings, published, on_kernel_stop, terminal)?;
    let (interrupts, mut output) = session.parts();
    let result = run(&emulator, &machine, interrupts, &mut output);
    drop(output);
    session.end(result.map_err(Failure::of_emulator))
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

fn announce(
    machine: &Machine<'_>,
    plan: &Plan,
    emulator: &Emulator,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let (memory, cpus, version) = (machine.memory >> 20, machine.cpus, emulator.version());
    terminal.detail(format_args!("{}: QEMU {version}, {memory} MiB, {cpus} CPU(s)", plan.name));
    if terminal.json() {
        let subjects: Vec<_> = plan.subjects.iter().map(|subject| &subject.name).collect();
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
