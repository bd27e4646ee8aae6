//! `palisade inspect`: what a unikernel is made for, and what it needs.

use std::path::Path;
use std::sync::Arc;

use palisade_policy::elf::Inspection;
use palisade_policy::{LARGEST_PROGRAM, Library, read_file};
use serde_json::json;

use crate::cli::Inspect;
use crate::embedded::Embedded;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::{Terminal, with_event};

/// Shows a unikernel's figures; also one's that cannot run here, and why it cannot.
pub(crate) fn inspect(arguments: &Inspect, terminal: &Terminal) -> Result<Exit, Failure> {
    let path = &arguments.unikernel;
    let bytes = read(path)?;
    let inspection = Inspection::of(&bytes).map_err(|flaw| {
        Failure::message(Exit::Input, format!("{}: {flaw}", path.display()), Some(flaw.help.clone()))
    })?;
    if terminal.json() {
        terminal.object(&with_event("inspection", json!(inspection)))?;
    } else {
        terminal.text(text(path, &inspection))?;
    }
    Ok(Exit::SUCCESS)
}

/// The file of that name, or else the program of that name that the command carries.
fn read(path: &Path) -> Result<Arc<[u8]>, Failure> {
    let built_in = || path.to_str().and_then(|name| Embedded.program(name));
    match read_file(path, LARGEST_PROGRAM) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => built_in().ok_or_else(|| Failure::reading(path, &error)),
    }
}

fn text(path: &Path, inspection: &Inspection) -> String {
    let target = match (&inspection.target, inspection.abi_version) {
        (Some(target), Some(version)) => format!("{target}, version {version}"),
        _ => "none".into(),
    };
    let mut lines = vec![path.display().to_string(), format!("  Solo5 target   {target}")];
    if let Some(version) = inspection.subject_info {
        lines.push(format!("  subject info   version {version:02}"));
    }
    lines.push(format!(
        "  native         {}",
        if inspection.native { "yes: it reports its exit status" } else { "no" }
    ));
    if let Some(size) = inspection.stack_size {
        lines.push(format!("  stack          {} KiB", size / 1024));
    }
    lines.push(format!("  entry          {:#x}", inspection.entry));
    for segment in &inspection.segments {
        let end = segment.address.saturating_add(segment.size);
        lines.push(format!(
            "  segment        {} {:#x}..{end:#x}, {} bytes in the file",
            segment.rights, segment.address, segment.file_size
        ));
    }
    lines.push(format!("  memory         {} KiB without RAM", inspection.memory / 1024));
    if inspection.devices.is_empty() {
        lines.push("  devices        none".into());
    }
    for device in &inspection.devices {
        lines.push(format!("  device         {} ({})", device.name, device.kind));
    }
    let obstacles = &inspection.obstacles;
    if obstacles.is_empty() {
        lines.push("  runs here      yes".into());
    }
    lines.extend(obstacles.iter().map(|obstacle| format!("  runs here      no: {obstacle}")));
    lines.join("\n")
}
