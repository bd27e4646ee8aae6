//! Frames, byte by byte: right ones, to be damaged.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

pub(crate) type Mac = [u8; 6];

pub(crate) const EVERYBODY: Mac = [0xff; 6];

/// Where a packet comes from and where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) from: (Mac, SocketAddrV4),
    pub(crate) to: (Mac, SocketAddrV4),
}

/// What a TCP segment says besides its ports.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Segment<'a> {
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    /// A multiple of four bytes, at most 40.
    pub(crate) options: &'a [u8],
    pub(crate) data: &'a [u8],
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

impl Way {
    /// From another address and port.
    pub(crate) fn with_source(mut self, from: SocketAddrV4) -> Self {
        self.from.1 = from;
        self
    }

    pub(crate) fn tcp(&self, segment: &Segment<'_>) -> Vec<u8> {
        let words = 5 + u8::try_from(segment.options.len() / 4).expect("options are short");
        let mut bytes = [self.from.1.port().to_be_bytes(), self.to.1.port().to_be_bytes()].concat();
        bytes.extend(segment.sequence.to_be_bytes());
        bytes.extend(segment.acknowledged.to_be_bytes());
        bytes.extend([words << 4, segment.flags, 0x20, 0, 0, 0, 0, 0]);
        bytes.extend([segment.options, segment.data].concat());
        self.fill_checksum(&mut bytes, TCP, 16);
        self.ipv4(TCP, &bytes)
    }

    pub(crate) fn udp(&self, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len() + 8).expect("a datagram is short");
        let mut bytes = [self.from.1.port().to_be_bytes(), self.to.1.port().to_be_bytes()].concat();
        bytes.extend([length.to_be_bytes(), [0, 0]].concat());
        bytes.extend(data);
        self.fill_checksum(&mut bytes, UDP, 6);
        self.ipv4(UDP, &bytes)
    }

    /// A message of ICMP, from its type on; its checksum is filled in.
    pub(crate) fn icmp(&self, message: &[u8]) -> Vec<u8> {
        let mut bytes = message.to_vec();
        bytes[2..4].copy_from_slice(&[0, 0]);
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ipv4(ICMP, &bytes)
    }

    pub(crate) fn ipv4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 20).expect("a packet is short");
        let mut header = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 1, 0, 0, 64, protocol, 0, 0]].concat();
        header.extend([self.from.1.ip().octets(), self.to.1.ip().octets()].concat());
        header.extend(payload);
        let mut frame = self.ethernet(0x0800, &header);
        fill_ipv4_checksum(&mut frame);
        frame
    }

    pub(crate) fn ethernet(&self, kind: u16, payload: &[u8]) -> Vec<u8> {
        [&self.to.0[..], &self.from.0, &kind.to_be_bytes(), payload].concat()
    }

    /// ARP: 1 asks, 2 answers. `owner` of an address is said to be at `at`.
    pub(crate) fn arp(&self, operation: u16, at: Mac, owner: Ipv4Addr, asked: Ipv4Addr) -> Vec<u8> {
        let mut packet = vec![0, 1, 8, 0, 6, 4];
        packet.extend(operation.to_be_bytes());
        packet.extend([&at[..], &owner.octets(), &self.to.0, &asked.octets()].concat());
        self.ethernet(0x0806, &packet)
    }

    /// A message of ICMPv6 between these addresses, from its type on; its checksum is filled in.
    pub(crate) fn icmpv6(&self, from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        message[2..4].copy_from_slice(&[0, 0]);
        let length = u32::try_from(message.len()).expect("a message is short");
        let pseudo = [&from.octets()[..], &to.octets(), &length.to_be_bytes(), &[0, 0, 0, ICMPV6]].concat();
        let sum = checksum(&[pseudo, message.clone()].concat());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.ipv6(from, to, ICMPV6, &message)
    }

    pub(crate) fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("a packet is short").to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 255];
        packet.extend([&from.octets()[..], &to.octets(), payload].concat());
        self.ethernet(0x86dd, &packet)
    }

    fn fill_checksum(&self, segment: &mut [u8], protocol: u8, at: usize) {
        let length = u16::try_from(segment.len()).expect("a segment is short").to_be_bytes();
        let mut pseudo = [self.from.1.ip().octets(), self.to.1.ip().octets()].concat();
        pseudo.extend([0, protocol, length[0], length[1]]);
        let sum = checksum(&[&pseudo, &*segment].concat());
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Makes the checksum of an IPv4 header right after it was changed, if the header is there as it says.
pub(crate) fn fill_ipv4_checksum(frame: &mut [u8]) {
    let Some(first) = frame.get(14) else { return };
    let end = 14 + usize::from(first & 0xf) * 4;
    let Some(header) = frame.get_mut(14..end).filter(|header| header.len() >= 20) else { return };
    header[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) as u16).wrapping_add((folded >> 16) as u16)
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
