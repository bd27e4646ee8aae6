//! What ends a unikernel.

use alloc::string::{String, ToString};
use core::fmt;

/// Why a unikernel cannot go on. Its `main` returns it; the text is the last line on the console.
#[derive(Debug)]
pub enum Error {
    /// Another listener or socket has the port already.
    PortInUse(u16),
    /// The memory is too small for a single connection.
    TooLittleMemory,
    /// There is no randomness, and no secret without it.
    NoEntropy,
    /// Anything else, in words.
    Other(String),
}

impl Error {
    /// An error of the application's own.
    #[must_use]
    pub fn other(reason: impl fmt::Display) -> Self {
        Self::Other(reason.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortInUse(port) => write!(f, "port {port} is in use already"),
            Self::TooLittleMemory => write!(f, "the memory is too small for even one connection"),
            Self::NoEntropy => write!(f, "there is no randomness: the processor has no working generator"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for Error {}
