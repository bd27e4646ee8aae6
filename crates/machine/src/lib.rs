//! Runs a finished image in an emulator, hands over what the guest prints while it prints it, and leaves nothing behind.
//!
//! [`Emulator::find`] looks for QEMU or Bochs, [`Machine`] says what to run, [`run()`] runs it to its [`End`]. Whatever happens to
//! the process that calls it, a kill included, no emulator stays and no file is left: the image reaches the emulator
//! through memory, and the emulator dies with the thread that started it.

#![deny(unsafe_code)]

mod bochs;
mod child;
mod control;
mod emulator;
mod error;
mod interrupt;
mod lines;
mod machine;
mod network;
mod ports;
mod qemu;
mod run;
mod subnet;
mod user_network;

pub use emulator::{Emulator, Program, Version};
pub use error::Error;
pub use interrupt::{Interrupts, Signal};
pub use lines::Lines;
pub use machine::{Accelerator, Image, Iommu, Machine, OnReset};
pub use network::{MacAddress, Network, PciAddress, Wire};
pub use ports::{Claim, PortError, claim_ports};
pub use run::{Crash, End, Next, Output, Report, Stream, run};
pub use user_network::{Added, Conflict, Fixed, Forward, Interface, Protocol, UserNetwork};
