//! From a system description to a checked and completely allocated plan.
//!
//! `parse` reads TOML into a [`System`] that remembers where each value stood; `check` applies the rules; `allocate`
//! gives everything a place. No arrow goes back.

#![forbid(unsafe_code)]

pub mod plan;
