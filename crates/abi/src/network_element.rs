//! The network protocol: an Ethernet frame per element.

#![forbid(unsafe_code)]

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::channel::Element;

/// Most bytes of a frame: header and payload, without the frame check sequence.
pub const MAX_FRAME: usize = 1514;

/// Offset of the frame's length, a `u16`; the frame itself is at offset 0.
pub const LENGTH: usize = MAX_FRAME;

/// An Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NetworkElement {
    data: [u8; MAX_FRAME],
    length: u16,
}

impl NetworkElement {
    /// An element with an empty frame.
    pub const EMPTY: Self = Self { data: [0; MAX_FRAME], length: 0 };

    /// An element with this frame; `None` if the frame is too long.
    #[must_use]
    pub fn new(frame: &[u8]) -> Option<Self> {
        let mut element = Self::EMPTY;
        element.length = u16::try_from(frame.len()).ok()?;
        for (to, from) in element.data.get_mut(..frame.len())?.iter_mut().zip(frame) {
            *to = *from;
        }
        Some(element)
    }

    /// The frame; `None` if the writer claims more bytes than there are.
    #[must_use]
    pub fn frame(&self) -> Option<&[u8]> {
        self.data.get(..usize::from(self.length))
    }
}

impl Element for NetworkElement {
    const PROTOCOL: u64 = 0x7ade_5c54_9b08_e814;
}

const _: () = assert!(size_of::<NetworkElement>() == 1516);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_round_trip() {
        for length in [0, 1, 60, MAX_FRAME] {
            let frame = vec![0xa5; length];
            assert_eq!(NetworkElement::new(&frame).unwrap().frame(), Some(frame.as_slice()));
        }
    }

    #[test]
    fn a_length_beyond_the_element_is_refused() {
        assert_eq!(NetworkElement::new(&[0; MAX_FRAME + 1]), None);
        let mut element = NetworkElement::EMPTY;
        element.length = MAX_FRAME as u16 + 1;
        assert_eq!(element.frame(), None);
    }
}
