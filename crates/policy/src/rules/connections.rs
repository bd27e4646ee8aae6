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
use crate::system::{Arrival, End, System, input_name, output_name};

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
    let mut seen: BTreeMap<(&str, String), &Place> = BTreeMap::new();
    for port in system.ports() {
        let subject = &system.subjects[port.subject];
        for name in [input_name(port.device), output_name(port.device)] {
            seen.insert((&subject.name.value, name), &subject.program_name.place);
        }
    }
    let ends = system.channels.iter().flat_map(|channel| [&channel.writer, &channel.reader]);
    let ends = ends.map(|end| (end.value.subject.as_str(), end.value.name.as_str(), &end.place));
    let data = system.subjects.iter().flat_map(|subject| {
        let name = subject.name.value.as_str();
        subject.data.iter().map(move |region| (name, region.name.value.as_str(), &region.name.place))
    });
    for (subject, name, place) in ends.chain(data) {
        check_resource_name(name, place, problems);
        if OWN_RESOURCES.contains(&name) {
            problems.add(
                Problem::error(&RESOURCE_NAMES, format!("`{subject}` has a resource `{name}` anyway"))
                    .at(place, "taken by the builder")
                    .help(format!("choose a name other than {}", OWN_RESOURCES.join(", "))),
            );
        }
        if let Some(first) = seen.insert((subject, name.to_owned()), place) {
            problems.add(
                Problem::error(&RESOURCE_NAMES, format!("`{subject}` has two resources called `{name}`"))
                    .at(place, "the second one")
                    .at(first, "the first one")
                    .help("a subject finds its resources by name: give one of them another name"),
            );
        }
    }
    for event in &system.events {
        for end in [&event.from, &event.to] {
            check_resource_name(&end.value.name, &end.place, problems);
        }
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
    let ports = system.ports();
    for ((id, subject), events) in system.subjects.iter().enumerate().zip(wire(system)) {
        let described = ends().filter(|end| end.value.subject == subject.name.value).count();
        let ports = 2 * ports.iter().filter(|port| port.subject == id).count();
        let count = OWN_RESOURCES.len() + described + ports + subject.data.len() + events.sources.len();
        if count > MAX_RESOURCES {
            problems.add(
                Problem::error(
                    &RESOURCE_COUNT,
                    format!("`{}` would have {count} resources", subject.name.value),
                )
                .at(&subject.name.place, "too many resources")
                .help(format!("a subject info lists {MAX_RESOURCES}: use fewer channels, events and data")),
            );
        }
    }
}

fn check_resource_name(name: &str, place: &Place, problems: &Collector) {
    let wrong = match name.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => format!("`{}` cannot be part of it", c.escape_default()),
        None if name.is_empty() => "it is empty".to_owned(),
        None if name.len() > MAX_NAME => format!("it has {} bytes", name.len()),
        None => return,
    };
    problems.add(
        Problem::error(
            &RESOURCE_NAMES,
            format!("`{}` is no name for a resource: {wrong}", name.escape_debug()),
        )
        .at(place, "this name")
        .help(format!("use 1 to {MAX_NAME} printable ASCII characters without spaces")),
    );
}

fn check_event_names(system: &System, problems: &Collector) {
    check_source_names(system, problems);
    check_port_events(system, problems);
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

/// The events of a network device that the builder connects are the builder's.
fn check_port_events(system: &System, problems: &Collector) {
    for port in system.ports() {
        let subject = &system.subjects[port.subject].name.value;
        let raised = signal_name(&output_name(port.device));
        let arriving = signal_name(&input_name(port.device));
        for event in &system.events {
            for (end, name) in [(&event.from, &raised), (&event.to, &arriving)] {
                if end.value.subject == *subject && end.value.name == *name {
                    problems.add(
                        Problem::error(
                            &EVENT_NAMES,
                            format!("the event `{name}` of `{subject}` is the builder's"),
                        )
                        .at(&end.place, "belongs to the network device")
                        .help("choose another name"),
                    );
                }
            }
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
