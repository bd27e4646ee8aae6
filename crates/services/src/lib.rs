//! What the native subjects decide and say, without the hardware they do it on: plain Rust that is tested on the host.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod command_line;
pub mod text;
