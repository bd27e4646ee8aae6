//! Rules for names.

use std::collections::BTreeMap;

use palisade_abi::layout::{MAX_NAME, MAX_SUBJECTS};

use super::{Check, Rule};
use crate::plan::SubjectKind;
use crate::problem::{Collector, Problem};
use crate::source::Located;
use crate::system::System;

pub(crate) static UNIQUE: Rule = Rule {
    id: "unique-names",
    specification: "No two channels and no two partitions have the same name; TOML itself keeps subjects apart.",
    check: Check::System(check_unique),
};

pub(crate) static SYNTAX: Rule = Rule {
    id: "name-syntax",
    specification: "Names of systems, subjects, channels and partitions have 1 to 31 characters of a-z, 0-9, `_` and `-`.",
    check: Check::System(check_syntax),
};

pub(crate) static RESERVED: Rule = Rule {
    id: "reserved-names",
    specification: "No unikernel has the name of one of the system's own subjects, and no channel that of a log channel.",
    check: Check::System(check_reserved),
};

pub(crate) static COUNT: Rule = Rule {
    id: "subject-count",
    specification: "A system has at least one unikernel, and at most 64 subjects with its own.",
    check: Check::System(check_count),
};

/// Why this is no name for a system, a subject, a channel or a partition, if it is none.
#[must_use]
pub fn flaw(name: &str) -> Option<String> {
    match name.chars().find(|c| !is_allowed(*c)) {
        Some(c) => Some(format!("`{}` cannot be part of it", c.escape_default())),
        None if name.is_empty() => Some("it is empty".to_owned()),
        None if name.len() > MAX_NAME => Some(format!("it has {} characters", name.len())),
        None => None,
    }
}

/// Whether names can have this character.
pub(crate) fn is_allowed(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')
}

/// Whether it is the name of something that systems have of themselves, so that no unikernel can be called like it.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.contains(&name)
}

fn check_unique(system: &System, problems: &Collector) {
    let channels = system.channels.iter().map(|channel| &channel.name);
    check_unique_among("channel", channels, problems);
    let partitions = system.schedule.partitions.iter().map(|partition| &partition.name);
    check_unique_among("partition", partitions, problems);
}

fn check_unique_among<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Located<String>>,
    problems: &Collector,
) {
    let mut seen: BTreeMap<&str, &Located<String>> = BTreeMap::new();
    for name in names {
        if let Some(first) = seen.get(name.value.as_str()) {
            problems.add(
                Problem::error(&UNIQUE, format!("two {what}s are called `{}`", name.value))
                    .at(&name.place, "the second one")
                    .at(&first.place, "the first one")
                    .help(format!("give one of the {what}s another name")),
            );
        } else {
            seen.insert(&name.value, name);
        }
    }
}

fn check_syntax(system: &System, problems: &Collector) {
    let subjects = system.subjects.iter().map(|subject| ("subject", &subject.name));
    let channels = system.channels.iter().map(|channel| ("channel", &channel.name));
    let partitions = system.schedule.partitions.iter().map(|partition| ("partition", &partition.name));
    for (what, name) in
        [("system", &system.name)].into_iter().chain(subjects).chain(channels).chain(partitions)
    {
        let Some(wrong) = flaw(&name.value) else { continue };
        problems.add(
            Problem::error(
                &SYNTAX,
                format!("`{}` is no name for a {what}: {wrong}", name.value.escape_debug()),
            )
            .at(&name.place, "this name")
            .help(format!("use 1 to {MAX_NAME} characters of a-z, 0-9, `_` and `-`")),
        );
    }
}

fn check_reserved(system: &System, problems: &Collector) {
    let unikernels = system.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel);
    for subject in unikernels.filter(|subject| is_reserved(&subject.name.value)) {
        problems.add(
            Problem::error(&RESERVED, format!("a unikernel cannot be called `{}`", subject.name.value))
                .at(&subject.name.place, "reserved name")
                .help(format!("these names are taken: {}", RESERVED_NAMES.join(", "))),
        );
    }
    for channel in system.channels.iter().filter(|channel| channel.name.value.starts_with(LOG_PREFIX)) {
        problems.add(
            Problem::error(&RESERVED, format!("a channel cannot be called `{}`", channel.name.value))
                .at(&channel.name.place, "reserved name")
                .help(format!(
                    "names that begin with `{LOG_PREFIX}` belong to the log channels of the subjects"
                )),
        );
    }
}

fn check_count(system: &System, problems: &Collector) {
    let unikernels = || system.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel);
    if unikernels().next().is_none() {
        problems.add(
            Problem::error(&COUNT, "the system has no unikernel")
                .at(&system.name.place, "this system")
                .help("add one: [subject.hello] with `unikernel = \"hello\"`"),
        );
    }
    if let Some(first_too_many) = system.subjects.get(MAX_SUBJECTS) {
        problems.add(
            Problem::error(&COUNT, format!("the system has {} subjects", system.subjects.len()))
                .at(&first_too_many.name.place, "the first one too many")
                .help(format!(
                    "keep to {} unikernels",
                    MAX_SUBJECTS - (system.subjects.len() - unikernels().count())
                )),
        );
    }
}

/// The subjects that systems have of themselves, programs that are no unikernels, and tables of a description.
const RESERVED_NAMES: [&str; 9] =
    ["time", "log", "supervisor", "nic", "init", "kernel", "subject", "schedule", "network"];
const LOG_PREFIX: &str = "debuglog_";
