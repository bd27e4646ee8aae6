//! The switch: carries Ethernet frames between the wire and the ports, each of which is a unikernel.
//!
//! Both sides are hostile. What a port may do is decided by [`table`], from nothing but addresses; [`exchange`] moves the
//! frames, so that none waits for ever behind another's flood; [`losses`] counts what is dropped, and says so; [`stall`] tells a
//! wire that is slow from one that is stuck.

pub mod address;
pub mod exchange;
pub mod losses;
pub mod stall;
pub mod table;

pub use address::Address;
pub use exchange::{Exchange, Port, Round, Wire};
pub use losses::{Loss, Losses};
pub use stall::Stall;
pub use table::{Destinations, Table};
