//! Rules for channels and events.

use std::collections::BTreeMap;

use palisade_abi::layout::MAX_EVENTS;
use palisade_abi::subject_info::{MAX_NAME, MAX_RESOURCES};

use super::{Check, Rule};
use crate::allocate::{is_native, signal_name, wire};
use crate::document::did_you_mean;
use crate::plan::SubjectKind;
use crate::problem::{Collector, Problem};
use crate::source::{Located, Place};
use crate::system::{Arrival, End, System};

pub(crate) static CHANNEL_ENDS: Rule = Rule {
    id: "channel-ends",
    specification: "A channel has exactly one writer and one reader, two different unikernels, and one size for both.",
    check: Check::System(check_channel_ends),
};

pub(crate) static RESOURCE_NAMES: Rule = Rule {
    id: "resource-names",
    specification: "The resource names of a subject are unique, printable and 63 bytes at most.",
    check: Check::System(check_resource_names),
};

pub(crate) static RESOURCE_COUNT: Rule = Rule {
    id: "resource-count",
    specification: "A subject has at most 255 resources: what its subject info can list.",
    check: Check::System(check_resource_count),
};

pub(crate) static EVENT_ENDS: Rule = Rule {
    id: "event-ends",
    specification: "An event has a source and a target, two different unikernels.",
    check: Check::System(check_event_ends),
};

pub(crate) static EVENT_NAMES: Rule = Rule {
    id: "event-names",
    specification: "The source events of a subject have different names; a target event does one thing, however many raise it.",
    check: Check::System(check_event_names),
};

pub(crate) static EVENT_COUNT: Rule = Rule {
    id: "event-count",
    specification: "A subject has event numbers 0 to 63 for the events it raises, and as many for those that arrive.",
    check: Check::System(check_event_count),
};

pub(crate) static HANDOVER: Rule = Rule {
    id: "handover-in-group",
    specification: "A handover goes to a subject of the raiser's own scheduling group.",
    check: Check::System(check_handovers),
};

fn check_channel_ends(system: &System, problems: &Collector) {
    for channel in &system.channels {
        let (writer, reader) = (&channel.writer, &channel.reader);
        check_end(writer, &CHANNEL_ENDS, system, problems);
        check_end(reader, &CHANNEL_ENDS, system, problems);
        if writer.value.subject == reader.value.subject {
            problems.add(
                Problem::error(
                    &CHANNEL_ENDS,
                    format!("channel `{}` leads back to its writer", channel.name.value),
                )
                .at(&reader.place, "the reader")
                .at(&writer.place, "the writer")
                .help("writer and reader are two different unikernels"),
            );
        }
    }
}

fn check_event_ends(system: &System, problems: &Collector) {
    for event in &system.events {
        check_end(&event.from, &EVENT_ENDS, system, problems);
        check_end(&event.to, &EVENT_ENDS, system, problems);
        if event.from.value.subject == event.to.value.subject {
            problems.add(
                Problem::error(&EVENT_ENDS, "an event leads back to its source")
                    .at(&event.to.place, "where it arrives")
                    .at(&event.from.place, "where it is raised")
                    .help("source and target are two different unikernels"),
            );
        }
    }
}

/// The subject of an end exists and is a unikernel: the connections of the system's own subjects are made by the builder.
fn check_end(end: &Located<End>, rule: &'static Rule, system: &System, problems: &Collector) {
    let unikernels = || system.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel);
    let name = &end.value.subject;
    if unikernels().any(|subject| subject.name.value == *name) {
        return;
    }
    let problem = if system.subject_id(name).is_some() {
        Problem::error(rule, format!("`{name}` takes no connections from a description"))
            .at(&end.place, "one of the system's own subjects")
            .help("its channels and events are made by the builder; connect unikernels")
    } else {
        let known = unikernels().map(|subject| subject.name.value.as_str());
        Problem::error(rule, format!("there is no unikernel `{name}`"))
            .at(&end.place, "no such unikernel")
            .help(did_you_mean(name, known))
    };
    problems.add(problem);
}

fn check_resource_names(system: &System, problems: &Collector) {
    let ends = system.channels.iter().flat_map(|channel| [&channel.writer, &channel.reader]);
    let mut seen: BTreeMap<(&str, &str), &Place> = BTreeMap::new();
    for end in ends {
        let (subject, name) = (end.value.subject.as_str(), end.value.name.as_str());
        check_resource_name(end, problems);
        if OWN_RESOURCES.contains(&name) {
            problems.add(
                Problem::error(&RESOURCE_NAMES, format!("`{subject}` has a resource `{name}` anyway"))
                    .at(&end.place, "taken by the builder")
                    .help(format!("choose a name other than {}", OWN_RESOURCES.join(", "))),
            );
        }
        if let Some(first) = seen.insert((subject, name), &end.place) {
            problems.add(
                Problem::error(&RESOURCE_NAMES, format!("`{subject}` has two resources called `{name}`"))
                    .at(&end.place, "the second one")
                    .at(first, "the first one")
                    .help("a subject finds its resources by name: give one of them another name"),
            );
        }
    }
    for event in &system.events {
        check_resource_name(&event.from, problems);
        check_resource_name(&event.to, problems);
    }
    for channel in system.channels.iter().filter(|channel| channel.signal) {
        let name = &channel.writer.value.name;
        let event = signal_name(name);
        if name.len() <= MAX_NAME && event.len() > MAX_NAME {
            problems.add(
                Problem::error(&RESOURCE_NAMES, format!("the event `{event}` has {} bytes", event.len()))
                    .at(&channel.writer.place, "named after this resource")
                    .help(format!(
                        "shorten the name by {} bytes, or remove `signal`",
                        event.len() - MAX_NAME
                    )),
            );
        }
    }
}

fn check_resource_count(system: &System, problems: &Collector) {
    let ends = || system.channels.iter().flat_map(|channel| [&channel.writer, &channel.reader]);
    for (subject, events) in system.subjects.iter().zip(wire(system)) {
        let described = ends().filter(|end| end.value.subject == subject.name.value).count();
        let count = OWN_RESOURCES.len() + described + events.sources.len();
        if count > MAX_RESOURCES {
            problems.add(
                Problem::error(
                    &RESOURCE_COUNT,
                    format!("`{}` would have {count} resources", subject.name.value),
                )
                .at(&subject.name.place, "too many resources")
                .help(format!("a subject info lists {MAX_RESOURCES}: use fewer channels and events")),
            );
        }
    }
}

fn check_resource_name(end: &Located<End>, problems: &Collector) {
    let name = &end.value.name;
    let wrong = match name.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => format!("`{}` cannot be part of it", c.escape_default()),
        None if name.len() > MAX_NAME => format!("it has {} bytes", name.len()),
        None => return,
    };
    problems.add(
        Problem::error(
            &RESOURCE_NAMES,
            format!("`{}` is no name for a resource: {wrong}", name.escape_debug()),
        )
        .at(&end.place, "this name")
        .help(format!("use 1 to {MAX_NAME} printable ASCII characters without spaces")),
    );
}

fn check_event_names(system: &System, problems: &Collector) {
    check_source_names(system, problems);
    let mut arrivals: BTreeMap<(&str, &str), (Arrival, &Place)> = BTreeMap::new();
    for event in &system.events {
        let to = &event.to.value;
        if OWN_TARGETS.contains(&to.name.as_str()) {
            problems.add(
                Problem::error(&EVENT_NAMES, format!("the target event `{}` is the builder's", to.name))
                    .at(&event.to.place, "reserved name")
                    .help(format!("choose a name other than {}", OWN_TARGETS.join(", "))),
            );
        }
        let key = (to.subject.as_str(), to.name.as_str());
        let (arrival, first) = *arrivals.entry(key).or_insert((event.arrival.value, &event.to.place));
        if arrival != event.arrival.value {
            problems.add(
                Problem::error(
                    &EVENT_NAMES,
                    format!("target event `{}` of `{}` does two things", to.name, to.subject),
                )
                .at(&event.arrival.place, "something else here")
                .at(first, "first named here")
                .help("give events that arrive differently different names"),
            );
        }
    }
}

fn check_source_names(system: &System, problems: &Collector) {
    let described = system.events.iter().map(|event| (&event.from, event.from.value.name.clone()));
    let signals = system.channels.iter().filter(|channel| channel.signal);
    let signals = signals.map(|channel| (&channel.writer, signal_name(&channel.writer.value.name)));
    let mut seen: BTreeMap<(&str, String), &Place> = BTreeMap::new();
    for (end, name) in described.chain(signals) {
        let subject = end.value.subject.as_str();
        if OWN_SOURCES.contains(&name.as_str()) {
            problems.add(
                Problem::error(&EVENT_NAMES, format!("the event `{name}` of `{subject}` is the builder's"))
                    .at(&end.place, "reserved name")
                    .help(format!("choose a name other than {}", OWN_SOURCES.join(", "))),
            );
        }
        if let Some(first) = seen.insert((subject, name.clone()), &end.place) {
            problems.add(
                Problem::error(&EVENT_NAMES, format!("`{subject}` has two events called `{name}`"))
                    .at(&end.place, "the second one")
                    .at(first, "the first one")
                    .help("one event has one target: give one of them another name"),
            );
        }
    }
}

fn check_event_count(system: &System, problems: &Collector) {
    for (subject, events) in system.subjects.iter().zip(wire(system)) {
        let sources = events.sources.iter().map(|event| usize::from(event.number) + 1).max().unwrap_or(0);
        let targets = events.targets.iter().map(|event| usize::from(event.number) + 1).max().unwrap_or(0);
        let (count, what) = if sources > MAX_EVENTS { (sources, "raise") } else { (targets, "get") };
        if count > MAX_EVENTS {
            let kind = if is_native(subject) { "a native program" } else { "a unikernel" };
            problems.add(
                Problem::error(
                    &EVENT_COUNT,
                    format!("`{}` would {what} too many events", subject.name.value),
                )
                .at(&subject.name.place, "too many events")
                .help(format!("there are {MAX_EVENTS} numbers, of which {kind} uses up to nine for itself")),
            );
        }
    }
}

fn check_handovers(system: &System, problems: &Collector) {
    let partitions = system.partitions();
    let groups = || partitions.iter().flat_map(|partition| &partition.groups);
    for event in system.events.iter().filter(|event| event.handover.value) {
        let (from, to) = (&event.from.value.subject, &event.to.value.subject);
        let same = groups().any(|group| {
            group.iter().any(|member| member.value == *from) && group.iter().any(|member| member.value == *to)
        });
        if !same {
            problems.add(
                Problem::error(&HANDOVER, format!("`{from}` cannot hand over to `{to}`"))
                    .at(&event.handover.place, "not in one group")
                    .help(format!(
                        "put both into one group of a partition: groups = [[\"{from}\", \"{to}\"], ..]"
                    )),
            );
        }
    }
}

/// Resources that the builder makes.
const OWN_RESOURCES: [&str; 6] = ["debuglog", "time_info", "stack", "status", "timed_event", "config"];
/// Source events that the builder makes.
const OWN_SOURCES: [&str; 9] = [
    "solo5_exit",
    "sleep",
    "yield",
    "timer",
    "log_ready",
    "stopped",
    "system_power_off",
    "system_reset",
    "system_panic",
];
/// Target events that the builder makes.
const OWN_TARGETS: [&str; 4] = ["reset", "timer", "log_ready", "subject_changed"];
