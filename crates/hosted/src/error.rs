//! Why a system cannot run here.

use std::io;

use palisade_image::PackError;
use thiserror::Error;

/// Why a system cannot run here.
#[derive(Debug, Error)]
pub enum Error {
    /// A subject needs what only a machine has.
    #[error("\"{subject}\" {why}; `palisade boot` runs it")]
    NeedsMachine {
        /// Its name.
        subject: String,
        /// What it needs.
        why: &'static str,
    },
    /// A subject cannot be told what it has to know.
    #[error(transparent)]
    Info(#[from] PackError),
    /// The plan is not one that the policy makes.
    #[error("the plan cannot be run: {0}")]
    Plan(&'static str),
    /// The process of a subject could not be made.
    #[error("the process of \"{subject}\" cannot be started: {what}: {cause}")]
    Launch {
        /// Its name.
        subject: String,
        /// What failed.
        what: String,
        /// Linux's reason.
        cause: io::Error,
    },
    /// Linux refused something.
    #[error("{what}: {cause}")]
    System {
        /// What could not be done.
        what: &'static str,
        /// Linux's reason.
        cause: io::Error,
    },
    /// Whoever takes the happenings could not.
    #[error("the output could not be taken: {0}")]
    Sink(io::Error),
}

impl Error {
    /// Says what Linux refused.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self {
        move |cause| Self::System { what, cause: cause.into() }
    }
}
