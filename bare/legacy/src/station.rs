//! A small server on the network device `service`: it answers ARP requests, pings, and UDP datagrams to port 7 (echo). A
//! datagram to port 9 ends it.

use crate::channel::{Found, Reader, Writer};
use crate::console::Console;
use crate::info::{self, SCHEDULING_INFO, SUBJECT_INFO, load, load_unaligned};
use crate::probe::{pause, say};

/// Serves the IPv4 address `address`.
pub(crate) fn serve(console: &mut Console, address: &str) {
    let channels = (info::memory("service|in"), info::memory("service|out"));
    let ((Some((input, _)), Some((output, length))), Some(address)) = (channels, parse(address)) else {
        return say(console, format_args!("no network, or no address"));
    };
    let mut reader = Reader::new(input);
    let writer = Writer::start(output, length, PROTOCOL, ELEMENT as u64);
    let station = Station { mac: own_mac(), address };
    say(console, format_args!("serving as {:02x?}", station.mac));
    let (mut element, mut received, mut answered, mut overruns) = ([0; ELEMENT], 0_u64, 0_u64, 0_u64);
    loop {
        while !reader.is_ready() {
            pause();
        }
        match reader.read(&mut element) {
            Found::Element => (received, overruns) = (received + 1, 0),
            Found::Nothing => continue,
            // If the writer has not just begun a new epoch, there is always something to read now, and it is never read.
            Found::Overrun => {
                overruns += 1;
                if overruns == 1000 {
                    say(console, format_args!("overrun after {received} frames: the network is dead"));
                }
                continue;
            }
        }
        let length = usize::from(u16::from_le_bytes([element[1514], element[1515]]));
        match station.answer(&mut element[..length]) {
            Answer::None => {}
            Answer::Reply => {
                answered += 1;
                writer.write(&element);
                if answered.is_power_of_two() || answered.is_multiple_of(1000) {
                    say(console, format_args!("answered {answered} of {received} frames"));
                }
            }
            Answer::End => return say(console, format_args!("told to end after {answered} answers")),
        }
    }
}

struct Station {
    mac: [u8; 6],
    address: [u8; 4],
}

enum Answer {
    None,
    Reply,
    End,
}

impl Station {
    /// Turns a request into its reply.
    fn answer(&self, frame: &mut [u8]) -> Answer {
        if frame.len() < 42 || (frame[..6] != self.mac && frame[..6] != [0xff; 6]) {
            return Answer::None;
        }
        let answer = match (u16(frame, 12), frame[23], u16(frame, 36)) {
            (ARP, ..) if u16(frame, 20) == 1 && frame[38..42] == self.address => {
                frame[21] = 2;
                frame.copy_within(22..32, 32);
                frame[22..28].copy_from_slice(&self.mac);
                frame[28..32].copy_from_slice(&self.address);
                Answer::Reply
            }
            (IPV4, ICMP, _) if frame[30..34] == self.address && frame[34] == 8 => {
                let length = frame.len().min(14 + usize::from(u16(frame, 16)));
                frame[34] = 0;
                frame[36..38].fill(0);
                let sum = checksum(&frame[34..length]);
                frame[36..38].copy_from_slice(&sum.to_be_bytes());
                self.turn_round(frame)
            }
            (IPV4, UDP, ECHO) if frame[30..34] == self.address => {
                let (from, to) = (u16(frame, 34), u16(frame, 36));
                frame[34..36].copy_from_slice(&to.to_be_bytes());
                frame[36..38].copy_from_slice(&from.to_be_bytes());
                self.turn_round(frame)
            }
            (IPV4, UDP, END) if frame[30..34] == self.address => Answer::End,
            _ => Answer::None,
        };
        frame.copy_within(6..12, 0);
        frame[6..12].copy_from_slice(&self.mac);
        answer
    }

    /// Exchanges the IPv4 addresses, which changes no checksum.
    fn turn_round(&self, frame: &mut [u8]) -> Answer {
        frame.copy_within(26..30, 30);
        frame[26..30].copy_from_slice(&self.address);
        Answer::Reply
    }
}

/// Something of the subject's name and of the time, as a locally administered address.
fn own_mac() -> [u8; 6] {
    let mut mac: [u8; 6] = load_unaligned(SUBJECT_INFO + 13);
    for (byte, time) in mac.iter_mut().zip(load(SCHEDULING_INFO).to_le_bytes()) {
        *byte ^= time;
    }
    mac[0] = mac[0] & 0xfe | 2;
    mac
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0_u32, |sum, pair| {
        sum + (u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |byte| u32::from(*byte)))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn parse(address: &str) -> Option<[u8; 4]> {
    let mut parts = address.split('.').map(|part| part.parse().ok());
    let mut next = || parts.next().flatten();
    Some([next()?, next()?, next()?, next()?])
}

/// The number at `offset`, in network order.
fn u16(frame: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([frame[offset], frame[offset + 1]])
}

const PROTOCOL: u64 = 0x7ade_5c54_9b08_e814;
const ELEMENT: usize = 1516;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const ICMP: u8 = 1;
const UDP: u8 = 17;
/// Ports.
const ECHO: u16 = 7;
const END: u16 = 9;
