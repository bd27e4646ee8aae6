//! I/O ports, for the native subjects to which the policy gives some.
//!
//! Using a port that the policy gives to somebody else stops the subject. No device behind such ports writes memory.

pub use crate::arch::{read_port as read, write_port as write};
