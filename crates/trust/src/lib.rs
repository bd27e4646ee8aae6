//! Certificates for a system's websites.
//!
//! [`Authority`] is for development: it is made once on a computer, kept in the user's configuration directory, and gives
//! certificates for `localhost` and private addresses; it can give no others. [`check()`] judges a certificate and a key
//! that a user brings, before a machine boots with them.

#![forbid(unsafe_code)]

mod authority;
mod check;
mod directory;
mod pem;
mod private;

pub use authority::{Authority, AuthorityError, Issued};
pub use check::{Checked, Flaw, PemFile, Warning, check};
pub use directory::{Directory, DirectoryError};
pub use pem::server_certificate;
