//! What the library OS `unikernel` decides, without the machine it runs on: plain Rust that is tested on the host.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod admission;
pub mod arguments;
pub mod datagram;
pub mod entropy;
mod frame;
pub mod logs;
pub mod opening;
