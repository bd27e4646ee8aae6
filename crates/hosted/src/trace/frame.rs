//! What an Ethernet frame is, in a few words. Whoever wrote it is not trusted: what is not what it says it is, is named by what
//! is left.

use std::fmt::Write;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet,
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

/// Names protocols, addresses and ports: `IPv4 TCP 10.0.0.2:443 > 10.0.0.1:4711 SYN ACK, 0 bytes`.
pub(crate) fn describe(frame: &[u8]) -> String {
    let Ok(frame) = EthernetFrame::new_checked(frame) else { return "not an Ethernet frame".to_owned() };
    let payload = frame.payload();
    let known = match frame.ethertype() {
        EthernetProtocol::Arp => arp(payload),
        EthernetProtocol::Ipv4 => ipv4(payload),
        EthernetProtocol::Ipv6 => ipv6(payload),
        EthernetProtocol::Unknown(_) => None,
    };
    known.unwrap_or_else(|| format!("ethertype {:#06x}", u16::from(frame.ethertype())))
}

fn arp(payload: &[u8]) -> Option<String> {
    let packet = ArpPacket::new_checked(payload).ok()?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    Some(match operation {
        ArpOperation::Request => format!("ARP who has {target_protocol_addr}, asks {source_protocol_addr}"),
        ArpOperation::Reply => format!("ARP {source_protocol_addr} is at {source_hardware_addr}"),
        ArpOperation::Unknown(number) => format!("ARP operation {number}"),
    })
}

fn ipv4(payload: &[u8]) -> Option<String> {
    let packet = Ipv4Packet::new_checked(payload).ok()?;
    let (from, to) = (packet.src_addr(), packet.dst_addr());
    if packet.frag_offset() != 0 {
        return Some(format!("IPv4 {from} > {to} fragment at {}", packet.frag_offset()));
    }
    Some(inner("IPv4", packet.next_header(), packet.payload(), &from.to_string(), &to.to_string()))
}

fn ipv6(payload: &[u8]) -> Option<String> {
    let packet = Ipv6Packet::new_checked(payload).ok()?;
    let (from, to) = (format!("[{}]", packet.src_addr()), format!("[{}]", packet.dst_addr()));
    Some(inner("IPv6", packet.next_header(), packet.payload(), &from, &to))
}

fn inner(version: &str, protocol: IpProtocol, payload: &[u8], from: &str, to: &str) -> String {
    let known = match protocol {
        IpProtocol::Tcp => TcpPacket::new_checked(payload).ok().map(|packet| {
            let (source, destination) = (packet.src_port(), packet.dst_port());
            let mut text = format!("{version} TCP {from}:{source} > {to}:{destination}");
            for (is_set, name) in [
                (packet.syn(), " SYN"),
                (packet.fin(), " FIN"),
                (packet.rst(), " RST"),
                (packet.psh(), " PSH"),
                (packet.ack(), " ACK"),
            ] {
                text.push_str(if is_set { name } else { "" });
            }
            // A string takes all that is written.
            let _ = write!(text, ", {} bytes", packet.payload().len());
            text
        }),
        IpProtocol::Udp => UdpPacket::new_checked(payload).ok().map(|packet| {
            let (source, destination) = (packet.src_port(), packet.dst_port());
            let length = packet.payload().len();
            format!("{version} UDP {from}:{source} > {to}:{destination}, {length} bytes")
        }),
        IpProtocol::Icmp => Icmpv4Packet::new_checked(payload)
            .ok()
            .map(|packet| format!("{version} ICMP {from} > {to} {}", packet.msg_type())),
        IpProtocol::Icmpv6 => Icmpv6Packet::new_checked(payload)
            .ok()
            .map(|packet| format!("{version} ICMPv6 {from} > {to} {}", packet.msg_type())),
        _ => None,
    };
    known.unwrap_or_else(|| format!("{version} {from} > {to} protocol {}", u8::from(protocol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_named_by_what_they_carry() {
        for (frame, what) in [
            (
                hex(
                    "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002",
                ),
                "ARP who has 10.0.0.2, asks 10.0.0.1",
            ),
            (
                hex(
                    "020000000001 020000000002 0806 0001 0800 06 04 0002 020000000002 0a000002 020000000001 0a000001",
                ),
                "ARP 10.0.0.2 is at 02-00-00-00-00-02",
            ),
            (
                hex(&format!("{ETHERNET} 0800 45000028 00000000 40060000 0a000001 0a000002 {TCP}")),
                "IPv4 TCP 10.0.0.1:4711 > 10.0.0.2:443 SYN ACK, 0 bytes",
            ),
            (
                hex(&format!("{ETHERNET} 0800 45000028 00000002 40060000 0a000001 0a000002 {TCP}")),
                "IPv4 10.0.0.1 > 10.0.0.2 fragment at 16",
            ),
            (
                hex(&format!(
                    "{ETHERNET} 0800 4500001e 00000000 40110000 0a000001 0a000002 0035 1267 000a 0000 abcd"
                )),
                "IPv4 UDP 10.0.0.1:53 > 10.0.0.2:4711, 2 bytes",
            ),
            (
                hex(&format!(
                    "{ETHERNET} 0800 4500001c 00000000 40010000 0a000001 0a000002 08000000 00000000"
                )),
                "IPv4 ICMP 10.0.0.1 > 10.0.0.2 echo request",
            ),
            (
                hex(&format!("{ETHERNET} 86dd 60000000 0014 06 40 {V6} {TCP}")),
                "IPv6 TCP [fd00::1]:4711 > [fd00::2]:443 SYN ACK, 0 bytes",
            ),
            (hex(&format!("{ETHERNET} 88cc 0000")), "ethertype 0x88cc"),
            // Cut off, and with a protocol that nobody knows.
            (hex(&format!("{ETHERNET} 0800 4500")), "ethertype 0x0800"),
            (
                hex(&format!("{ETHERNET} 0800 45000014 00000000 40fd0000 0a000001 0a000002")),
                "IPv4 10.0.0.1 > 10.0.0.2 protocol 253",
            ),
            (hex("0200"), "not an Ethernet frame"),
        ] {
            assert_eq!(describe(&frame), what);
        }
    }

    #[test]
    fn no_frame_is_too_strange_to_be_named() {
        for payload in [
            format!("0800 45000028 00000000 40060000 0a000001 0a000002 {TCP}"),
            "0800 4500001c 00000000 40010000 0a000001 0a000002 08000000 00000000".to_owned(),
            format!("86dd 60000000 0014 06 40 {V6} {TCP}"),
            format!("86dd 60000000 0008 3a 40 {V6} 8700000000000000"),
            "0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002".to_owned(),
        ] {
            let frame = hex(&format!("{ETHERNET} {payload}"));
            for at in 0..frame.len() {
                assert!(!describe(&frame[..at]).is_empty());
                for value in [0, 1, 0x7f, 0xff] {
                    let mut changed = frame.clone();
                    changed[at] = value;
                    assert!(!describe(&changed).is_empty());
                }
            }
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    const ETHERNET: &str = "020000000002 020000000001";
    const TCP: &str = "1267 01bb 00000000 00000000 5012 0000 0000 0000";
    const V6: &str = "fd000000000000000000000000000001 fd000000000000000000000000000002";
}
