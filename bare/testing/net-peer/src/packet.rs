//! Ethernet, ARP, IPv4, ICMP and UDP, as far as this host speaks them: packets of one length, without options.

use core::fmt;
use core::str::FromStr;

use crate::host::Heard;

/// What this host says of its own accord.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Packet {
    /// An ARP request.
    WhoHas,
    /// A ping with this number.
    Ping(u16),
    /// A datagram with this number to the echo port.
    Echo(u16),
    /// A datagram that ends its receiver.
    End,
    /// A datagram to a port where nobody listens.
    Noise,
}

impl Packet {
    /// Writes the packet from one host to another into `frame`.
    pub(crate) fn write(self, frame: &mut [u8; LENGTH], from: (Ip, [u8; 6]), to: (Ip, [u8; 6])) {
        frame[0..6].copy_from_slice(&to.1);
        frame[6..12].copy_from_slice(&from.1);
        match self {
            Self::WhoHas => {
                set(frame, 12, ARP);
                // Ethernet, IPv4, their lengths of 6 and 4, request.
                frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
                frame[22..28].copy_from_slice(&from.1);
                frame[28..32].copy_from_slice(&from.0.0);
                frame[38..42].copy_from_slice(&to.0.0);
            }
            Self::Ping(number) => {
                write_ipv4(frame, ICMP, from.0, to.0);
                frame[34] = ECHO_REQUEST;
                set(frame, 40, number);
                let sum = checksum(&frame[34..]);
                set(frame, 36, sum);
            }
            Self::Echo(number) => {
                write_udp(frame, from.0, to.0, ECHO);
                set(frame, 42, number);
            }
            Self::End => write_udp(frame, from.0, to.0, END),
            Self::Noise => write_udp(frame, from.0, to.0, NOISE),
        }
    }
}

/// Turns a request to this host into its answer. `false` if it is none.
pub(crate) fn answer(frame: &mut [u8], own: Ip, mac: [u8; 6]) -> bool {
    let Some(head) = frame.first_chunk_mut::<HEADERS>() else { return false };
    match (get(head, 12), head[23], get(head, 36)) {
        (ARP, ..) if get(head, 20) == 1 && head[38..42] == own.0 => {
            set(head, 20, 2);
            head.copy_within(22..32, 32);
            head[22..28].copy_from_slice(&mac);
            head[28..32].copy_from_slice(&own.0);
        }
        (IPV4, ICMP, _) if head[30..34] == own.0 && head[34] == ECHO_REQUEST => {
            head[34] = 0;
            // The sum is of ones' complements: what the type loses, the sum gains (RFC 1624).
            let (sum, carry) = get(head, 36).overflowing_add(u16::from(ECHO_REQUEST) << 8);
            set(head, 36, sum + u16::from(carry));
            head.copy_within(26..30, 30);
            head[26..30].copy_from_slice(&own.0);
        }
        (IPV4, UDP, ECHO) if head[30..34] == own.0 => {
            let (from, to) = (get(head, 34), get(head, 36));
            set(head, 34, to);
            set(head, 36, from);
            head.copy_within(26..30, 30);
            head[26..30].copy_from_slice(&own.0);
        }
        _ => return false,
    }
    head.copy_within(6..12, 0);
    head[6..12].copy_from_slice(&mac);
    true
}

/// What a frame to this host says that is no request.
pub(crate) fn read(frame: &[u8], own: Ip) -> Option<Heard> {
    let head = frame.first_chunk::<HEADERS>()?;
    if get(head, 12) == ARP && get(head, 20) == 2 && head[38..42] == own.0 {
        return Some(Heard::Mac(Ip(*head[28..].first_chunk()?), *head[22..].first_chunk()?));
    }
    let number = || frame.get(42..).and_then(|rest| rest.first_chunk()).map(|n| u16::from_be_bytes(*n));
    let to_this_host = get(head, 12) == IPV4 && head[30..34] == own.0;
    match (head[23], head[34], get(head, 34), get(head, 36)) {
        _ if !to_this_host => None,
        (ICMP, 0, ..) => Some(Heard::Pong(get(head, 40))),
        (UDP, _, ECHO, _) => number().map(Heard::Echo),
        (UDP, _, _, END) => Some(Heard::End),
        _ => None,
    }
}

fn write_ipv4(frame: &mut [u8; LENGTH], protocol: u8, from: Ip, to: Ip) {
    set(frame, 12, IPV4);
    frame[14] = 0x45;
    set(frame, 16, (LENGTH - 14) as u16);
    frame[22] = 64;
    frame[23] = protocol;
    frame[26..30].copy_from_slice(&from.0);
    frame[30..34].copy_from_slice(&to.0);
    let sum = checksum(&frame[14..34]);
    set(frame, 24, sum);
}

/// A datagram without a checksum, which IPv4 allows.
fn write_udp(frame: &mut [u8; LENGTH], from: Ip, to: Ip, port: u16) {
    write_ipv4(frame, UDP, from, to);
    set(frame, 34, OWN_PORT);
    set(frame, 36, port);
    set(frame, 38, (LENGTH - 34) as u16);
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn get(frame: &[u8; HEADERS], offset: usize) -> u16 {
    u16::from_be_bytes([frame[offset], frame[offset + 1]])
}

fn set(frame: &mut [u8], offset: usize, value: u16) {
    frame[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
}

/// An IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ip([u8; 4]);

impl FromStr for Ip {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let mut next = || parts.next().flatten().ok_or(());
        Ok(Self([next()?, next()?, next()?, next()?]))
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

/// Bytes of every packet's frame: the least that Ethernet has, without the check sequence.
pub(crate) const LENGTH: usize = 60;
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// Bytes of the headers of Ethernet, IPv4 and UDP, and of an ARP packet.
const HEADERS: usize = 42;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const ICMP: u8 = 1;
const UDP: u8 = 17;
/// ICMP type of a ping; that of its answer is 0.
const ECHO_REQUEST: u8 = 8;
/// Ports.
const ECHO: u16 = 7;
const END: u16 = 9;
const NOISE: u16 = 11;
const OWN_PORT: u16 = 4000;
