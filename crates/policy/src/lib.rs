//! From a system description to a checked and completely allocated plan.
//!
//! Reading turns TOML into a [`System`] whose values remember where they stood; [`rules()`] check it; allocation gives
//! everything a place in a [`plan::Plan`]. No arrow goes back. [`load`], [`for_unikernel`] and [`for_site`] do all of it; what is wrong
//! comes back as [`Problems`], all at once, each with its rule, its place and what would be right.

#![forbid(unsafe_code)]

mod allocate;
mod document;
pub mod elf;
mod input;
mod machine;
mod options;
mod parse;
pub mod plan;
mod problem;
mod rules;
mod source;
mod system;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod undescribed;
mod units;

use std::path::Path;
use std::sync::Arc;

pub use input::{LARGEST_PROGRAM, read_file};
pub use machine::{BUILT_IN as BUILT_IN_MACHINES, Emulator, MachineDescription};
pub use options::{Certificate, Library, Options};
pub use palisade_site::pack::File as SiteFile;
pub use problem::{Problem, Problems};
pub use rules::names::{flaw as name_flaw, is_reserved as is_reserved_name};
pub use rules::{Rule, rules};
pub use source::{Located, Place, Source};
pub use system::{
    Arrival, Channel, CpuFrames, Data, Destination, End, EndAction, Event, Host, Network, NoDestination,
    Outbound, Partition, Port, Protocol, Publish, Schedule, Subject, System,
};
pub use undescribed::{Site, SiteFiles};
pub use units::{parse_duration, parse_size};

use parse::{Context, Files};
use problem::Collector;

/// A system that keeps every rule, and its plan.
#[derive(Debug)]
pub struct Planned {
    /// Where everything is.
    pub plan: plan::Plan,
    /// The system as described.
    pub system: System,
    /// What is legal and probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads, checks and allocates the system of a description file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, options: &Options, library: &dyn Library) -> Result<Planned, Problems> {
    let name = path.display().to_string();
    let text = input::read_text(path).map_err(|error| {
        let problem = Problem::error(&rules::reading::FILE, format!("cannot read {name}: {error}"))
            .help("give the path of a system description, such as systems/hello.toml");
        Problems::new(&name, vec![problem])
    })?;
    let stem = path.file_stem().map_or_else(|| "system".into(), |stem| stem.to_string_lossy());
    let folder = path.parent().unwrap_or(Path::new(""));
    plan_text(Source { name, text }, &stem, Files { folder, site: None }, options, library)
}

/// Reads, checks and allocates the system of a description that is no file, such as one made by a program. `name` is the system's
/// unless the description gives it another one. Paths in it start at the current directory.
///
/// # Errors
/// Everything that is wrong with it.
pub fn for_text(
    name: &str,
    text: &str,
    options: &Options,
    library: &dyn Library,
) -> Result<Planned, Problems> {
    let files = Files { folder: Path::new(""), site: None };
    plan_text(Source { name: name.to_owned(), text: text.to_owned() }, name, files, options, library)
}

/// Checks and allocates the system of one unikernel, which needs no description.
///
/// # Errors
/// Everything that is wrong with it.
pub fn for_unikernel(
    path: &Path,
    command_line: &str,
    options: &Options,
    library: &dyn Library,
) -> Result<Planned, Problems> {
    let described = undescribed::unikernel(path, command_line);
    let files = Files { folder: Path::new(""), site: None };
    plan_text(described.source, &described.name, files, options, library)
}

/// Checks and allocates the system of one website, served by the built-in unikernel `website`. It needs no description.
///
/// # Errors
/// Everything that is wrong with it.
pub fn for_site(site: &Site<'_>, options: &Options, library: &dyn Library) -> Result<Planned, Problems> {
    let described = undescribed::site(site, &options.publish);
    let in_memory = match site.files {
        SiteFiles::Directory(_) => None,
        SiteFiles::Memory(files) => Some(files),
    };
    let files = Files { folder: Path::new(""), site: in_memory };
    plan_text(described.source, &described.name, files, options, library)
}

fn plan_text(
    source: Source,
    default_name: &str,
    files: Files<'_>,
    options: &Options,
    library: &dyn Library,
) -> Result<Planned, Problems> {
    let source = Arc::new(source);
    let problems = Collector::default();
    let context = Context { files, options, library, problems: &problems };
    let system = parse::parse(&source, default_name, &context);
    rules::check_system(&system, &problems);
    if problems.has_errors() {
        return Err(Problems::new(&source.name, problems.into_problems()));
    }
    let plan = allocate::allocate(&system)
        .map_err(|lack| Problems::new(&source.name, vec![rules::memory::out_of_memory(&lack, &system)]))?;
    rules::check_plan(&plan, &problems);
    if problems.has_errors() {
        return Err(Problems::new(&source.name, problems.into_problems()));
    }
    Ok(Planned { plan, system, warnings: problems.into_problems() })
}
