//! Random bytes for crates that ask the operating system for them: here, the program says where they come from.
//!
//! It offers as much of the interface of `getrandom` 0.2 as our dependencies use. Until a program names a source, there is
//! none, and every request fails: nothing pretends to be random.

#![no_std]
#![forbid(unsafe_code)]

use core::cell::Cell;
use core::fmt;

use critical_section::Mutex;

/// Fills a buffer with random bytes, or returns `false`.
pub type Source = fn(&mut [u8]) -> bool;

/// Says where random bytes come from, from now on.
pub fn set_source(source: Source) {
    critical_section::with(|section| SOURCE.borrow(section).set(Some(source)));
}

/// Fills `bytes` with random bytes.
///
/// # Errors
///
/// There is no source, or it has failed.
pub fn getrandom(bytes: &mut [u8]) -> Result<(), Error> {
    match critical_section::with(|section| SOURCE.borrow(section).get()) {
        Some(source) if source(bytes) => Ok(()),
        _ => Err(Error),
    }
}

/// There is no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no randomness")
    }
}

impl core::error::Error for Error {}

static SOURCE: Mutex<Cell<Option<Source>>> = Mutex::new(Cell::new(None));
