//! What could not be found out.

use std::path::PathBuf;

/// Something that a machine file needs and that could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// Only root may read a file.
    #[error("{what}: only root may read {}", path.display())]
    Forbidden {
        /// What it would tell.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file is not there.
    #[error("{what}: {} is not there", path.display())]
    Missing {
        /// What it would tell.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("{what}: {} cannot be read: {why}", path.display())]
    Unreadable {
        /// What it would tell.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        why: String,
    },
    /// A file does not say what it should.
    #[error("{what}: {} {why}", path.display())]
    Unusable {
        /// What it would tell.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Lack {
    /// What the reader can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Forbidden { .. } => "run the command as root".into(),
            Self::Missing { .. } => {
                "run the command on the computer itself, not in a container; Linux shows the file where the firmware has \
                 ACPI"
                    .into()
            }
            Self::Unreadable { .. } => "run the command on the computer itself, not in a container".into(),
            Self::Unusable { .. } => "write this part of the machine file by hand".into(),
        }
    }
}
