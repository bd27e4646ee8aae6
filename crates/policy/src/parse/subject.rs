//! Subjects: the system's own, and the unikernels of `[subject.NAME]`.

use std::sync::Arc;

use palisade_abi::supervisor_config::Restart;

use super::{Context, data, network, not_built_in};
use crate::document::{Fields, Node, did_you_mean};
use crate::elf::{File, Flaw, Program};
use crate::input::{LARGEST_PROGRAM, read_file};
use crate::plan::{Exceptions, SubjectKind};
use crate::problem::Problem;
use crate::rules::reading;
use crate::source::{Located, Place};
use crate::system::{MachineRight, Subject};

/// The system's own subjects, then the unikernels in the order of the text.
pub(super) fn all(fields: &Fields<'_>, start: &Place, context: &Context<'_>) -> Vec<Subject> {
    let mut subjects: Vec<Subject> =
        NATIVES.iter().map(|(name, kind)| native(name, *kind, start, context)).collect();
    let Some((key, node)) = fields.entry("subject") else { return subjects };
    let Some(table) = Fields::of(node, &key.place, "the table of subjects", context.problems) else {
        return subjects;
    };
    subjects.extend(table.entries().iter().filter_map(|(name, node)| unikernel(name, node, context)));
    subjects
}

fn native(name: &str, kind: SubjectKind, start: &Place, context: &Context<'_>) -> Subject {
    let program = match context.library.program(name) {
        Some(bytes) => judge(&bytes, &Located::new(name.to_owned(), start), context),
        None => {
            context.problems.add(not_built_in(name, start));
            None
        }
    };
    Subject {
        name: Located::new(name.to_owned(), start),
        kind,
        program_name: Located::new(name.to_owned(), start),
        program,
        command_line: Located::new(String::new(), start),
        ram: Located::new(NATIVE_RAM, start),
        restart: Restart::OnFailure,
        backoff: Located::new(DEFAULT_BACKOFF, start),
        backoff_max: Located::new(DEFAULT_BACKOFF_MAX, start),
        exceptions: Exceptions::Kernel,
        rights: Vec::new(),
        cpu: None,
        log_size: Located::new(DEFAULT_LOG_SIZE, start),
        data: Vec::new(),
        publish: Vec::new(),
    }
}

/// The network driver. Its reason to end may lie outside the machine, so that it is started again whatever happens.
pub(super) fn nic(start: &Place, context: &Context<'_>) -> Subject {
    Subject { restart: Restart::Always, ..native("nic", SubjectKind::Nic, start, context) }
}

fn unikernel(name: &Located<String>, node: &Node, context: &Context<'_>) -> Option<Subject> {
    let what = format!("subject {}", name.value);
    let fields = Fields::of(node, &name.place, &what, context.problems)?;
    let program_name =
        fields.required_text("unikernel", "give a built-in unikernel such as \"hello\", or a path");
    let program = program_name.as_ref().and_then(|program| load(program, context));
    let or =
        |value: Option<Located<u64>>, default| value.unwrap_or_else(|| Located::new(default, &name.place));
    let backoff = or(fields.duration("backoff"), DEFAULT_BACKOFF);
    let default_max = DEFAULT_BACKOFF_MAX.max(backoff.value);
    let command_line = fields.text("bootparams").unwrap_or_else(|| Located::new(String::new(), &name.place));
    let publish = network::publish(fields.array("publish"), context.problems);
    let subject = Subject {
        name: name.clone(),
        kind: SubjectKind::Unikernel,
        program_name: program_name.unwrap_or_else(|| Located::new(String::new(), &name.place)),
        program,
        data: data::all(&fields, name, &command_line.value, &publish, context),
        publish,
        command_line,
        ram: or(fields.size("ram"), DEFAULT_RAM),
        restart: fields.choice("restart", &RESTARTS).map_or(Restart::Never, |restart| restart.value),
        backoff,
        backoff_max: or(fields.duration("backoff_max"), default_max),
        exceptions: fields.choice("exceptions", &EXCEPTIONS).map_or(Exceptions::Guest, |e| e.value),
        rights: fields.choices("rights", &RIGHTS),
        cpu: fields.integer("cpu", 0..=u16::MAX),
        log_size: or(fields.size("log"), DEFAULT_LOG_SIZE),
    };
    fields.finish();
    Some(subject)
}

/// A built-in unikernel, or a file relative to the description's folder.
fn load(name: &Located<String>, context: &Context<'_>) -> Option<Arc<Program>> {
    let built_in = context.library.unikernels();
    if built_in.contains(&name.value) {
        let bytes = context.library.program(&name.value)?;
        return judge(&bytes, name, context);
    }
    let path = context.files.folder.join(&name.value);
    match read_file(&path, LARGEST_PROGRAM) {
        Ok(bytes) => judge(&bytes, name, context),
        Err(error) => {
            let is_path = name.value.contains(['/', '.']);
            let help = if is_path {
                "the path is relative to the folder of the description".to_owned()
            } else {
                let known = did_you_mean(&name.value, built_in.iter().map(String::as_str));
                format!("it is neither built in ({known}) nor a file")
            };
            context.problems.add(
                Problem::error(&reading::FILE, format!("cannot read {}: {error}", path.display()))
                    .at(&name.place, "this program")
                    .help(help),
            );
            None
        }
    }
}

fn judge(bytes: &[u8], name: &Located<String>, context: &Context<'_>) -> Option<Arc<Program>> {
    let report = |flaw: &Flaw| {
        context.problems.add(
            Problem::error(flaw.rule, format!("the program `{}`: {flaw}", name.value))
                .at(&name.place, "this program")
                .help(flaw.help.clone()),
        );
    };
    let file = File::parse(bytes).inspect_err(report).ok()?;
    let program = Program::new(&file);
    program.inspect_err(|flaws| flaws.iter().for_each(report)).ok().map(Arc::new)
}

/// The system's own subjects in the order of their identifiers.
pub(crate) const NATIVES: [(&str, SubjectKind); 3] =
    [("time", SubjectKind::Time), ("log", SubjectKind::Log), ("supervisor", SubjectKind::Supervisor)];
const RESTARTS: [(&str, Restart); 3] =
    [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
const EXCEPTIONS: [(&str, Exceptions); 2] = [("guest", Exceptions::Guest), ("kernel", Exceptions::Kernel)];
const RIGHTS: [(&str, MachineRight); 4] = [
    ("power-off", MachineRight::PowerOff),
    ("reset", MachineRight::Reset),
    ("panic", MachineRight::Panic),
    ("restart-network", MachineRight::RestartNetwork),
];

const DEFAULT_RAM: u64 = 32 << 20;
/// Native subjects have a stack of their own and no heap.
const NATIVE_RAM: u64 = 64 << 10;
const DEFAULT_LOG_SIZE: u64 = 256 << 10;
/// Microseconds.
const DEFAULT_BACKOFF: u64 = 100_000;
/// Microseconds.
const DEFAULT_BACKOFF_MAX: u64 = 5_000_000;
