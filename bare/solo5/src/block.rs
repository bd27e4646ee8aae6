//! Block devices.

use crate::NoSuchDevice;

/// A block device. This version connects none.
#[derive(Debug)]
pub enum Block {}

/// Opens the block device with this name in the manifest.
///
/// # Errors
///
/// Always, in this version.
pub fn acquire(_name: &str) -> Result<Block, NoSuchDevice> {
    Err(NoSuchDevice)
}
