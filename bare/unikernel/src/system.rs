//! What a unikernel's `main` gets.

use alloc::rc::Rc;
use core::future::Future;

use palisade_unikernel_core::arguments::Arguments;

use crate::net::Network;
use crate::platform::Tasks;
use crate::{Argument, Value};

/// The system around the unikernel. Copies are the same system.
#[derive(Clone)]
pub struct System {
    arguments: Rc<Arguments>,
    network: Network,
    tasks: Tasks,
}

impl System {
    pub(crate) fn new(arguments: Arguments, network: Network, tasks: Tasks) -> Self {
        Self { arguments: Rc::new(arguments), network, tasks }
    }

    /// The value of an argument: what the command line says, or else its default.
    #[must_use]
    pub fn argument<T: Value + Clone>(&self, argument: &Argument<T>) -> T {
        self.arguments.value(argument)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Starts a task, which runs whenever this one and all others wait. Tasks end with the unikernel's `main`.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(task);
    }

    /// The data region `name` that the system's description gives this subject. Its last page is filled with zeros.
    #[must_use]
    pub fn data(&self, name: &str) -> Option<&'static [u8]> {
        solo5::data(name)
    }
}
