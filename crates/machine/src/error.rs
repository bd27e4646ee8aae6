//! What can go wrong before and while an emulator runs.

use std::io;
use std::path::PathBuf;

use crate::{Program, Version};

/// Why a machine could not be run to an end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No emulator where it was looked for.
    #[error("the emulator {} was not found", path.display())]
    Missing {
        /// What was looked for.
        program: Program,
        /// Where.
        path: PathBuf,
    },
    /// It may not be executed, or it is no program.
    #[error("the emulator {} cannot be executed", path.display())]
    NotExecutable {
        /// What it should be.
        program: Program,
        /// Where it is.
        path: PathBuf,
    },
    /// The program does not answer as the emulator does.
    #[error("{} is not {program}: asked for its version, it answers {answer:?}", path.display())]
    AnotherProgram {
        /// What it should be.
        program: Program,
        /// The program.
        path: PathBuf,
        /// The first line of what it said.
        answer: String,
    },
    /// The emulator is older than the oldest version supported.
    #[error("{} is {program} {found}, but at least {} is needed", path.display(), program.oldest())]
    TooOld {
        /// Which emulator.
        program: Program,
        /// Its file.
        path: PathBuf,
        /// Its version.
        found: Version,
    },
    /// A file that the emulator needs is not installed.
    #[error("{program} needs {}, which was not found", path.display())]
    FileMissing {
        /// Which emulator.
        program: Program,
        /// The file.
        path: PathBuf,
    },
    /// KVM was asked for, but its guests have no SVM with nested paging.
    #[error("KVM on this computer gives its guests no SVM with nested paging ({0})")]
    NoNestedSvm(String),
    /// The emulator cannot be such a machine.
    #[error("{0}")]
    Unsuitable(&'static str),
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
            Self::Missing { program, .. }
            | Self::TooOld { program, .. }
            | Self::FileMissing { program, .. } => {
                let install = format!(
                    "install {program} {} or later; on Debian and Ubuntu, as root:\n  {}",
                    program.oldest(),
                    program.install()
                );
                Some(match program {
                    Program::Qemu => format!(
                        "{install}\non Debian 12, if qemu-utils is there from the backports, add: -t bookworm-backports"
                    ),
                    Program::Bochs => install,
                })
            }
            Self::NotExecutable { program, .. } | Self::AnotherProgram { program, .. } => {
                Some(format!("name the program {}", program.command()))
            }
            Self::NoNestedSvm(_) => Some("use the software CPU, which is the default".into()),
            Self::Unsuitable(_) | Self::Start(_) | Self::Output(_) => None,
        }
    }
}
