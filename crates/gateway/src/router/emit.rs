//! Frames that the gateway makes itself.
//!
//! Each function writes into a buffer of the longest frame and returns the frame's length; `None` if it does not fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use palisade_abi::network_element::MAX_FRAME;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4DstUnreachable,
    Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr, Ipv4Packet,
    Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, UdpPacket,
};

/// A frame to be.
pub(super) type Buffer = [u8; MAX_FRAME];

/// Whom a frame is from and for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: EthernetAddress,
    pub(super) destination: EthernetAddress,
}

/// Completes a frame whose IP packet of `length` bytes is in the buffer already, at [`ETHERNET_HEADER`].
pub(super) fn packet(buffer: &mut Buffer, ends: Ends, length: usize) -> Option<usize> {
    let protocol = match buffer[ETHERNET_HEADER] >> 4 {
        6 => EthernetProtocol::Ipv6,
        _ => EthernetProtocol::Ipv4,
    };
    header(buffer, ends, protocol);
    Some(ETHERNET_HEADER + length).filter(|length| *length <= MAX_FRAME)
}

/// A question or an answer by ARP.
pub(super) fn arp(
    buffer: &mut Buffer,
    ends: Ends,
    operation: ArpOperation,
    sender: Ipv4Addr,
    target: Ipv4Addr,
) -> Option<usize> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: ends.source,
        source_protocol_addr: sender,
        target_hardware_addr: ends.destination,
        target_protocol_addr: target,
    };
    header(buffer, ends, EthernetProtocol::Arp);
    let bytes = buffer.get_mut(ETHERNET_HEADER..ETHERNET_HEADER + repr.buffer_len())?;
    repr.emit(&mut ArpPacket::new_unchecked(bytes));
    Some(ETHERNET_HEADER + repr.buffer_len())
}

/// The question who has an IPv6 address, to the group that its owner listens to (RFC 4861, 4.3).
pub(super) fn solicitation(
    buffer: &mut Buffer,
    source: EthernetAddress,
    from: Ipv6Addr,
    target: Ipv6Addr,
) -> Option<usize> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let destination = EthernetAddress([0x33, 0x33, 0xff, a, b, c]);
    let repr = NdiscRepr::NeighborSolicit { target_addr: target, lladdr: Some(source.into()) };
    neighbour(buffer, Ends { source, destination }, from, group, repr)
}

/// The answer to it.
pub(super) fn advertisement(buffer: &mut Buffer, ends: Ends, own: Ipv6Addr, to: Ipv6Addr) -> Option<usize> {
    let flags = NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
    let repr = NdiscRepr::NeighborAdvert { flags, target_addr: own, lladdr: Some(ends.source.into()) };
    neighbour(buffer, ends, own, to, repr)
}

/// Where the payload of a datagram between addresses of this family begins in its frame.
pub(super) const fn datagram_payload(address: IpAddr) -> usize {
    ETHERNET_HEADER + UDP_HEADER + if address.is_ipv4() { 20 } else { 40 }
}

/// Completes a frame whose payload of `length` bytes is in the buffer already, at [`datagram_payload`].
pub(super) fn datagram(
    buffer: &mut Buffer,
    ends: Ends,
    from: SocketAddr,
    to: SocketAddr,
    length: usize,
) -> Option<usize> {
    if from.is_ipv4() != to.is_ipv4() {
        return None;
    }
    let ip = IpRepr::new(from.ip().into(), to.ip().into(), IpProtocol::Udp, UDP_HEADER + length, HOP_LIMIT);
    let end = datagram_payload(to.ip()) + length;
    let checksums = ChecksumCapabilities::default();
    let bytes = buffer.get_mut(ETHERNET_HEADER..end)?;
    ip.emit(&mut *bytes, &checksums);
    let mut packet = UdpPacket::new_unchecked(bytes.get_mut(ip.header_len()..)?);
    packet.set_src_port(from.port());
    packet.set_dst_port(to.port());
    packet.set_len(u16::try_from(UDP_HEADER + length).ok()?);
    packet.fill_checksum(&ip.src_addr(), &ip.dst_addr());
    self::packet(buffer, ends, end - ETHERNET_HEADER)
}

/// The answer to `refused`, an IP packet that may not go where it wants to: "administratively prohibited" (RFC 1812, 5.2.7.1
/// and RFC 4443, 3.1). `own` is the router.
pub(super) fn prohibition(buffer: &mut Buffer, ends: Ends, own: IpAddr, refused: &[u8]) -> Option<usize> {
    let checksums = ChecksumCapabilities::default();
    let length = match own {
        IpAddr::V4(own) => {
            let packet = Ipv4Packet::new_checked(refused).ok()?;
            let header = Ipv4Repr::parse(&packet, &ChecksumCapabilities::ignored()).ok()?;
            let data = packet.payload().get(..packet.payload().len().min(MOST_RETURNED))?;
            let icmp =
                Icmpv4Repr::DstUnreachable { reason: Icmpv4DstUnreachable::CommProhibited, header, data };
            let (to, length) = (header.src_addr.into(), icmp.buffer_len());
            let ip = IpRepr::new(own.into(), to, IpProtocol::Icmp, length, HOP_LIMIT);
            let bytes = buffer.get_mut(ETHERNET_HEADER..ETHERNET_HEADER + ip.buffer_len())?;
            ip.emit(&mut *bytes, &checksums);
            let bytes = bytes.get_mut(ip.header_len()..)?;
            icmp.emit(&mut Icmpv4Packet::new_unchecked(bytes), &checksums);
            ip.buffer_len()
        }
        IpAddr::V6(own) => {
            let packet = Ipv6Packet::new_checked(refused).ok()?;
            let header = Ipv6Repr::parse(&packet).ok()?;
            let data = packet.payload().get(..packet.payload().len().min(MOST_RETURNED))?;
            let icmp =
                Icmpv6Repr::DstUnreachable { reason: Icmpv6DstUnreachable::AdminProhibit, header, data };
            icmpv6(buffer, own, header.src_addr, HOP_LIMIT, &icmp)?
        }
    };
    self::packet(buffer, ends, length)
}

fn neighbour(
    buffer: &mut Buffer,
    ends: Ends,
    from: Ipv6Addr,
    to: Ipv6Addr,
    repr: NdiscRepr<'_>,
) -> Option<usize> {
    // RFC 4861, 7.1: neighbours believe only what has crossed no router.
    let length = icmpv6(buffer, from, to, 255, &Icmpv6Repr::Ndisc(repr))?;
    packet(buffer, ends, length)
}

/// Writes a packet, and returns its length.
fn icmpv6(
    buffer: &mut Buffer,
    from: Ipv6Addr,
    to: Ipv6Addr,
    hop_limit: u8,
    repr: &Icmpv6Repr<'_>,
) -> Option<usize> {
    let ip = IpRepr::new(from.into(), to.into(), IpProtocol::Icmpv6, repr.buffer_len(), hop_limit);
    let checksums = ChecksumCapabilities::default();
    let bytes = buffer.get_mut(ETHERNET_HEADER..ETHERNET_HEADER + ip.buffer_len())?;
    ip.emit(&mut *bytes, &checksums);
    let bytes = bytes.get_mut(ip.header_len()..)?;
    repr.emit(&from, &to, &mut Icmpv6Packet::new_unchecked(bytes), &checksums);
    Some(ip.buffer_len())
}

fn header(buffer: &mut Buffer, ends: Ends, protocol: EthernetProtocol) {
    let mut frame = EthernetFrame::new_unchecked(buffer.as_mut_slice());
    frame.set_src_addr(ends.source);
    frame.set_dst_addr(ends.destination);
    frame.set_ethertype(protocol);
}

/// Bytes of a frame's header.
pub(super) const ETHERNET_HEADER: usize = 14;
/// Bytes of a datagram's header (RFC 768).
const UDP_HEADER: usize = 8;
/// What systems here usually begin with (RFC 1700, page 64).
const HOP_LIMIT: u8 = 64;
/// What comes back of a packet that may not leave: enough to recognise it by (RFC 792).
const MOST_RETURNED: usize = 64;
