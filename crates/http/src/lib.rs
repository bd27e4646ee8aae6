//! HTTP/1.1 (RFC 9110, RFC 9112) for static sites, without input and output.
//!
//! A [`Connection`] takes bytes as they arrive and says what to do next: read more, send a response, close. It never waits,
//! knows no clock but the time it is told, and its memory is allocated once, when it is made. The responses are pieces of a
//! [`Archive`](palisade_site::Archive), in place, and the text between them.
//!
//! What is not there, on purpose: request bodies are skipped or refused, since nothing here could use one; there is no
//! `Transfer-Encoding` in responses, since every length is known; there are no trailers, no upgrades, no `TRACE`.
//!
//! Whatever two servers could understand differently is refused and ends the connection: line ends other than CR LF,
//! folded fields, blanks before a colon, two lengths, a length beside a transfer encoding, two hosts.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod accept;
pub mod access_log;
pub mod condition;
pub mod date;
pub mod range;
pub mod request;
pub mod target;

mod connection;
mod redirect;
mod response;
mod scan;
mod service;
mod site;
mod status;

pub use self::connection::{Connection, Exchange, Next, OutOfMemory, Stage};
pub use self::redirect::Redirect;
pub use self::response::Response;
pub use self::service::Service;
pub use self::site::Site;
pub use self::status::Status;

/// The time of day where nobody knows it.
pub const NO_CLOCK: u64 = 0;
/// Length in bytes that a request line may have, without its end. RFC 9112, section 3, recommends 8000 at least.
pub const MAX_REQUEST_LINE: usize = 8000;
/// Length in bytes that a request line and all fields together may have, with their ends.
pub const MAX_HEAD: usize = 0x4000;
/// Number of fields that a request may have.
pub const MAX_FIELDS: usize = 100;
/// Length in bytes that the body of a request may have: it is skipped.
pub const MAX_BODY: u64 = 0x1_0000;
/// Number of ranges that a request may ask for.
pub const MAX_RANGES: usize = 16;
