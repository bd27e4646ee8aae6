//! The configuration of the network driver: its device, and the ports of its switch.

#![forbid(unsafe_code)]

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::MAX_NAME;
use crate::plan;

/// First eight bytes: `PALNICC1`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PALNICC1");
/// Most ports of a switch.
pub const MAX_PORTS: usize = 32;
/// Bytes of a port's device name: the longest name of a network device that has channels, and a NUL.
pub const MAX_DEVICE_NAME: usize = 60;

/// The beginning of the configuration; the ports follow. Addresses are the driver's guest addresses, but for the one that
/// says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// Number of ports.
    pub ports: u32,
    /// Source event that lets the device reach memory.
    pub start_event: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The device's configuration page (one page, read only).
    pub device_config: u64,
    /// Its base address registers: where each is mapped, or 0.
    pub bars: [u64; 6],
    /// Bytes of each.
    pub bar_sizes: [u64; 6],
    /// Memory shared with the device.
    pub dma: u64,
    /// Bytes of it.
    pub dma_size: u64,
    /// The address by which the device reaches it.
    pub dma_address: u64,
}

/// A port of the switch: a network device of a unikernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Port {
    /// Name of the unikernel, padded with NUL.
    pub subject: [u8; MAX_NAME + 1],
    /// Name of its network device, padded with NUL.
    pub device: [u8; MAX_DEVICE_NAME],
    /// Source event that wakes the unikernel.
    pub ready_event: u8,
    /// 1 if the unikernel goes on after it was overrun; else the writer must never let it be.
    pub recovers: u8,
    /// Zero.
    pub reserved: u16,
    /// The channel that the unikernel reads: where the driver writes.
    pub input: u64,
    /// Bytes of it.
    pub input_size: u64,
    /// The channel that the unikernel writes: where the driver reads.
    pub output: u64,
    /// Bytes of it.
    pub output_size: u64,
}

impl Port {
    /// Name of the unikernel, without its padding.
    #[must_use]
    pub fn subject(&self) -> &str {
        plan::name(&self.subject)
    }

    /// Name of its network device, without its padding.
    #[must_use]
    pub fn device(&self) -> &str {
        plan::name(&self.device)
    }
}

/// Bytes of a configuration with this many ports.
#[must_use]
pub const fn size(ports: usize) -> usize {
    size_of::<Header>() + ports * size_of::<Port>()
}

/// The header and the ports of a configuration; `None` if these bytes are none.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(&Header, &[Port])> {
    let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
    let count = usize::try_from(header.ports).ok()?;
    if header.magic != MAGIC || count > MAX_PORTS {
        return None;
    }
    let (ports, _) = <[Port]>::ref_from_prefix_with_elems(rest, count).ok()?;
    Some((header, ports))
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        let mut header = Header::new_zeroed();
        (header.magic, header.ports, header.dma) = (MAGIC, 1, 0xf_a000_0000);
        let mut port = Port::new_zeroed();
        port.subject = plan::padded("website");
        port.device = plan::padded("service");
        let bytes = [header.as_bytes(), port.as_bytes()].concat();
        assert_eq!(bytes.len(), size(1));
        let (read, ports) = parse(&bytes).unwrap();
        assert_eq!((read, ports), (&header, &[port][..]));
        assert_eq!((ports[0].subject(), ports[0].device()), ("website", "service"));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let mut header = Header::new_zeroed();
        assert!(parse(header.as_bytes()).is_none(), "no magic");
        (header.magic, header.ports) = (MAGIC, 1);
        assert!(parse(header.as_bytes()).is_none(), "cut off");
        header.ports = u32::MAX;
        assert!(parse(header.as_bytes()).is_none(), "too many ports");
    }
}
