//! Rules for the schedule.

use std::collections::BTreeMap;

use palisade_abi::layout::MAX_CPUS;
use palisade_abi::needs::NO_CPU;

use super::{Check, Rule};
use crate::allocate::frames_of;
use crate::document::did_you_mean;
use crate::problem::{Collector, Problem};
use crate::source::{Located, Place};
use crate::system::System;
use crate::units;

pub(crate) static CPU_EXISTS: Rule = Rule {
    id: "cpu-exists",
    specification: "Every CPU that a subject, a partition or a list of frames names is one of the machine's.",
    check: Check::System(check_cpus_exist),
};

pub(crate) static CPUS_COVERED: Rule = Rule {
    id: "cpus-covered",
    specification: "The CPUs in use are 0, 1, ... without a gap, and each has minor frames, listed once.",
    check: Check::System(check_cpus_covered),
};

pub(crate) static MEMBERSHIP: Rule = Rule {
    id: "one-group",
    specification: "Every subject is in exactly one group of one partition, on the CPU that it asks for.",
    check: Check::System(check_membership),
};

pub(crate) static FRAMES: Rule = Rule {
    id: "partition-has-frame",
    specification: "Every partition has at least one minor frame and at least one group, and no group is empty.",
    check: Check::System(check_partitions),
};

pub(crate) static FRAME_PARTITION: Rule = Rule {
    id: "frame-partition",
    specification: "A minor frame belongs to a partition of its CPU.",
    check: Check::System(check_frame_partitions),
};

pub(crate) static MAJOR_FRAME: Rule = Rule {
    id: "major-frame",
    specification: "The minor frames of every CPU add up to the same major frame.",
    check: Check::System(check_major_frame),
};

pub(crate) static FRAME_LENGTH: Rule = Rule {
    id: "frame-length",
    specification: "A minor frame lasts 100 us to 1 s, and a CPU has at most 1000 of them.",
    check: Check::System(check_frame_lengths),
};

fn check_cpus_exist(system: &System, problems: &Collector) {
    let Some(machine) = &system.machine else { return };
    let existing = machine.value.machine.cpus.min(MAX_CPUS as u16);
    for cpu in named_cpus(system).filter(|cpu| cpu.value >= existing) {
        problems.add(
            Problem::error(&CPU_EXISTS, format!("{NO_CPU}{}", cpu.value)).at(&cpu.place, "no such CPU").help(
                format!(
                    "{} has {existing}, counted from 0; give it more with `cpus = N` or --smp N",
                    machine.value.machine.name
                ),
            ),
        );
    }
}

fn check_cpus_covered(system: &System, problems: &Collector) {
    let partitions = system.partitions();
    let used: BTreeMap<u16, &Place> = partitions.iter().map(|p| (p.cpu.value, &p.cpu.place)).collect();
    for (wanted, (cpu, place)) in (0_u16..).zip(&used) {
        if *cpu != wanted {
            problems.add(
                Problem::error(&CPUS_COVERED, format!("CPU {cpu} is used, and CPU {wanted} is not"))
                    .at(place, "leaves a gap")
                    .help(format!(
                        "use CPU {wanted} first: the system boots on CPU 0 and takes the others in turn"
                    )),
            );
            break;
        }
    }
    let mut listed: BTreeMap<u16, &Place> = BTreeMap::new();
    for frames in &system.schedule.cpus {
        let place = &frames.cpu.place;
        let cpu = frames.cpu.value;
        if frames.frames.is_empty() {
            problems.add(
                Problem::error(&CPUS_COVERED, format!("CPU {cpu} has no minor frames"))
                    .at(place, "nothing runs here")
                    .help("give it frames = [{ partition = \"..\", length = \"5 ms\" }]"),
            );
        }
        if let Some(first) = listed.insert(cpu, place) {
            problems.add(
                Problem::error(&CPUS_COVERED, format!("the frames of CPU {cpu} are listed twice"))
                    .at(place, "the second list")
                    .at(first, "the first list")
                    .help("keep one list of frames per CPU"),
            );
        }
    }
}

fn check_membership(system: &System, problems: &Collector) {
    let partitions = system.partitions();
    let mut homes: BTreeMap<&str, (&Place, u16)> = BTreeMap::new();
    for partition in &partitions {
        for member in partition.groups.iter().flatten() {
            if system.subject_id(&member.value).is_none() {
                let known = system.subjects.iter().map(|subject| subject.name.value.as_str());
                problems.add(
                    Problem::error(&MEMBERSHIP, format!("there is no subject `{}`", member.value))
                        .at(&member.place, "no such subject")
                        .help(did_you_mean(&member.value, known)),
                );
            }
            if let Some((first, _)) = homes.insert(&member.value, (&member.place, partition.cpu.value)) {
                problems.add(
                    Problem::error(&MEMBERSHIP, format!("`{}` is scheduled twice", member.value))
                        .at(&member.place, "the second time")
                        .at(first, "the first time")
                        .help("a subject belongs to one group of one partition"),
                );
            }
        }
    }
    for subject in &system.subjects {
        let name = &subject.name;
        match (homes.get(name.value.as_str()), &subject.cpu) {
            (None, _) => problems.add(
                Problem::error(&MEMBERSHIP, format!("`{}` is never scheduled", name.value))
                    .at(&name.place, "in no group")
                    .help(format!("add [\"{}\"] to the groups of a partition", name.value)),
            ),
            (Some((home, cpu)), Some(wanted)) if wanted.value != *cpu => problems.add(
                Problem::error(&MEMBERSHIP, format!("`{}` asks for CPU {}", name.value, wanted.value))
                    .at(&wanted.place, "asks for this CPU")
                    .at(home, format!("scheduled on CPU {cpu}"))
                    .help("remove `cpu`, or put the subject into a partition of that CPU"),
            ),
            _ => {}
        }
    }
}

fn check_partitions(system: &System, problems: &Collector) {
    let partitions = system.partitions();
    for partition in &system.schedule.partitions {
        let name = &partition.name;
        let frames = frames_of(system, &partitions, partition.cpu.value);
        if !frames.iter().any(|(owner, _)| *owner == name.value) {
            problems.add(
                Problem::error(&FRAMES, format!("partition `{}` never runs", name.value))
                    .at(&name.place, "has no minor frame")
                    .help(format!("give it one in the frames of CPU {}", partition.cpu.value)),
            );
        }
        if partition.groups.is_empty() || partition.groups.iter().any(Vec::is_empty) {
            problems.add(
                Problem::error(&FRAMES, format!("partition `{}` has no group, or an empty one", name.value))
                    .at(&name.place, "this partition")
                    .help("every group names at least one subject: groups = [[\"a\"], [\"b\"]]"),
            );
        }
    }
}

fn check_frame_partitions(system: &System, problems: &Collector) {
    let partitions = system.partitions();
    for list in &system.schedule.cpus {
        for (owner, _) in &list.frames {
            let Some(partition) = partitions.iter().find(|partition| partition.name.value == owner.value)
            else {
                let known = partitions.iter().map(|partition| partition.name.value.as_str());
                problems.add(
                    Problem::error(&FRAME_PARTITION, format!("there is no partition `{}`", owner.value))
                        .at(&owner.place, "no such partition")
                        .help(did_you_mean(&owner.value, known)),
                );
                continue;
            };
            if partition.cpu.value != list.cpu.value {
                problems.add(
                    Problem::error(
                        &FRAME_PARTITION,
                        format!("partition `{}` runs on another CPU", owner.value),
                    )
                    .at(&owner.place, format!("a frame of CPU {}", list.cpu.value))
                    .at(&partition.cpu.place, format!("runs on CPU {}", partition.cpu.value))
                    .help("a partition runs on one CPU: make a second partition for the other"),
                );
            }
        }
    }
}

fn check_major_frame(system: &System, problems: &Collector) {
    let partitions = system.partitions();
    let length = |cpu: u16| {
        frames_of(system, &partitions, cpu).iter().map(|(_, length)| *length).fold(0, u64::saturating_add)
    };
    let used: BTreeMap<u16, &Place> = partitions.iter().map(|p| (p.cpu.value, &p.cpu.place)).collect();
    let Some((first, _)) = used.first_key_value() else { return };
    let major = length(*first);
    for (cpu, place) in used.iter().filter(|(cpu, _)| length(**cpu) != major) {
        let listed = system.schedule.cpus.iter().find(|frames| frames.cpu.value == *cpu);
        problems.add(
            Problem::error(&MAJOR_FRAME, format!("the major frames of CPU {first} and CPU {cpu} differ"))
                .at(
                    listed.map_or(*place, |frames| &frames.cpu.place),
                    format!("CPU {cpu}: {}", units::duration(length(*cpu))),
                )
                .help(format!(
                    "make the frames of CPU {cpu} add up to {}, as on CPU {first}",
                    units::duration(major)
                )),
        );
    }
}

fn check_frame_lengths(system: &System, problems: &Collector) {
    let listed = system.schedule.cpus.iter().flat_map(|list| list.frames.iter().map(|(_, length)| length));
    let outside = |length: &&Located<u64>| !(SHORTEST_FRAME..=LONGEST_FRAME).contains(&length.value);
    for length in [&system.schedule.minor_frame].into_iter().chain(listed).filter(outside) {
        problems.add(
            Problem::error(
                &FRAME_LENGTH,
                format!("a minor frame cannot last {}", units::duration(length.value)),
            )
            .at(&length.place, "out of range")
            .help(format!(
                "it can last {} to {}",
                units::duration(SHORTEST_FRAME),
                units::duration(LONGEST_FRAME)
            )),
        );
    }
    for list in system.schedule.cpus.iter().filter(|list| list.frames.len() > MOST_FRAMES) {
        problems.add(
            Problem::error(
                &FRAME_LENGTH,
                format!("CPU {} has {} minor frames", list.cpu.value, list.frames.len()),
            )
            .at(&list.cpu.place, "too many")
            .help(format!("keep to {MOST_FRAMES}")),
        );
    }
}

/// Every CPU that the description names.
fn named_cpus(system: &System) -> impl Iterator<Item = &Located<u16>> {
    let subjects = system.subjects.iter().filter_map(|subject| subject.cpu.as_ref());
    let partitions = system.schedule.partitions.iter().map(|partition| &partition.cpu);
    subjects.chain(partitions).chain(system.schedule.cpus.iter().map(|frames| &frames.cpu))
}

/// Microseconds: a frame change costs about two of them under a software CPU.
const SHORTEST_FRAME: u64 = 100;
/// Microseconds.
const LONGEST_FRAME: u64 = 1_000_000;
const MOST_FRAMES: usize = 1000;
