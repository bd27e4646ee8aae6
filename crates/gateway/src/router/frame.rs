//! What a frame from a unikernel is, as far as the gateway cares: every length in it is checked once, here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Message,
    Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Somebody with this IPv4 address asks whose `target` is, or says that it is his own.
    Arp {
        /// Whether it is a question.
        asks: bool,
        /// Who asks or answers.
        sender: Ipv4Addr,
        /// The address in question.
        target: Ipv4Addr,
    },
    /// A packet.
    Packet(Packet<'a>),
}

/// A whole IP packet: no fragment, and without extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Whom it is from.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// What is in it.
    pub content: Content<'a>,
}

/// What is in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A segment of a TCP connection.
    Segment {
        /// Port of the sender.
        from: u16,
        /// Port of the receiver.
        to: u16,
        /// Whether it opens the connection: SYN, and neither ACK nor RST.
        opens: bool,
    },
    /// A UDP datagram.
    Datagram {
        /// Port of the sender.
        from: u16,
        /// Port of the receiver.
        to: u16,
        /// What it says.
        payload: &'a [u8],
    },
    /// A request for an echo.
    Echo,
    /// A question who has this address (RFC 4861, 4.3).
    Solicitation(Ipv6Addr),
    /// Somebody says that he has this address (RFC 4861, 4.4).
    Advertisement(Ipv6Addr),
    /// Something else.
    Other,
}

/// The sender's MAC address, and what the frame is; `None` if it is malformed, or nothing for a gateway.
#[must_use]
pub fn read(frame: &[u8]) -> Option<(EthernetAddress, Frame<'_>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let meaning = match frame.ethertype() {
        EthernetProtocol::Arp => arp(frame.payload())?,
        EthernetProtocol::Ipv4 => Frame::Packet(ipv4(frame.payload())?),
        EthernetProtocol::Ipv6 => Frame::Packet(ipv6(frame.payload())?),
        EthernetProtocol::Unknown(_) => return None,
    };
    Some((frame.src_addr(), meaning))
}

fn arp(bytes: &[u8]) -> Option<Frame<'static>> {
    let packet = ArpPacket::new_checked(bytes).ok()?;
    let ArpRepr::EthernetIpv4 { operation, source_protocol_addr, target_protocol_addr, .. } =
        ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    let asks = match operation {
        ArpOperation::Request => true,
        ArpOperation::Reply => false,
        ArpOperation::Unknown(_) => return None,
    };
    Some(Frame::Arp { asks, sender: source_protocol_addr, target: target_protocol_addr })
}

fn ipv4(bytes: &[u8]) -> Option<Packet<'_>> {
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    if packet.version() != 4 || packet.more_frags() || packet.frag_offset() != 0 {
        return None;
    }
    let bytes = bytes.get(..usize::from(packet.total_len()))?;
    let payload = bytes.get(usize::from(packet.header_len())..)?;
    let content = match packet.next_header() {
        IpProtocol::Tcp => segment(payload)?,
        IpProtocol::Udp => datagram(payload)?,
        IpProtocol::Icmp => match Icmpv4Packet::new_checked(payload).ok()?.msg_type() {
            Icmpv4Message::EchoRequest => Content::Echo,
            _ => Content::Other,
        },
        _ => Content::Other,
    };
    Some(Packet { bytes, source: packet.src_addr().into(), destination: packet.dst_addr().into(), content })
}

fn ipv6(bytes: &[u8]) -> Option<Packet<'_>> {
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    if packet.version() != 6 {
        return None;
    }
    let bytes = bytes.get(..packet.total_len())?;
    let payload = bytes.get(packet.header_len()..)?;
    let content = match packet.next_header() {
        IpProtocol::Tcp => segment(payload)?,
        IpProtocol::Udp => datagram(payload)?,
        IpProtocol::Icmpv6 => icmpv6(payload, packet.hop_limit())?,
        _ => Content::Other,
    };
    Some(Packet { bytes, source: packet.src_addr().into(), destination: packet.dst_addr().into(), content })
}

fn icmpv6(bytes: &[u8], hop_limit: u8) -> Option<Content<'_>> {
    let packet = Icmpv6Packet::new_checked(bytes).ok()?;
    // RFC 4861, 7.1: what has crossed a router says nothing about neighbours.
    let is_near = hop_limit == 255;
    let target = || packet_address(bytes, NEIGHBOUR_TARGET);
    Some(match packet.msg_type() {
        Icmpv6Message::EchoRequest => Content::Echo,
        Icmpv6Message::NeighborSolicit if is_near => Content::Solicitation(target()?),
        Icmpv6Message::NeighborAdvert if is_near => Content::Advertisement(target()?),
        _ => Content::Other,
    })
}

fn packet_address(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets))
}

fn segment(bytes: &[u8]) -> Option<Content<'_>> {
    let packet = TcpPacket::new_checked(bytes).ok()?;
    let opens = packet.syn() && !packet.ack() && !packet.rst();
    Some(Content::Segment { from: packet.src_port(), to: packet.dst_port(), opens })
}

fn datagram(bytes: &[u8]) -> Option<Content<'_>> {
    let packet = UdpPacket::new_checked(bytes).ok()?;
    let payload = bytes.get(UDP_HEADER..usize::from(packet.len()))?;
    Some(Content::Datagram { from: packet.src_port(), to: packet.dst_port(), payload })
}

/// Where a neighbour's solicitation or advertisement has the address (RFC 4861, 4.3 and 4.4).
const NEIGHBOUR_TARGET: usize = 8;
/// Bytes of a datagram's header (RFC 768).
const UDP_HEADER: usize = 8;
