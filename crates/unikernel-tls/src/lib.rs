//! TLS for the library OS `unikernel`: the server's side of TLS 1.3 and 1.2 over any asynchronous stream.
//!
//! Nothing here knows a machine: the stream below, the clock and the random numbers come from outside, and so the host's
//! tests talk to all of it. What a connection can hold is bounded: a record in each direction, and what was decrypted of one.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod acceptor;
mod outgoing;
mod stream;
mod tickets;

pub use acceptor::{Acceptor, CertificateError, Clock};
pub use stream::{MOST_MEMORY, TlsError, TlsStream};
