//! The library OS: what a Rust unikernel needs between its own code and the Solo5 interface.
//!
//! A unikernel is an `async` function and a macro:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! use unikernel::{Argument, Error, System};
//!
//! static GREETING: Argument<u16> = Argument::new("times", "NUMBER", "How often it greets.", 1);
//!
//! unikernel::unikernel!(main, arguments = [GREETING]);
//!
//! async fn main(system: System) -> Result<(), Error> {
//!     for _ in 0..system.argument(&GREETING) {
//!         log::info!("hello");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! It starts when arguments, heap and network are there, and ends with exit status 0, or 1 after an error. There is one
//! CPU and no preemption: tasks run one after the other, from `await` to `await`, and nothing needs a lock. When no task
//! can run and no frame is there, the subject sleeps until a frame, an event or the next timer.
//!
//! With the feature `tls` there is TLS for servers, `TlsAcceptor`.
//!
//! `unsafe` code is in `platform`.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod error;
mod logger;
mod macros;
pub mod memory;
pub mod net;
mod platform;
mod program;
pub mod random;
mod system;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;

pub use embedded_io_async as io;
pub use error::Error;
pub use log;
pub use net::{Network, TcpListener, TcpStream, UdpSocket};
pub use palisade_unikernel_core::arguments::{Argument, Cidr, Description, Value};
pub use solo5::println;
pub use system::System;
#[cfg(feature = "tls")]
pub use tls::{TlsAcceptor, TlsStream};

#[doc(hidden)]
pub use program::run;
#[doc(hidden)]
pub use solo5;
