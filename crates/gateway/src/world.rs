//! What a wire of the switch is besides a wire: something that waits for descriptors and for times.

use palisade_services::switch::Wire;
use smoltcp::time::Instant;

use crate::poll::{Readiness, Token};

/// A wire that leads to something on this computer.
pub(crate) trait World: Wire {
    /// Begins a turn: it is `now` until the next one. What is due is done.
    fn begin(&mut self, now: Instant);

    /// A descriptor has become ready.
    fn ready(&mut self, token: Token, readiness: Readiness);

    /// Whether it waits for more of what a unikernel has just begun to send.
    fn expects_more(&self) -> bool;

    /// When a turn has something to do although nothing has happened.
    fn due(&self) -> Option<Instant>;

    /// Lines for the log.
    fn complaints(&mut self) -> Vec<String>;
}
