//! The processor and the memory around the program: the only code of this crate that is not safe Rust.
//!
//! A program runs on one CPU, in ring 0 of its own address space, and nothing runs beside it but its own interrupt
//! handlers. Each `unsafe` block below relies on that, on the memory that the subject info describes, or on both.
//!
//! Where a Linux process hosts the program there is no ring 0. Whatever needs it asks `platform` first, once.

#![allow(unsafe_code)]

mod descriptors;
mod entry;
mod global;
mod instructions;
mod memory;
mod memory_functions;
mod platform;
mod registers;
mod start;
mod vectors;

pub(crate) use entry::entry;
pub(crate) use global::Global;
pub use instructions::{
    cycles, disable_interrupts, enable_interrupts, read_port, suspend_interrupts, write_port,
};
pub(crate) use instructions::{halt_forever, hypercall, pause};
pub(crate) use memory::{Extent, boot_info, heap};
pub use memory::{data, registers, scheduling_info, shared_memory, subject_info};
pub use registers::DeviceRegisters;
pub(crate) use vectors::catch_exceptions;
