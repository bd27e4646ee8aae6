//! What can go wrong in a build of freestanding programs.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there are no programs.
#[derive(Debug)]
pub enum Error {
    /// A file or directory could not be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The workspace's `.cargo/config.toml` names no compiler flags for the target.
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The C compiler could not be started.
    Compiler(io::Error),
    /// Cargo could not be started.
    Start(io::Error),
    /// Cargo failed.
    Cargo {
        /// Everything it printed.
        output: String,
    },
    /// A program was linked, but cannot run on its own.
    Program {
        /// The linked file.
        path: PathBuf,
        /// What is wrong with it.
        defect: Defect,
    },
}

/// What keeps a program from running on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// It is not a statically linked ELF64 executable for x86-64.
    Format(String),
    /// It has a segment of a kind that only a dynamic linker understands.
    Dynamic,
    /// It has relocations, which nobody would apply.
    Relocations,
    /// It needs symbols that nobody defines.
    Undefined(Vec<String>),
    /// It can panic.
    Panics(Vec<String>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, cause } => write!(f, "cannot read {}: {cause}", path.display()),
            Self::Configuration { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Compiler(cause) => write!(
                f,
                "cannot start the C compiler `cc`, which links the freestanding programs and compiles their \
                 cryptography: {cause}; on Debian, install gcc and libc6-dev"
            ),
            Self::Start(cause) => write!(f, "cannot start cargo: {cause}"),
            Self::Cargo { output } => write!(f, "the freestanding programs do not build:\n{output}"),
            Self::Program { path, defect } => write!(f, "{}: {defect}", path.display()),
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(reason) => write!(f, "not a static x86-64 executable: {reason}"),
            Self::Dynamic => write!(f, "needs a dynamic linker"),
            Self::Relocations => write!(f, "has relocations"),
            Self::Undefined(symbols) => write!(f, "undefined symbols: {}", symbols.join(", ")),
            Self::Panics(symbols) => write!(f, "must not panic, but links {}", symbols.join(", ")),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { cause, .. } | Self::Compiler(cause) | Self::Start(cause) => Some(cause),
            Self::Configuration { .. } | Self::Cargo { .. } | Self::Program { .. } => None,
        }
    }
}
