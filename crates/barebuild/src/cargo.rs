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
    find_compiler()?;
    let configuration = Configuration::read(&workspace.join(".cargo/config.toml"))?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace);
    scrub(&mut command, env::vars_os().map(|(name, _)| name));
    command
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&configuration, &workspace))
        .env(C_FLAGS_VARIABLE, c_flags(&configuration, &workspace))
        .env("CC_SHELL_ESCAPED_FLAGS", "1")
        .env(C_COMPILER_VARIABLE, COMPILER)
        .env("CARGO_INCREMENTAL", "0")
        .env(LINKER_VARIABLE, COMPILER)
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
        if cargo || HARMFUL.iter().any(|prefix| text.starts_with(prefix)) || COMPILERS.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    // Empty, not absent: that also switches off a wrapper from the user's configuration file.
    command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
}

/// Whether there is a C compiler. It links every program, and compiles the cryptography of those that speak TLS.
fn find_compiler() -> Result<(), Error> {
    match Command::new(COMPILER).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(cause) => Err(Error::Compiler(cause)),
    }
}

/// The compiler's flags from the workspace's own configuration, and what keeps the build's directories out of the programs.
///
/// As an environment variable they take the place of all configuration files, so that flags which users keep in their
/// home directory (`-Ctarget-cpu=native`, another linker) do not get into the kernel.
fn rust_flags(configuration: &Configuration, workspace: &Path) -> OsString {
    let mut flags = OsString::from(configuration.rust_flags.join(SEPARATOR));
    for (from, to) in renamed(workspace) {
        flags.push(SEPARATOR);
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}

/// The same for the C compiler, quoted as a shell would need it.
fn c_flags(configuration: &Configuration, workspace: &Path) -> OsString {
    let mut flags = OsString::from(&configuration.c_flags);
    for (from, to) in renamed(workspace) {
        let map = format!("-ffile-prefix-map={}={to}", from.display());
        flags.push(format!(" '{}'", map.replace('\'', r"'\''")));
    }
    flags
}

/// Directories, and what they are called in the programs.
fn renamed(workspace: &Path) -> impl Iterator<Item = (PathBuf, &'static str)> {
    let repository = workspace.parent().unwrap_or(workspace).to_owned();
    [Some((repository, "/palisade")), cargo_home().map(|home| (home, "/cargo"))].into_iter().flatten()
}

/// What the workspace's `.cargo/config.toml` says about compilers.
struct Configuration {
    rust_flags: Vec<String>,
    c_flags: String,
}

impl Configuration {
    fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        let wrong = |reason: String| Error::Configuration { path: path.to_owned(), reason };
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| wrong(e.message().to_owned()))?;
        let flags = table
            .get("target")
            .and_then(|targets| targets.get(TARGET))
            .and_then(|target| target.get("rustflags"))
            .and_then(toml::Value::as_array)
            .ok_or_else(|| wrong(format!("no array target.{TARGET}.rustflags")))?;
        let rust_flags = flags
            .iter()
            .map(|flag| {
                flag.as_str().map(str::to_owned).ok_or_else(|| wrong("a flag is not a string".to_owned()))
            })
            .collect::<Result<_, _>>()?;
        let c_flags = table
            .get("env")
            .and_then(|variables| variables.get(C_FLAGS_VARIABLE))
            .and_then(toml::Value::as_str)
            .ok_or_else(|| wrong(format!("no string env.{C_FLAGS_VARIABLE}")))?
            .to_owned();
        Ok(Self { rust_flags, c_flags })
    }
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// The only target the freestanding programs are built for: that of the host, so that no other has to be installed.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Links, and compiles C: what rustc uses by default.
const COMPILER: &str = "cc";

/// Names the C compiler, and its flags.
const C_COMPILER_VARIABLE: &str = "CC_x86_64_unknown_linux_gnu";
const C_FLAGS_VARIABLE: &str = "CFLAGS_x86_64_unknown_linux_gnu";

/// Overrides a linker from the user's configuration.
const LINKER_VARIABLE: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER";

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\u{1f}";

/// Variables that say how Rust or C is compiled, or that the build scripts of dependencies listen to, begin like these ...
const HARMFUL: [&str; 15] = [
    "AR_",
    "ARFLAGS",
    "CC_",
    "CFLAGS",
    "CPATH",
    "CRATE_CC_",
    "C_INCLUDE_PATH",
    "DEP_",
    "EMBASSY_",
    "HOST_",
    "RING_",
    "RUSTC",
    "RUSTFLAGS",
    "SMOLTCP_",
    "TARGET_",
];

/// ... or are these.
const COMPILERS: [&str; 3] = ["AR", "CC", "RANLIB"];

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
        let names = [
            "RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "RUSTC",
            "CC",
            "CFLAGS",
            "SMOLTCP_DNS_MAX_NAME_SIZE",
            "CARGO_HOME",
            "PATH",
            "CCACHE_DIR",
        ];
        scrub(&mut command, names.into_iter().map(OsString::from));
        let changed: Vec<_> = command.get_envs().map(|(name, value)| (name.to_str(), value)).collect();
        for removed in &names[..7] {
            assert!(changed.contains(&(Some(removed), None)), "{removed} is left");
        }
        for kept in &names[7..] {
            assert!(changed.iter().all(|(name, _)| *name != Some(kept)), "{kept} is needed");
        }
    }

    #[test]
    fn the_flags_are_those_of_the_workspace() {
        let configuration = Configuration::read(Path::new("../../bare/.cargo/config.toml")).unwrap();
        assert!(configuration.rust_flags.iter().any(|flag| flag == "-Crelocation-model=static"));
        assert!(configuration.c_flags.contains("-mno-red-zone"));
        let missing = Configuration::read(Path::new("Cargo.toml")).err().unwrap();
        assert!(missing.to_string().contains("no array target.x86_64-unknown-linux-gnu.rustflags"));
    }

    #[test]
    fn no_directory_of_the_build_is_named_in_a_program() {
        let configuration = Configuration { rust_flags: vec!["-O".to_owned()], c_flags: "-Os".to_owned() };
        let workspace = Path::new("/a/place/it's in/bare");
        let rust = rust_flags(&configuration, workspace).into_string().unwrap();
        assert!(rust.starts_with("-O\u{1f}--remap-path-prefix=/a/place/it's in=/palisade\u{1f}"));
        let c = c_flags(&configuration, workspace).into_string().unwrap();
        assert!(
            c.starts_with(r"-Os '-ffile-prefix-map=/a/place/it'\''s in=/palisade' '-ffile-prefix-map="),
            "{c}"
        );
    }
}
