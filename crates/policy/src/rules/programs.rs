//! Rules for programs. Most are kept by [`crate::elf`], which reads them.

use palisade_abi::layout::MAX_COMMAND_LINE;
use palisade_abi::note::DeviceKind;
use palisade_abi::supervisor_config::Restart;

use super::{Check, Rule};
use crate::elf::Device;
use crate::plan::SubjectKind;
use crate::problem::{Collector, Problem};
use crate::system::{Subject, System, input_name, output_name};
use crate::units;

pub(crate) static ELF: Rule = Rule {
    id: "program-elf",
    specification: "Every program is a complete, statically linked ELF file for x86-64.",
    check: Check::Reading,
};

pub(crate) static NOTES: Rule = Rule {
    id: "program-notes",
    specification: "The ELF notes of a program are whole: Solo5 ABI, Solo5 manifest, Palisade.",
    check: Check::Reading,
};

pub(crate) static TARGET: Rule = Rule {
    id: "program-target",
    specification: "Every unikernel was built for the Solo5 target muen.",
    check: Check::Reading,
};

pub(crate) static ABI_VERSION: Rule = Rule {
    id: "program-abi-version",
    specification: "Every unikernel has ABI version 2, 3 or 4, and it is clear which subject info it expects.",
    check: Check::Reading,
};

pub(crate) static LAYOUT: Rule = Rule {
    id: "program-layout",
    specification: "The segments of a program lie above 64 KiB, follow each other without overlap and hold its entry point.",
    check: Check::Reading,
};

pub(crate) static W_XOR_X: Rule = Rule {
    id: "program-w-xor-x",
    specification: "No memory of a program is both writable and executable, and rights change at page boundaries only.",
    check: Check::Reading,
};

pub(crate) static STACK: Rule = Rule {
    id: "program-stack",
    specification: "A native program asks for a stack of 64 MiB at most.",
    check: Check::Reading,
};

pub(crate) static COMMAND_LINE: Rule = Rule {
    id: "command-line",
    specification: "A command line fits 8192 bytes with the NUL that ends it, and has no other NUL.",
    check: Check::System(check_command_lines),
};

pub(crate) static DEVICES: Rule = Rule {
    id: "devices-connected",
    specification: "Every device of a unikernel's manifest is connected: network device `x` by channels `x|in` and `x|out`, or by neither to the machine's network card.",
    check: Check::System(check_devices),
};

pub(crate) static RESTART: Rule = Rule {
    id: "restart-pause",
    specification: "The pause before a restart is 1 ms to 1 hour, and the longest one is not shorter than the first.",
    check: Check::System(check_restarts),
};

pub(crate) static NO_EFFECT: Rule = Rule {
    id: "no-effect",
    specification: "A pause between restarts is given only where there are restarts (a warning).",
    check: Check::System(warn_of_unused_pauses),
};

fn check_command_lines(system: &System, problems: &Collector) {
    for subject in &system.subjects {
        let text = &subject.command_line;
        if text.value.len() >= MAX_COMMAND_LINE {
            let length = text.value.len();
            problems.add(
                Problem::error(
                    &COMMAND_LINE,
                    format!("the command line of `{}` is too long", subject.name.value),
                )
                .at(&text.place, format!("{length} bytes"))
                .help(format!("shorten it to {} bytes or less", MAX_COMMAND_LINE - 1)),
            );
        }
        if text.value.contains('\0') {
            problems.add(
                Problem::error(
                    &COMMAND_LINE,
                    format!("the command line of `{}` contains a NUL", subject.name.value),
                )
                .at(&text.place, "a NUL ends a command line")
                .help("remove `\\u0000`"),
            );
        }
    }
}

fn check_devices(system: &System, problems: &Collector) {
    for subject in &system.subjects {
        let devices = subject.program.iter().flat_map(|program| &program.devices);
        for device in devices {
            match device.kind {
                DeviceKind::Network => check_network_device(subject, device, system, problems),
                DeviceKind::Block => problems.add(
                    Problem::error(
                        &DEVICES,
                        format!("`{}` needs the block device `{}`", subject.name.value, device.name),
                    )
                    .at(&subject.program_name.place, format!("wants the block device `{}`", device.name))
                    .help("this version cannot connect block devices; build the unikernel without it"),
                ),
            }
        }
    }
}

/// A network device without channels is connected to the network card, if the machine has one.
fn check_network_device(subject: &Subject, device: &Device, system: &System, problems: &Collector) {
    let name = &subject.name.value;
    let (input, output) = (input_name(&device.name), output_name(&device.name));
    let (reader, writer) = (format!("reader = \"{name}:{input}\""), format!("writer = \"{name}:{output}\""));
    let (wrong, help) = match (system.connections(subject, &device.name), &system.machine) {
        ((true, true), _) | (_, None) => return,
        ((false, true), _) => (
            "is connected one way only".to_owned(),
            format!("add a [[channel]] with {reader}, or remove the one with {writer}"),
        ),
        ((true, false), _) => (
            "is connected one way only".to_owned(),
            format!("add a [[channel]] with {writer}, or remove the one with {reader}"),
        ),
        // A card that is chosen and not there is a problem of its own.
        ((false, false), _) if system.network_card().is_some() || system.network.device.is_some() => return,
        ((false, false), Some(machine)) => (
            format!("is not connected, and {} has no network card", machine.value.machine.name),
            format!(
                "choose a machine with one, such as qemu-q35; or add a [[channel]] with {reader} and one with {writer}, to \
                 another unikernel"
            ),
        ),
    };
    problems.add(
        Problem::error(&DEVICES, format!("the network device `{}` of `{name}` {wrong}", device.name))
            .at(&subject.program_name.place, format!("has the network device `{}`", device.name))
            .help(help),
    );
}

fn check_restarts(system: &System, problems: &Collector) {
    for subject in system.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel) {
        let (first, longest) = (&subject.backoff, &subject.backoff_max);
        for pause in [first, longest] {
            if !(SHORTEST_PAUSE..=LONGEST_PAUSE).contains(&pause.value) {
                problems.add(
                    Problem::error(
                        &RESTART,
                        format!("a pause of {} is out of range", units::duration(pause.value)),
                    )
                    .at(&pause.place, "out of range")
                    .help(format!(
                        "it can be {} to {}",
                        units::duration(SHORTEST_PAUSE),
                        units::duration(LONGEST_PAUSE)
                    )),
                );
            }
        }
        if longest.value < first.value {
            problems.add(
                Problem::error(&RESTART, "the longest pause is shorter than the first")
                    .at(&longest.place, units::duration(longest.value))
                    .at(&first.place, format!("the first pause is {}", units::duration(first.value)))
                    .help(format!("make `backoff_max` {} or more", units::duration(first.value))),
            );
        }
    }
}

fn warn_of_unused_pauses(system: &System, problems: &Collector) {
    for subject in system.subjects.iter().filter(|subject| subject.restart == Restart::Never) {
        // A pause that is not given stands where its subject does.
        let given =
            [&subject.backoff, &subject.backoff_max].into_iter().find(|p| p.place != subject.name.place);
        if let Some(pause) = given {
            problems.add(
                Problem::warning(&NO_EFFECT, format!("`{}` is never restarted", subject.name.value))
                    .at(&pause.place, "has no effect")
                    .help("add `restart = \"on-failure\"`, or remove the pause"),
            );
        }
    }
}

/// Microseconds.
const SHORTEST_PAUSE: u64 = 1000;
/// Microseconds.
const LONGEST_PAUSE: u64 = 3_600_000_000;
