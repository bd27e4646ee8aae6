//! Reading a description: TOML to [`System`], every mistake of the text reported.

mod connections;
mod data;
mod network;
mod schedule;
mod subject;

use std::path::Path;
use std::sync::Arc;

use palisade_abi::layout::MAX_CPUS;
use palisade_abi::plan::FatalAction;
use palisade_site::pack::File as SiteFile;

use crate::document::{self, Fields};
use crate::elf::{File, InitStub};
use crate::machine::{self, Emulator, Wanted};
use crate::options::{Library, Options};
use crate::problem::{Collector, Problem};
use crate::rules::programs as rules;
use crate::source::{Located, Place, Source};
use crate::system::{EndAction, System};

pub(crate) use network::parse_publish;
pub(crate) use subject::NATIVES;

/// What reading needs beside the text.
pub(crate) struct Context<'a> {
    /// Where the files are that the description names.
    pub(crate) files: Files<'a>,
    pub(crate) options: &'a Options,
    pub(crate) library: &'a dyn Library,
    pub(crate) problems: &'a Collector,
}

/// Where the files are that a description names.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    /// Folder that relative paths start from.
    pub(crate) folder: &'a Path,
    /// What takes the place of the directory of a site.
    pub(crate) site: Option<&'a [SiteFile]>,
}

/// Reads a description. What is wrong is reported and left out or replaced by its default, so that the rules can look
/// at the rest.
pub(crate) fn parse(source: &Arc<Source>, default_name: &str, context: &Context<'_>) -> System {
    let problems = context.problems;
    let mut table = document::parse(source, problems);
    document::apply_overrides(&mut table, &context.options.overrides, problems);
    let start = Place { source: source.clone(), range: 0..0 };
    let fields = Fields::new(&table, &start, "the description", problems);

    let name = fields.text("name").unwrap_or_else(|| Located::new(default_name.to_owned(), &start));
    let machine_name = fields.text("machine").unwrap_or_else(|| {
        let emulator = context.options.emulator.unwrap_or(Emulator::Qemu);
        Located::new(emulator.usual_machine().to_owned(), &start)
    });
    let memory = fields.size("memory").map(|memory| memory.value);
    let cpus = fields.integer("cpus", 1..=MAX_CPUS as u16).map(|cpus| cpus.value);
    let wanted = Wanted { memory: context.options.memory.or(memory), cpus: context.options.cpus.or(cpus) };
    let machine = machine::load(&machine_name, context.files.folder, wanted, problems)
        .map(|machine| Located::new(Arc::new(machine), &machine_name.place));
    let on_end = fields.choice("on_end", &END_ACTIONS).map_or(EndAction::PowerOff, |action| action.value);
    let mut system = System {
        machine,
        power_off: fields.text("power_off"),
        on_end: context.options.on_end.unwrap_or(on_end),
        on_fatal: fields
            .choice("on_fatal", &FATAL_ACTIONS)
            .map_or(FatalAction::PowerOff, |action| action.value),
        subjects: subject::all(&fields, &start, context),
        init: init(&start, context),
        channels: connections::channels(&fields, problems),
        events: connections::events(&fields, problems),
        network: network::network(&fields, &start, problems),
        schedule: schedule::schedule(&fields, &start, problems),
        name,
    };
    fields.finish();
    if system.network_card().is_some() && !system.ports().is_empty() {
        system.subjects.insert(NATIVES.len(), subject::nic(&start, context));
    }
    network::publish_instead(&context.options.publish, &mut system, problems);
    system
}

fn init(start: &Place, context: &Context<'_>) -> Option<InitStub> {
    let Some(bytes) = context.library.program("init") else {
        context.problems.add(not_built_in("init", start));
        return None;
    };
    let stub = File::parse(&bytes).and_then(|file| InitStub::new(&file));
    stub.inspect_err(|flaw| {
        context.problems.add(
            Problem::error(flaw.rule, format!("the program `init`: {flaw}"))
                .at(start, "needed by every system")
                .help(flaw.help.clone()),
        );
    })
    .ok()
}

/// A program that every system needs is not there: the command was built without it.
fn not_built_in(name: &str, place: &Place) -> Problem {
    Problem::error(&rules::ELF, format!("the program `{name}` is not built into this command"))
        .at(place, "needed by every system")
        .help("build the command again with its own build script")
}

const END_ACTIONS: [(&str, EndAction); 3] =
    [("power-off", EndAction::PowerOff), ("reset", EndAction::Reset), ("stay", EndAction::Stay)];
const FATAL_ACTIONS: [(&str, FatalAction); 3] =
    [("power-off", FatalAction::PowerOff), ("reset", FatalAction::Reset), ("halt", FatalAction::Halt)];
