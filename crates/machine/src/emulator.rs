//! Finding QEMU, and what it can do.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Error;
use crate::child::Child;
use crate::control::{self, Message};
use crate::lines::Lines;

/// A usable QEMU.
#[derive(Debug, Clone)]
pub struct Emulator {
    path: PathBuf,
    version: Version,
}

/// A version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl Emulator {
    /// Finds QEMU for x86-64: at `explicit` if that is given, else in `PATH`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotExecutable`], [`Error::NotQemu`] and [`Error::TooOld`].
    pub fn find(explicit: Option<&Path>) -> Result<Self, Error> {
        let path = match explicit {
            Some(path) => path.to_path_buf(),
            None => in_path(PROGRAM).ok_or_else(|| Error::Missing(PROGRAM.into()))?,
        };
        let output =
            Command::new(&path).arg("--version").stdin(Stdio::null()).output().map_err(
                |error| match error.kind() {
                    io::ErrorKind::NotFound => Error::Missing(path.clone()),
                    io::ErrorKind::PermissionDenied => Error::NotExecutable(path.clone()),
                    _ => Error::Start(error),
                },
            )?;
        let answer = String::from_utf8_lossy(&output.stdout);
        let answer = answer.lines().next().unwrap_or_default();
        match Version::parse(answer) {
            None => Err(Error::NotQemu { path, answer: answer.into() }),
            Some(found) if found < Version::OLDEST => Err(Error::TooOld { path, found }),
            Some(version) => Ok(Self { path, version }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Asks whether a guest under KVM really would have SVM with nested paging. That `/dev/kvm` opens proves nothing:
    /// nested virtualisation may be off, or KVM itself an emulation.
    ///
    /// # Errors
    /// [`Error::NoNestedSvm`] says why not.
    pub fn require_nested_svm(&self) -> Result<(), Error> {
        let (control, theirs) = control::pair().map_err(Error::Start)?;
        let mut command = Command::new(&self.path);
        command.args(["-no-user-config", "-nodefaults", "-display", "none", "-M", "none", "-accel", "kvm"]);
        command.args(control::arguments(theirs.as_raw_fd()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        control::ask(&control, control::CPU_MODEL).map_err(Error::Start)?;
        let child = Child::start(command, vec![theirs]).map_err(Error::Start)?;
        let answer = wait_for_features(control);
        drop(child);
        match answer {
            Some((true, true)) => Ok(()),
            Some((false, _)) => Err(Error::NoNestedSvm("a guest has no SVM".into())),
            Some((true, false)) => Err(Error::NoNestedSvm("a guest has no nested paging".into())),
            None => Err(Error::NoNestedSvm("QEMU did not start with KVM".into())),
        }
    }
}

impl Version {
    /// The oldest version supported.
    pub const OLDEST: Self = Self { major: 7, minor: 2 };

    /// Reads the first line of what `--version` prints.
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("QEMU emulator version ")?.split(['.', ' ', '(']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Reads messages until the features of the CPU model arrive: whether it has SVM, and nested paging.
fn wait_for_features(control: OwnedFd) -> Option<(bool, bool)> {
    let deadline = Instant::now() + PROBE_LIMIT;
    let mut control = File::from(control);
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    loop {
        let left = Timespec::try_from(deadline.checked_duration_since(Instant::now())?).ok()?;
        poll(&mut [PollFd::new(&control, PollFlags::IN)], Some(&left)).ok().filter(|ready| *ready > 0)?;
        let count = control.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let features =
            lines.push(&buffer[..count]).into_iter().find_map(|line| match Message::parse(&line) {
                Some(Message::CpuModel { svm, npt }) => Some((svm, npt)),
                _ => None,
            });
        if features.is_some() {
            return features;
        }
    }
}

const PROGRAM: &str = "qemu-system-x86_64";
const PROBE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_first_line() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)";
        assert_eq!(Version::parse(debian), Some(Version { major: 10, minor: 0 }));
        assert_eq!(Version::parse("QEMU emulator version 7.2.90"), Some(Version::OLDEST));
        assert_eq!(Version::parse("cat (GNU coreutils) 9.1"), None);
        assert_eq!(Version::parse(""), None);
    }

    #[test]
    fn ten_is_later_than_seven_point_two() {
        assert!(Version { major: 10, minor: 0 } > Version::OLDEST);
        assert!(Version { major: 7, minor: 1 } < Version::OLDEST);
    }
}
