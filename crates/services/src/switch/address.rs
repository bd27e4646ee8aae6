//! MAC addresses.

use crate::text::Text;

/// A MAC address, in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub [u8; 6]);

impl Address {
    /// Whether it stands for more than one station: multicast and broadcast (IEEE 802, 8.2.2).
    #[must_use]
    pub fn is_group(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether it can be a station's own.
    #[must_use]
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }

    /// Whether it is one of those that never cross a bridge: pause frames, spanning tree, port authentication, discovery
    /// (IEEE 802.1Q, table 8-1).
    #[must_use]
    pub fn is_link_local(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0, 0, 0x00..=0x0f])
    }

    /// `52:54:00:12:34:56`.
    #[must_use]
    pub fn text(self) -> Text<17> {
        let mut text = Text::new();
        for (index, byte) in self.0.into_iter().enumerate() {
            if index > 0 {
                text.push(b":");
            }
            text.push(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        text
    }
}

/// The two addresses that a frame begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who it is for.
    pub destination: Address,
    /// Whom it is from.
    pub source: Address,
}

impl Ends {
    /// The addresses of a frame; `None` if it is too short to have a header.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l, _, _] = *frame.first_chunk::<HEADER>()?;
        Some(Self { destination: Address([a, b, c, d, e, f]), source: Address([g, h, i, j, k, l]) })
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Bytes of a frame's header: two addresses and the type.
pub const HEADER: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_people_write_it() {
        assert_eq!(Address([0x52, 0x54, 0, 0x12, 0xab, 0xff]).text().as_str(), "52:54:00:12:ab:ff");
    }

    #[test]
    fn stations_and_groups_are_told_apart() {
        assert!(Address([2, 0, 0, 0, 0, 1]).is_station());
        assert!(!Address([0; 6]).is_station());
        assert!(!Address([0xff; 6]).is_station() && Address([0xff; 6]).is_group());
        assert!(!Address([0x33, 0x33, 0, 0, 0, 1]).is_station());
    }

    #[test]
    fn the_bridge_group_addresses_are_link_local_and_no_others() {
        assert!(Address([0x01, 0x80, 0xc2, 0, 0, 0x01]).is_link_local());
        assert!(Address([0x01, 0x80, 0xc2, 0, 0, 0x0e]).is_link_local());
        assert!(!Address([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local());
        assert!(!Address([0xff; 6]).is_link_local());
    }

    #[test]
    fn the_ends_of_a_frame_are_its_first_twelve_bytes() {
        let frame: Vec<u8> = (0..HEADER as u8).collect();
        let ends = Ends::of(&frame).unwrap();
        assert_eq!(ends.destination, Address([0, 1, 2, 3, 4, 5]));
        assert_eq!(ends.source, Address([6, 7, 8, 9, 10, 11]));
        assert_eq!(Ends::of(&frame[1..]), None);
    }
}
