//! What is behind the IP header of a frame, as far as the library OS looks before the network stack does.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The sender, the protocol, and the rest of an Ethernet frame from the protocol's header on. `None` if it is no whole IP
/// packet of the plain kind: no fragment, no IPv6 extension header.
///
/// Nothing else is checked, neither addresses nor checksums: the stack does that.
pub(crate) fn transport(frame: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    match u16_at(frame, ETHER_TYPE)? {
        ETHER_TYPE_IPV4 => ipv4(frame.get(ETHERNET_HEADER..)?),
        ETHER_TYPE_IPV6 => ipv6(frame.get(ETHERNET_HEADER..)?),
        _ => None,
    }
}

/// The number in the two bytes at this place.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// RFC 791, 3.1.
fn ipv4(packet: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let whole = u16_at(packet, 6)? & 0x3fff == 0;
    let source = packet.get(12..16)?.first_chunk::<4>()?;
    let plain = first >> 4 == 4 && header >= 20 && whole;
    plain.then_some((Ipv4Addr::from(*source).into(), *packet.get(9)?, packet.get(header..)?))
}

/// RFC 8200, 3.
fn ipv6(packet: &[u8]) -> Option<(IpAddr, u8, &[u8])> {
    let source = packet.get(8..24)?.first_chunk::<16>()?;
    let plain = *packet.first()? >> 4 == 6;
    plain.then_some((Ipv6Addr::from(*source).into(), *packet.get(6)?, packet.get(40..)?))
}

const ETHER_TYPE: usize = 12;
const ETHERNET_HEADER: usize = 14;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
