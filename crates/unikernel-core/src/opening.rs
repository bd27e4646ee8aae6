//! Recognises the frame that opens a TCP connection, before the network stack sees it.
//!
//! The stack has no backlog: it answers a SYN only if a socket listens at this very moment, and resets the connection if
//! none does. The library OS looks at each frame first, and makes a socket for the SYN or lets the frame be lost; the peer
//! then asks again.

use core::net::IpAddr;

use crate::frame::{self, u16_at};

/// The wish for a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Who wants it.
    pub from: IpAddr,
    /// The port at the other side.
    pub from_port: u16,
    /// The port at this side.
    pub to_port: u16,
}

impl Opening {
    /// What an Ethernet frame asks for: `None` if it is not the first segment of a TCP connection.
    ///
    /// Nothing else is checked, neither addresses nor checksums: the stack does that.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (from, PROTOCOL_TCP, segment) = frame::transport(frame)? else { return None };
        let opens = segment.get(TCP_FLAGS)? & (SYN | ACK | RST | FIN) == SYN;
        opens.then_some(Self { from, from_port: u16_at(segment, 0)?, to_port: u16_at(segment, 2)? })
    }
}

const PROTOCOL_TCP: u8 = 6;

/// RFC 9293, 3.1: the byte with the flags, and four of them.
const TCP_FLAGS: usize = 13;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn tcp(flags: u8) -> Vec<u8> {
        let mut segment = [0x30, 0x39, 0x01, 0xbb].to_vec();
        segment.resize(TCP_FLAGS, 0);
        segment.push(flags);
        segment.resize(20, 0);
        segment
    }

    fn over_ipv4(segment: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
        frame.extend(segment);
        change(&mut frame);
        frame
    }

    fn over_ipv6(segment: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        frame.extend(Ipv6Addr::LOCALHOST.octets());
        frame.extend([0; 16]);
        frame.extend(segment);
        frame
    }

    #[test]
    fn a_syn_is_recognised_in_both_protocols() {
        let expected = |from| Some(Opening { from, from_port: 12345, to_port: 443 });
        let ipv4 = over_ipv4(&tcp(SYN), |_| ());
        assert_eq!(Opening::of(&ipv4), expected(Ipv4Addr::new(10, 0, 2, 2).into()));
        assert_eq!(Opening::of(&over_ipv6(&tcp(SYN))), expected(Ipv6Addr::LOCALHOST.into()));
        let options = over_ipv4(&[&[1; 4], tcp(SYN).as_slice()].concat(), |frame| frame[14] = 0x46);
        assert_eq!(Opening::of(&options), expected(Ipv4Addr::new(10, 0, 2, 2).into()));
        let congestion_bits = over_ipv4(&tcp(SYN | 0xc0), |_| ());
        assert!(Opening::of(&congestion_bits).is_some());
    }

    #[test]
    fn nothing_else_is_an_opening() {
        for flags in [0, ACK, SYN | ACK, SYN | RST, SYN | FIN, FIN | ACK] {
            assert_eq!(Opening::of(&over_ipv4(&tcp(flags), |_| ())), None, "{flags}");
        }
        let changes: [(usize, u8); 5] = [(12, 0x09), (14, 0x65), (14, 0x44), (20, 0x20), (23, 17)];
        for (at, value) in changes {
            assert_eq!(Opening::of(&over_ipv4(&tcp(SYN), |frame| frame[at] = value)), None, "{at}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_is_none() {
        for frame in [over_ipv4(&tcp(SYN), |_| ()), over_ipv6(&tcp(SYN))] {
            let end = frame.len() - 20 + TCP_FLAGS;
            assert!((0..=end).all(|length| Opening::of(&frame[..length]).is_none()));
            assert!(Opening::of(&frame[..=end]).is_some());
        }
    }

    proptest! {
        #[test]
        fn no_frame_is_too_strange(frame in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Opening::of(&frame);
        }
    }
}
