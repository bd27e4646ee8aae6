//! Datagrams, before the network stack sees them: those for ports where nobody listens are not all worth an answer.
//!
//! The stack answers each with a message that says so (RFC 1122, 4.1.3.1), which costs more than the datagram did. Such
//! messages have to be limited (RFC 1812, 4.3.2.8, and RFC 4443, 2.4): what goes beyond is lost before anybody works on it.

use crate::frame::{self, u16_at};

/// A UDP datagram in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// The port it comes from.
    pub from_port: u16,
    /// The port it is for.
    pub to_port: u16,
}

impl Datagram {
    /// The datagram in an Ethernet frame; `None` if there is none, or not a whole one.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let (_, PROTOCOL_UDP, datagram) = frame::transport(frame)? else { return None };
        Some(Self { from_port: u16_at(datagram, 0)?, to_port: u16_at(datagram, 2)? })
    }
}

/// How many datagrams for ports where nobody listens are answered: a hundred a second, and after a quiet time as many at once.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Microseconds; each answer costs some.
    saved: u64,
    last: u64,
}

impl Refusals {
    /// Whether one more is answered at `now`, in microseconds of any clock that does not go back.
    pub fn admits(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.last);
        self.last = now;
        self.saved = self.saved.saturating_add(passed).min(SECOND);
        let admitted = self.saved >= COST;
        if admitted {
            self.saved -= COST;
        }
        admitted
    }
}

/// Answers in a second, and what each costs.
const PER_SECOND: u64 = 100;
const SECOND: u64 = 1_000_000;
const COST: u64 = SECOND / PER_SECOND;
const PROTOCOL_UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn udp_over_ipv4() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
        frame.extend([0, 53, 0x30, 0x39, 0, 8, 0, 0]);
        frame
    }

    fn udp_over_ipv6() -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
        frame.extend([0; 32]);
        frame.extend([0, 53, 0x30, 0x39, 0, 8, 0, 0]);
        frame
    }

    #[test]
    fn a_datagram_is_found_over_both_versions_of_ip() {
        let datagram = Some(Datagram { from_port: 53, to_port: 12345 });
        assert_eq!(Datagram::of(&udp_over_ipv4()), datagram);
        assert_eq!(Datagram::of(&udp_over_ipv6()), datagram);
    }

    #[test]
    fn a_fragment_and_another_protocol_are_no_datagram() {
        for (at, value) in [(20, 0x20), (21, 1), (23, 6)] {
            let mut frame = udp_over_ipv4();
            frame[at] = value;
            assert_eq!(Datagram::of(&frame), None);
        }
    }

    #[test]
    fn a_second_admits_so_many_and_a_quiet_time_no_more_at_once() {
        let mut refusals = Refusals::default();
        let in_the_second = |refusals: &mut Refusals, second: u64| {
            (0..SECOND).step_by(100).filter(|at| refusals.admits(second * SECOND + at)).count() as u64
        };
        assert_eq!(in_the_second(&mut refusals, 1), PER_SECOND * 2 - 1);
        assert_eq!(in_the_second(&mut refusals, 2), PER_SECOND);
        let after_an_hour = 3600 * SECOND;
        assert_eq!((0..1000).filter(|_| refusals.admits(after_an_hour)).count() as u64, PER_SECOND);
    }

    proptest! {
        #[test]
        fn no_frame_is_too_odd_to_look_at(frame in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Datagram::of(&frame);
        }
    }
}
