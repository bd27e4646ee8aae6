//! `palisade boot`: build, verify, run, and tell what became of it.

use std::ops::ControlFlow;

use palisade_image::iso;
use palisade_machine::{
    Accelerator, Emulator, Image, Interrupts, Iommu, Machine, Next, OnReset, Program, run,
};
use palisade_policy::plan::{IommuKind, Plan};
use palisade_policy::{Emulator as Emulated, Planned};
use serde_json::json;

use crate::cli::{self, Boot, On};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::journal::LAST_WORDS;
use crate::network::connect;
use crate::outcome::Place;
use crate::session::Session;
use crate::system::{self, MachineWish, Purpose};
use crate::terminal::Terminal;

/// Boots a system, shows its log, and ends as its unikernels did.
pub(crate) fn boot(arguments: &Boot, terminal: &Terminal) -> Result<Exit, Failure> {
    let wish = MachineWish {
        emulator: arguments.on.map(emulated),
        memory: arguments.memory.as_deref(),
        cpus: arguments.smp,
    };
    let planned =
        system::plan(&arguments.system, Purpose::Machine(wish), &arguments.surroundings.publish, terminal)?;
    let program = program(arguments, &planned)?;
    let image = system::image(&planned, terminal)?;
    let emulator = emulator(program, arguments)?;
    let plan = &planned.plan;
    let surroundings = &arguments.surroundings;
    let connection = connect(&planned, surroundings.tap.as_deref())?;
    let (network, published) = connection.map_or((None, Vec::new()), |it| (Some(it.network), it.published));
    let disc = match program {
        Program::Qemu => None,
        Program::Bochs => match disc(&image)? {
            ControlFlow::Continue(bytes) => Some(bytes),
            ControlFlow::Break(exit) => return Ok(exit),
        },
    };
    let machine = Machine {
        image: disc.as_ref().map_or(Image::Kernel(&image.bytes), |disc| Image::Iso(disc)),
        memory: plan.machine.memory,
        cpus: plan.machine.cpus,
        accelerator: accelerator(arguments),
        iommu: plan.machine.iommu.as_ref().map(|iommu| iommu_of(iommu.kind)),
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

/// The emulator to boot in: the one asked for, if it can be the machine; else the machine's usual one. A machine whose file
/// names none is tried in QEMU: the kernel refuses what does not suit it.
fn program(arguments: &Boot, planned: &Planned) -> Result<Program, Failure> {
    let possible = planned.system.machine.as_ref().map_or(&[][..], |machine| &machine.value.emulators);
    let possible = if possible.is_empty() { &[Emulated::Qemu] } else { possible };
    let chosen = match arguments.on.map(emulated) {
        None => possible[0],
        Some(wanted) if possible.contains(&wanted) => wanted,
        Some(wanted) => {
            let (name, machine) = (wanted.name(), &planned.plan.machine.name);
            let help = format!(
                "leave `machine` out of the description: with --on {name} it is `{}`; or name one whose file lists {name} \
                 under `emulators`, such as `qemu-or-bochs`",
                wanted.usual_machine()
            );
            let message = format!("--on {name}: the machine `{machine}` is not emulated there");
            return Err(Failure::message(Exit::Input, message, Some(help)));
        }
    };
    Ok(match chosen {
        Emulated::Qemu => Program::Qemu,
        Emulated::Bochs => Program::Bochs,
    })
}

const fn emulated(on: On) -> Emulated {
    match on {
        On::Qemu => Emulated::Qemu,
        On::Bochs => Emulated::Bochs,
    }
}

/// The image on a disc. A signal does not leave files of the tools that make it: it is obeyed when they have ended.
pub(super) fn disc(image: &palisade_image::Image) -> Result<ControlFlow<Exit, Vec<u8>>, Failure> {
    let interrupts =
        Interrupts::catch().map_err(|error| Failure::host("signals cannot be caught", &error))?;
    let disc = iso::bytes(&image.bytes, &image.name);
    if let Some(signal) = interrupts.received() {
        return Ok(ControlFlow::Break(Exit::Interrupted(signal)));
    }
    disc.map(ControlFlow::Continue).map_err(|error| Failure::message(Exit::Host, error, None))
}

fn emulator(program: Program, arguments: &Boot) -> Result<Emulator, Failure> {
    let emulator = Emulator::find(program, arguments.emulator.as_deref()).map_err(Failure::of_emulator)?;
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

pub(super) const fn iommu_of(kind: IommuKind) -> Iommu {
    match kind {
        IommuKind::Amd => Iommu::Amd,
        IommuKind::Intel => Iommu::Intel,
    }
}

fn announce(
    machine: &Machine<'_>,
    plan: &Plan,
    emulator: &Emulator,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let (memory, cpus, version) = (machine.memory >> 20, machine.cpus, emulator.version());
    let program = emulator.program();
    terminal.detail(format_args!("{}: {program} {version}, {memory} MiB, {cpus} CPU(s)", plan.name));
    if terminal.json() {
        let subjects: Vec<_> = plan.subjects.iter().map(|subject| &subject.name).collect();
        terminal.object(&json!({
            "event": "boot",
            "system": plan.name,
            "subjects": subjects,
            "memory": machine.memory,
            "cpus": cpus,
            "emulator": emulator.path(),
            "emulator_name": program.to_string(),
            "emulator_version": version.to_string(),
        }))?;
    }
    Ok(())
}
