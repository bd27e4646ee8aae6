//! Rules for memory.

use palisade_abi::layout::{CHANNELS, MAX_SUBJECTS, PAGE, PROGRAM_END};

use super::{Check, Rule};
use crate::allocate::{DMA_SIZE, OutOfMemory, channel_plans, memory_size, next_address, window_size};
use crate::plan::{Backing, Plan, Region, Rights};
use crate::problem::{Collector, Problem};
use crate::source::{Located, Place};
use crate::system::System;
use crate::units;

pub(crate) static FITS: Rule = Rule {
    id: "memory-fits",
    specification: "Programs, RAM, data and channels of all subjects fit the usable memory of the machine below 4 GiB.",
    check: Check::System(check_fits),
};

pub(crate) static RAM: Rule = Rule {
    id: "ram-size",
    specification: "The RAM of a subject is a whole number of pages, 64 KiB at least, and ends below the program limit.",
    check: Check::System(check_ram),
};

pub(crate) static CHANNEL_SIZE: Rule = Rule {
    id: "channel-size",
    specification: "The size of a channel is a whole number of pages, one at least.",
    check: Check::System(check_channel_sizes),
};

pub(crate) static CHANNEL_WINDOW: Rule = Rule {
    id: "channel-window",
    specification: "All channels of a subject fit the part of its address space that is there for channels.",
    check: Check::System(check_channel_windows),
};

pub(crate) static REGIONS: Rule = Rule {
    id: "regions-disjoint",
    specification: "The regions of a subject are whole pages, sorted, and do not overlap.",
    check: Check::Plan(check_regions),
};

pub(crate) static PHYSICAL: Rule = Rule {
    id: "volatile-disjoint",
    specification: "The ranges of volatile memory do not overlap and lie in usable memory.",
    check: Check::Plan(check_volatile),
};

pub(crate) static SHARING: Rule = Rule {
    id: "one-writer",
    specification: "Volatile memory that a subject can write is written by no other subject, and is one owner's range.",
    check: Check::Plan(check_sharing),
};

/// The problem of a system that fits by its sum, but not with its alignments.
pub(crate) fn out_of_memory(lack: &OutOfMemory, system: &System) -> Problem {
    let place = largest_ram(system).unwrap_or(&system.name.place);
    Problem::error(&FITS, format!("there is no room for {} ({})", lack.owner, units::size(lack.size)))
        .at(place, "the largest RAM")
        .help(format!("{}; give a subject less RAM, or the machine more memory", has(system)))
}

fn check_fits(system: &System, problems: &Collector) {
    let Some(machine) = &system.machine else { return };
    let programs = system.subjects.iter().filter_map(|subject| subject.program.as_deref());
    let sizes = (system.subjects.iter().map(|subject| subject.ram.value))
        .chain(channel_plans(system).into_iter().map(|channel| channel.size))
        .chain(programs.map(memory_size))
        .chain(
            system.subjects.iter().flat_map(|subject| &subject.data).map(|data| data.contents.len() as u64),
        )
        .chain(system.nic().map(|_| DMA_SIZE));
    let wanted = sizes.fold(0, u64::saturating_add);
    if wanted <= machine.value.usable_size() {
        return;
    }
    let place = largest_ram(system).unwrap_or(&system.name.place);
    problems.add(
        Problem::error(&FITS, "the system does not fit the memory of the machine")
            .at(place, "the largest RAM")
            .help(format!(
                "the system wants {}, and {}; give a subject less RAM, or the machine more memory (`memory = \"..\"` or --memory)",
                units::size(wanted),
                has(system)
            )),
    );
}

fn has(system: &System) -> String {
    let Some(machine) = &system.machine else { return "the machine is not known".to_owned() };
    let machine = &machine.value;
    format!(
        "{} has {} usable below 4 GiB, of {} installed",
        machine.machine.name,
        units::size(machine.usable_size()),
        units::size(machine.machine.memory)
    )
}

fn largest_ram(system: &System) -> Option<&Place> {
    let largest = system.subjects.iter().max_by_key(|subject| subject.ram.value);
    largest.map(|subject| &subject.ram.place)
}

fn check_ram(system: &System, problems: &Collector) {
    for subject in &system.subjects {
        let ram = &subject.ram;
        let start = subject.program.as_ref().map_or(0, |program| program.ram_start());
        let help = if ram.value < SMALLEST_RAM {
            format!("the stack alone needs {}", units::size(SMALLEST_RAM))
        } else if !ram.value.is_multiple_of(PAGE) {
            format!("make it {}: whole pages of 4 KiB", units::size(ram.value.div_ceil(PAGE) * PAGE))
        } else if ram.value > PROGRAM_END.saturating_sub(start) {
            format!("program and RAM can have {} together", units::size(PROGRAM_END))
        } else {
            continue;
        };
        problems.add(
            Problem::error(
                &RAM,
                format!("`{}` cannot have {} of RAM", subject.name.value, units::size(ram.value)),
            )
            .at(&ram.place, "this RAM")
            .help(help),
        );
    }
}

fn check_channel_sizes(system: &System, problems: &Collector) {
    let channels = system.channels.iter().map(|channel| &channel.size);
    let logs = system.subjects.iter().map(|subject| &subject.log_size);
    let wrong = |size: &&Located<u64>| size.value == 0 || !size.value.is_multiple_of(PAGE);
    for size in channels.chain(logs).chain([&system.network.channel_size]).filter(wrong) {
        problems.add(
            Problem::error(&CHANNEL_SIZE, format!("a channel cannot have {}", units::size(size.value)))
                .at(&size.place, "not a whole number of pages")
                .help(format!(
                    "make it {}",
                    units::size(size.value.div_ceil(PAGE).max(1).saturating_mul(PAGE))
                )),
        );
    }
}

fn check_channel_windows(system: &System, problems: &Collector) {
    let plans = channel_plans(system);
    for (id, subject) in system.subjects.iter().enumerate().take(MAX_SUBJECTS) {
        let own = plans.iter().filter(|plan| plan.writer == id || plan.reader == id);
        let end = own.fold(CHANNELS, |end, plan| {
            next_address(end, plan.size).saturating_add(plan.size).saturating_add(PAGE).min(u64::MAX / 2)
        });
        if end - CHANNELS > window_size() {
            problems.add(
                Problem::error(
                    &CHANNEL_WINDOW,
                    format!("the channels of `{}` are too large", subject.name.value),
                )
                .at(&subject.name.place, format!("{} of channels", units::size(end - CHANNELS)))
                .help(format!("a subject has room for {}", units::size(window_size()))),
            );
        }
    }
}

fn check_regions(plan: &Plan, problems: &Collector) {
    for subject in &plan.subjects {
        let whole = |region: &&Region| {
            region.size > 0 && region.size.is_multiple_of(PAGE) && region.address.is_multiple_of(PAGE)
        };
        let broken = subject.regions.iter().find(|region| !whole(region)).map(|region| (region, region));
        let overlapping =
            subject.regions.windows(2).find(|pair| pair[0].address + pair[0].size > pair[1].address);
        if let Some((low, high)) = overlapping.map(|pair| (&pair[0], &pair[1])).or(broken) {
            problems.add(
                Problem::error(
                    &REGIONS,
                    format!(
                        "regions `{}` and `{}` of `{}` do not fit together",
                        low.name, high.name, subject.name
                    ),
                )
                .help(format!(
                    "they lie at {:#x} and {:#x}; make the lower one smaller",
                    low.address, high.address
                )),
            );
        }
    }
}

fn check_volatile(plan: &Plan, problems: &Collector) {
    let usable = |start: u64, size: u64| {
        plan.machine.usable.iter().any(|(first, length)| start >= *first && start + size <= first + length)
    };
    for range in plan.volatile.iter().filter(|range| !usable(range.start, range.size)) {
        problems.add(
            Problem::error(&PHYSICAL, format!("`{}` lies outside usable memory", range.owner))
                .help(format!("{:#x} is no usable memory of {}", range.start, plan.machine.name)),
        );
    }
    for pair in plan.volatile.windows(2).filter(|pair| pair[0].start + pair[0].size > pair[1].start) {
        problems.add(
            Problem::error(&PHYSICAL, format!("`{}` and `{}` overlap", pair[0].owner, pair[1].owner))
                .help(format!("both have the memory at {:#x}", pair[1].start)),
        );
    }
}

fn check_sharing(plan: &Plan, problems: &Collector) {
    let mut written: Vec<(u64, &str)> = Vec::new();
    for subject in &plan.subjects {
        for region in &subject.regions {
            let Backing::Volatile(phys) = region.backing else { continue };
            let owned =
                |range: &&crate::plan::VolatileRange| range.start == phys && range.size == region.size;
            let other = written.iter().find(|(start, _)| *start == phys).map(|(_, name)| *name);
            let help = match (plan.volatile.iter().find(owned), other) {
                (None, _) => {
                    format!("no range of volatile memory is {:#x} with {}", phys, units::size(region.size))
                }
                (_, Some(other)) if region.rights == Rights::ReadWrite => {
                    format!("`{other}` writes it as well")
                }
                _ => continue,
            };
            problems.add(
                Problem::error(&SHARING, format!("`{}` of `{}` is not its own", region.name, subject.name))
                    .help(help),
            );
        }
        let own = subject.regions.iter().filter(|region| region.rights == Rights::ReadWrite);
        written.extend(own.filter_map(|region| match region.backing {
            Backing::Volatile(phys) => Some((phys, subject.name.as_str())),
            _ => None,
        }));
    }
}

/// A unikernel's stack lies at the end of its RAM.
const SMALLEST_RAM: u64 = 64 << 10;
