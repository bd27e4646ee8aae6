//! What this library asks of the processor and the memory: its only code that is not safe Rust.

#![allow(unsafe_code)]

mod critical_section;
mod executor;
mod hardware_random;
mod heap;

pub(crate) use executor::Tasks;
pub(crate) use hardware_random::HardwareRandom;
pub(crate) use heap::{figures as heap_figures, start as start_heap};
