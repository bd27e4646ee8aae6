//! Finding an emulator.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, bochs, qemu};

/// A usable emulator.
#[derive(Debug, Clone)]
pub struct Emulator {
    program: Program,
    path: PathBuf,
    version: Version,
}

/// A program that emulates whole machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// QEMU: a q35 machine with an AMD CPU.
    Qemu,
    /// Bochs: an i440FX machine with an Intel CPU.
    Bochs,
}

/// A version of an emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl Emulator {
    /// Finds an emulator: at `explicit` if that is given, else in `PATH`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotExecutable`], [`Error::AnotherProgram`], [`Error::TooOld`] and
    /// [`Error::FileMissing`].
    pub fn find(program: Program, explicit: Option<&Path>) -> Result<Self, Error> {
        let name = program.command();
        let path = match explicit {
            Some(path) => path.to_path_buf(),
            None => in_path(name).ok_or_else(|| Error::Missing { program, path: name.into() })?,
        };
        let output = Command::new(&path).arg(program.asks_version()).stdin(Stdio::null()).output().map_err(
            |error| match error.kind() {
                io::ErrorKind::NotFound => Error::Missing { program, path: path.clone() },
                io::ErrorKind::PermissionDenied => Error::NotExecutable { program, path: path.clone() },
                _ => Error::Start(error),
            },
        )?;
        let answer = String::from_utf8_lossy(&output.stdout);
        match answer.lines().find_map(|line| program.version(line)) {
            None => {
                let answer = answer.lines().next().unwrap_or_default().into();
                Err(Error::AnotherProgram { program, path, answer })
            }
            Some(found) if found < program.oldest() => Err(Error::TooOld { program, path, found }),
            Some(version) => {
                if program == Program::Bochs {
                    bochs::find_firmware()?;
                }
                Ok(Self { program, path, version })
            }
        }
    }

    /// Which emulator it is.
    #[must_use]
    pub const fn program(&self) -> Program {
        self.program
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
    /// [`Error::NoNestedSvm`] says why not; [`Error::Unsuitable`] if it is not QEMU.
    pub fn require_nested_svm(&self) -> Result<(), Error> {
        match self.program {
            Program::Qemu => qemu::require_nested_svm(&self.path),
            Program::Bochs => Err(Error::Unsuitable(bochs::NO_ACCELERATOR)),
        }
    }
}

impl Program {
    /// The command that installs the emulator on Debian and its relatives.
    #[must_use]
    pub const fn install(self) -> &'static str {
        match self {
            Self::Qemu => "apt-get install --no-install-recommends qemu-system-x86",
            Self::Bochs => "apt-get install --no-install-recommends bochs bochsbios vgabios bochs-term",
        }
    }

    /// The name of its executable file.
    #[must_use]
    pub const fn command(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86_64",
            Self::Bochs => "bochs",
        }
    }

    /// The oldest version supported.
    #[must_use]
    pub const fn oldest(self) -> Version {
        match self {
            Self::Qemu => Version { major: 7, minor: 2 },
            Self::Bochs => Version { major: 2, minor: 7 },
        }
    }

    const fn asks_version(self) -> &'static str {
        match self {
            Self::Qemu => "--version",
            Self::Bochs => "--help",
        }
    }

    /// Its version, if this line of its answer has it.
    fn version(self, line: &str) -> Option<Version> {
        let before = match self {
            Self::Qemu => "QEMU emulator version ",
            Self::Bochs => "Bochs x86 Emulator ",
        };
        let mut numbers = line.trim_start().strip_prefix(before)?.split(['.', ' ', '(']);
        Some(Version { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "QEMU",
            Self::Bochs => "Bochs",
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_each_emulator_answers() {
        let qemu = |line| Program::Qemu.version(line);
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)";
        assert_eq!(qemu(debian), Some(Version { major: 10, minor: 0 }));
        assert_eq!(qemu("QEMU emulator version 7.2.90"), Some(Program::Qemu.oldest()));
        assert_eq!(qemu("cat (GNU coreutils) 9.1"), None);
        assert_eq!(qemu(""), None);
        let bochs = |line| Program::Bochs.version(line);
        assert_eq!(
            bochs("                        Bochs x86 Emulator 2.7"),
            Some(Version { major: 2, minor: 7 })
        );
        assert_eq!(bochs("Bochs x86 Emulator 2.8.devel"), Some(Version { major: 2, minor: 8 }));
        assert_eq!(bochs(debian), None);
    }

    #[test]
    fn ten_is_later_than_seven_point_two() {
        assert!(Version { major: 10, minor: 0 } > Program::Qemu.oldest());
        assert!(Version { major: 7, minor: 1 } < Program::Qemu.oldest());
    }
}
