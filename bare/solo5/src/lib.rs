//! The Solo5 interface for Rust: everything a unikernel, or a native subject of the system, does with the world.
//!
//! A program consists of a `main` and one of two macros: [`unikernel!`] for applications, [`subject!`] for parts of the
//! system, which say nothing of their own accord and must not panic. The interface is safe; `unsafe` code is in `arch`.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! solo5::unikernel!(main);
//!
//! fn main(start: &solo5::StartInfo) -> i32 {
//!     solo5::println!("Command line is: '{}'", start.command_line);
//!     0
//! }
//! ```

#![no_std]
#![deny(unsafe_code)]

mod arch;
mod arguments;
pub mod block;
mod boot;
pub mod clock;
pub mod console;
mod event;
mod exit;
pub mod interrupt;
mod macros;
pub mod net;
mod panic;
pub mod port;
mod program;
pub mod sleep;
pub mod status;
mod trap;

pub use arch::{DeviceRegisters, cycles, data, registers, scheduling_info, shared_memory, subject_info};
pub use arguments::Arguments;
pub use event::{Event, raise_number};
pub use exit::{abort, exit};
pub use palisade_abi as abi;
pub use program::{Entry, StartInfo};

/// There is no device with this name, or none of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchDevice;
