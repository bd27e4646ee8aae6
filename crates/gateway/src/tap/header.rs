//! What precedes a frame on a tap device with `IFF_VNET_HDR`: `struct virtio_net_hdr` (linux/virtio_net.h), in the byte order
//! of this computer.

/// What one side leaves to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    /// The checksum to be completed.
    pub(super) partial: Option<Partial>,
    /// What the frame is to be cut into.
    pub(super) segments: Option<Cut>,
}

/// A checksum that has only the sum of the pseudo-header in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partial {
    /// Where in the frame that begins which it covers, to the frame's end.
    pub(super) start: u16,
    /// Where it is, from there.
    pub(super) offset: u16,
}

/// A frame that stands for several of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Whether it is one of IPv4, else one of IPv6.
    pub(super) is_ipv4: bool,
    /// Bytes of its headers.
    pub(super) headers: u16,
    /// Bytes of payload in each of them but the last.
    pub(super) size: u16,
}

impl Header {
    /// The header in these bytes; `None` if it asks for what was not agreed on.
    pub(super) fn read(bytes: [u8; LENGTH]) -> Option<Self> {
        let [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1] = bytes;
        let partial = Partial { start: u16::from_ne_bytes([c0, c1]), offset: u16::from_ne_bytes([o0, o1]) };
        let cut = |is_ipv4| {
            let (headers, size) = (u16::from_ne_bytes([h0, h1]), u16::from_ne_bytes([s0, s1]));
            Some(Cut { is_ipv4, headers, size }).filter(|_| size > 0)
        };
        let segments = match kind {
            NOT_CUT => None,
            TCP_IPV4 => Some(cut(true)?),
            TCP_IPV6 => Some(cut(false)?),
            _ => return None,
        };
        Some(Self { partial: Some(partial).filter(|_| flags & NEEDS_CHECKSUM != 0), segments })
    }

    /// The bytes of it.
    pub(super) fn bytes(self) -> [u8; LENGTH] {
        let (flags, partial) = match self.partial {
            Some(partial) => (NEEDS_CHECKSUM, partial),
            None => (0, Partial { start: 0, offset: 0 }),
        };
        let (kind, headers, size) = match self.segments {
            Some(Cut { is_ipv4, headers, size }) => {
                (if is_ipv4 { TCP_IPV4 } else { TCP_IPV6 }, headers, size)
            }
            None => (NOT_CUT, 0, 0),
        };
        let ([h0, h1], [s0, s1]) = (headers.to_ne_bytes(), size.to_ne_bytes());
        let ([c0, c1], [o0, o1]) = (partial.start.to_ne_bytes(), partial.offset.to_ne_bytes());
        [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1]
    }
}

/// Bytes of it (`struct virtio_net_hdr`, which has no number of buffers).
pub(super) const LENGTH: usize = 10;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CHECKSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_NONE`, `VIRTIO_NET_HDR_GSO_TCPV4` and `VIRTIO_NET_HDR_GSO_TCPV6`.
const NOT_CUT: u8 = 0;
const TCP_IPV4: u8 = 1;
const TCP_IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        for partial in [None, Some(Partial { start: 34, offset: 16 })] {
            for segments in [
                None,
                Some(Cut { is_ipv4: true, headers: 54, size: 1460 }),
                Some(Cut { is_ipv4: false, headers: 74, size: 1440 }),
            ] {
                let header = Header { partial, segments };
                assert_eq!(Header::read(header.bytes()), Some(header));
            }
        }
        assert_eq!(Header::default().bytes(), [0; LENGTH]);
    }

    #[test]
    fn what_was_not_agreed_on_is_refused() {
        // Fragments of UDP, and segments without a size.
        assert_eq!(Header::read([1, 3, 0, 0, 1, 1, 0, 0, 0, 0]), None);
        assert_eq!(Header::read([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
