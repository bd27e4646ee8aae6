//! What the fuzzers run, as plain functions on any bytes.
//!
//! Each function of [`targets`] gives bytes to a reader that must survive them, and checks what the reader promises. The
//! fuzzers in `fuzz/` call them, and so does a test on stable Rust, with mutations of the valid bytes in [`samples`].

#![forbid(unsafe_code)]

pub mod samples;
pub mod targets;
