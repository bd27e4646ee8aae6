//! Hostile input from the host's side, to the whole website: what clients can send through a published port, and what
//! anybody can send who has the other end of the card's wire.
//!
//! After every attack a real request over HTTPS is answered; at the end nothing has been restarted, and no memory is
//! lost.

mod connections;
mod damage;
mod frames;
mod host;
mod packets;
mod requests;
mod target;
mod tls;
mod wire;
