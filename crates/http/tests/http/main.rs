//! Requests and responses as they are on the wire.

mod client;
mod conversations;
mod malformed;
mod redirects;
mod serving;
