//! Network devices.

use crate::NoSuchDevice;

/// A network device. This version connects none.
#[derive(Debug)]
pub enum Network {}

/// Opens the network device with this name in the manifest.
///
/// # Errors
///
/// Always, in this version.
pub fn acquire(_name: &str) -> Result<Network, NoSuchDevice> {
    Err(NoSuchDevice)
}
