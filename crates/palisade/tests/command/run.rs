//! Running the command.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A call of the command, without the user's environment where that matters.
pub(crate) fn palisade(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(arguments).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// Boots the hello unikernel in the stand-in.
pub(crate) fn boot(serial: &str, console: &str, then: &str) -> Command {
    let mut command = palisade(&["boot", "--unikernel", "hello", "--for", "60", "--emulator"]);
    command.arg(stand_in()).env("SERIAL", serial).env("CONSOLE", console).env("THEN", then);
    command
}

/// The stand-in.
pub(crate) fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/command/speaks")
}

/// A finished call.
pub(crate) struct Done {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Waits for the end of a call.
pub(crate) fn done(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    Done {
        exit: status.code(),
        stdout: String::from_utf8(stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(stderr).expect("standard error is UTF-8"),
    }
}

impl Done {
    /// Asserts the exit status.
    #[track_caller]
    pub(crate) fn assert_exit(&self, expected: i32) -> &Self {
        assert_eq!(self.exit, Some(expected), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that standard error has all of these.
    #[track_caller]
    pub(crate) fn assert_says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in:\n{}", self.stderr);
        }
        self
    }

    /// Standard output as one JSON object for each line.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        let object = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(object).collect()
    }
}

/// The names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory can be read");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A temporary directory.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directories can be made")
}

/// A path as an argument.
pub(crate) fn text(path: &(impl AsRef<OsStr> + ?Sized)) -> &str {
    path.as_ref().to_str().expect("the path is UTF-8")
}
