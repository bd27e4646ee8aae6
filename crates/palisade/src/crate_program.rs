//! The program of a unikernel's crate: what `--unikernel` takes where it names a directory.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;

/// Has cargo build the crate in this directory, as it is built by hand there, and gives the one program that it makes. What cargo
/// says goes to standard error.
pub(crate) fn build(directory: &Path) -> Result<PathBuf, Failure> {
    let name = directory.display();
    if !directory.join("Cargo.toml").is_file() {
        let help = "give the file of a unikernel, or the directory of its crate".to_owned();
        return Err(Failure::message(
            Exit::Input,
            format!("{name} is a directory without a Cargo.toml"),
            Some(help),
        ));
    }
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            Failure::host(&format!("cargo, which builds the crate {name}, cannot be started"), &error)
        })?;
    if !built.status.success() {
        return Err(Failure::input(format!("the crate {name} cannot be built; cargo says why")));
    }
    let mut programs = programs(&String::from_utf8_lossy(&built.stdout));
    match (programs.pop(), programs.is_empty()) {
        (Some(program), true) => Ok(program),
        (None, _) => Err(Failure::input(format!("the crate {name} makes no program"))),
        (Some(last), false) => {
            programs.push(last);
            let found: Vec<_> = programs.iter().map(|program| program.display().to_string()).collect();
            let help = format!("give one of them: {}", found.join(", "));
            let message = format!("the crate {name} makes {} programs", found.len());
            Err(Failure::message(Exit::Input, message, Some(help)))
        }
    }
}

/// The programs that cargo made, as its messages say (The Cargo Book, External tools, JSON messages). Those of build scripts have
/// no executable there.
fn programs(messages: &str) -> Vec<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_what_cargo_says() {
        let messages = "\
            {\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"lib\"]},\"executable\":null}\n\
            {\"reason\":\"build-script-executed\",\"out_dir\":\"x\"}\n\
            not of cargo\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"bin\"]},\"executable\":\"/a/release/echo\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(programs(messages), [Path::new("/a/release/echo")]);
    }
}
