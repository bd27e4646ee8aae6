//! What can go wrong before and while an emulator runs.

use std::io;
use std::path::PathBuf;

use crate::Version;

/// The command that installs the emulator on Debian and its relatives.
pub const INSTALL: &str = "apt-get install --no-install-recommends qemu-system-x86";

/// Why a machine could not be run to an end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No emulator where it was looked for.
    #[error("the emulator {} was not found", .0.display())]
    Missing(PathBuf),
    /// It may not be executed, or it is no program.
    #[error("the emulator {} cannot be executed", .0.display())]
    NotExecutable(PathBuf),
    /// The program does not answer as QEMU does.
    #[error("{} is not QEMU: it answers `--version` with {answer:?}", path.display())]
    NotQemu {
        /// The program.
        path: PathBuf,
        /// The first line of what it said.
        answer: String,
    },
    /// QEMU is older than the oldest version supported.
    #[error("{} is QEMU {found}, but at least {} is needed", path.display(), Version::OLDEST)]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: Version,
    },
    /// KVM was asked for, but its guests have no SVM with nested paging.
    #[error("KVM on this computer gives its guests no SVM with nested paging ({0})")]
    NoNestedSvm(String),
    /// The emulator could not be started, or not be watched.
    #[error("the emulator could not be run: {0}")]
    Start(#[source] io::Error),
    /// Whoever takes the output could not.
    #[error("the output of the machine could not be passed on: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    /// What the reader can do about it, if there is something.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Missing(_) | Self::TooOld { .. } => Some(format!(
                "install QEMU {} or later; on Debian and Ubuntu, as root:\n  {INSTALL}\n\
                 on Debian 12, if qemu-utils is there from the backports, add: -t bookworm-backports",
                Version::OLDEST
            )),
            Self::NotExecutable(_) | Self::NotQemu { .. } => {
                Some("name the program qemu-system-x86_64".into())
            }
            Self::NoNestedSvm(_) => Some("use the software CPU, which is the default".into()),
            Self::Start(_) | Self::Output(_) => None,
        }
    }
}
