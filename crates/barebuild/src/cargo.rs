//! Runs cargo so that nothing but the sources decides what comes out.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// Builds the binary targets and returns the directory with the linked files.
pub(crate) fn build(workspace: &Path, target_dir: &Path, programs: &[&str]) -> Result<PathBuf, Error> {
    let workspace =
        fs::canonicalize(workspace).map_err(|cause| Error::Read { path: workspace.to_owned(), cause })?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace);
    scrub(&mut command, env::vars_os().map(|(name, _)| name));
    command
        .env("CARGO_ENCODED_RUSTFLAGS", encoded_flags(&workspace)?)
        .env("CARGO_INCREMENTAL", "0")
        .env(LINKER_VARIABLE, "cc")
        .args(["build", "--release", "--locked", "--color=never", "--target-dir"])
        .arg(std::path::absolute(target_dir).map_err(Error::Start)?);
    for program in programs {
        command.args(["--bin", program]);
    }
    let run = command.output().map_err(Error::Start)?;
    if !run.status.success() {
        return Err(Error::Cargo { output: String::from_utf8_lossy(&run.stderr).into_owned() });
    }
    Ok(target_dir.join(TARGET).join("release"))
}

/// Removes from the command's environment whatever could change the result. An outer cargo sets many of these for the
/// build script that calls us, and none of them is meant for the inner one.
fn scrub(command: &mut Command, names: impl Iterator<Item = OsString>) {
    for name in names {
        let text = name.to_string_lossy();
        let cargo = text.starts_with("CARGO") && !HARMLESS.iter().any(|prefix| text.starts_with(prefix));
        if cargo || text.starts_with("RUSTC") || text.starts_with("RUSTFLAGS") || text.starts_with("DEP_") {
            command.env_remove(&name);
        }
    }
    // Empty, not absent: that also switches off a wrapper from the user's configuration file.
    command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
}

/// The flags of the workspace's own configuration, and what keeps the build's directories out of the programs.
///
/// As an environment variable they take the place of all configuration files, so that flags which users keep in their
/// home directory (`-Ctarget-cpu=native`, another linker) do not get into the kernel.
fn encoded_flags(workspace: &Path) -> Result<OsString, Error> {
    let mut flags = OsString::from(configured_flags(&workspace.join(".cargo/config.toml"))?.join(SEPARATOR));
    let repository = workspace.parent().unwrap_or(workspace);
    for (from, to) in [(Some(repository.to_owned()), "/palisade"), (cargo_home(), "/cargo")] {
        let Some(from) = from else { continue };
        flags.push(SEPARATOR);
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    Ok(flags)
}

fn configured_flags(path: &Path) -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    let wrong = |reason: String| Error::Configuration { path: path.to_owned(), reason };
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
    let flags = table
        .get("target")
        .and_then(|targets| targets.get(TARGET))
        .and_then(|target| target.get("rustflags"))
        .and_then(toml::Value::as_array)
        .ok_or_else(|| wrong(format!("no array target.{TARGET}.rustflags")))?;
    flags
        .iter()
        .map(|flag| {
            flag.as_str().map(str::to_owned).ok_or_else(|| wrong("a flag is not a string".to_owned()))
        })
        .collect()
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// The only target the freestanding programs are built for: that of the host, so that no other has to be installed.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Overrides a linker from the user's configuration; `cc` is what rustc uses by default.
const LINKER_VARIABLE: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER";

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\u{1f}";

/// Variables that say where crates come from, how many jobs run and what cargo may print: not what is built.
const HARMLESS: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_does_not_decide_what_is_built() {
        let mut command = Command::new("cargo");
        let names =
            ["RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_PROFILE_RELEASE_LTO", "RUSTC", "CARGO_HOME", "PATH"];
        scrub(&mut command, names.into_iter().map(OsString::from));
        let changed: Vec<_> = command.get_envs().map(|(name, value)| (name.to_str(), value)).collect();
        for removed in &names[..4] {
            assert!(changed.contains(&(Some(removed), None)), "{removed} is left");
        }
        for kept in &names[4..] {
            assert!(changed.iter().all(|(name, _)| *name != Some(kept)), "{kept} is needed");
        }
    }

    #[test]
    fn the_flags_are_those_of_the_workspace() {
        let flags = configured_flags(Path::new("../../bare/.cargo/config.toml")).unwrap();
        assert!(flags.iter().any(|flag| flag == "-Crelocation-model=static"));
        let missing = configured_flags(Path::new("Cargo.toml")).unwrap_err();
        assert!(missing.to_string().contains("no array target.x86_64-unknown-linux-gnu.rustflags"));
    }
}
