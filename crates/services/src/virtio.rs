//! A driver for virtio network cards on PCI, as version 1.2 of the specification ("Virtual I/O Device (VIRTIO) Version
//! 1.2", OASIS, 2022) describes them. Section numbers in this module and its parts are of that document.
//!
//! The card is hostile until proved otherwise: it can return anything from any register, and write anything into the
//! memory that it shares with the driver. Every number that it gives is judged before it is used, no loop depends on it for
//! its end, and what it claims beyond what it was given ends the driver, which then resets it and begins anew.

pub mod card;
pub mod fault;
mod features;
pub mod pci;
mod queue;
pub mod registers;
#[cfg(test)]
mod tests;
mod transport;

pub use card::Card;
pub use fault::Fault;
pub use registers::Registers;
