//! What the native subjects and the Solo5 bindings decide and say, without the hardware they do it on: plain Rust that is
//! tested on the host.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod cause;
pub mod command_line;
pub mod crash_text;
pub mod journal;
pub mod log;
pub mod report_line;
pub mod rtc;
pub mod station;
pub mod supervisor;
pub mod switch;
pub mod text;
pub mod uart;
pub mod virtio;
