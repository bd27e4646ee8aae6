//! The byte layouts that all sides share: kernel, subjects, builder and verifier.
//!
//! Nothing here decides anything. Each module has one layout: a structure or a checked view over bytes, the constants
//! that belong to it, and the functions that read and write it. All integers are little-endian.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the layouts are read in place: only 64-bit little-endian targets are supported");

pub mod layout;
pub mod plan;
pub mod report;
