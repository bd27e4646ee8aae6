//! A frame with a segment of TCP: where its headers are, and what has to change in them when segments are cut or joined.

use super::checksum;

/// Where the headers are. All of it is inside the frame that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) is_ipv4: bool,
    /// Where IP's header begins.
    pub(super) ip: usize,
    /// Where TCP's header begins.
    pub(super) tcp: usize,
    /// Where the payload begins.
    pub(super) payload: usize,
    /// Where it ends. Behind it there may be padding.
    pub(super) end: usize,
}

impl Segment {
    /// The segment in a frame, which may be tagged once for a VLAN; `None` if it has none, or one that is a fragment or behind
    /// extension headers. Linux puts those there only if a program asks for them; long segments behind them are counted as
    /// frames of a wrong length.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let is_tagged = word(frame, ETHERNET - 2)? == VLAN;
        let start = if is_tagged { ETHERNET + TAG } else { ETHERNET };
        let ip = frame.get(start..)?;
        let (is_ipv4, tcp, end) = match word(frame, start - 2)? {
            0x0800 => {
                let length = usize::from(word(ip, 2)?);
                let header = usize::from(ip.first()? & 0xf) * 4;
                let is_whole = word(ip, 6)? & !DONT_FRAGMENT == 0;
                let is_tcp = ip.first()? >> 4 == 4 && *ip.get(9)? == TCP && header >= 20 && is_whole;
                is_tcp.then_some((true, start + header, start + length))?
            }
            0x86dd => {
                let is_tcp = ip.first()? >> 4 == 6 && *ip.get(6)? == TCP;
                let end = start + IPV6 + usize::from(word(ip, 4)?);
                is_tcp.then_some((false, start + IPV6, end))?
            }
            _ => return None,
        };
        let payload = tcp + usize::from(*frame.get(tcp + 12)? >> 4) * 4;
        let is_sound = payload >= tcp + TCP_LEAST && payload <= end && end <= frame.len();
        is_sound.then_some(Self { is_ipv4, ip: start, tcp, payload, end })
    }

    /// Bytes of the payload.
    pub(super) fn size(self) -> usize {
        self.end - self.payload
    }

    /// The number of the first of them.
    pub(super) fn sequence(self, frame: &[u8]) -> Option<u32> {
        frame.get(self.tcp + 4..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn set_sequence(self, frame: &mut [u8], sequence: u32) -> Option<()> {
        *frame.get_mut(self.tcp + 4..)?.first_chunk_mut()? = sequence.to_be_bytes();
        Some(())
    }

    pub(super) fn flags(self, frame: &[u8]) -> Option<u8> {
        frame.get(self.tcp + 13).copied()
    }

    pub(super) fn set_flags(self, frame: &mut [u8], flags: u8) -> Option<()> {
        *frame.get_mut(self.tcp + 13)? = flags;
        Some(())
    }

    /// Gives IPv4's header the identification that is `more` after the one it has.
    pub(super) fn advance_identification(self, frame: &mut [u8], more: u16) -> Option<()> {
        if self.is_ipv4 {
            let identification = word(frame, self.ip + 4)?.wrapping_add(more);
            set_word(frame, self.ip + 4, identification.to_be_bytes())?;
        }
        Some(())
    }

    /// Gives the headers the length that they have now, and IPv4's its checksum.
    pub(super) fn set_length(self, frame: &mut [u8]) -> Option<()> {
        if !self.is_ipv4 {
            let length = u16::try_from(self.end - self.tcp).ok()?;
            return set_word(frame, self.ip + 4, length.to_be_bytes());
        }
        let length = u16::try_from(self.end - self.ip).ok()?;
        set_word(frame, self.ip + 2, length.to_be_bytes())?;
        set_word(frame, self.ip + 10, [0; 2])?;
        let checksum = checksum::finish(checksum::sum(frame.get(self.ip..self.tcp)?));
        set_word(frame, self.ip + 10, checksum)
    }

    /// Gives TCP's header its checksum.
    pub(super) fn set_checksum(self, frame: &mut [u8]) -> Option<()> {
        self.set_partial_checksum(frame)?;
        let checksum = checksum::finish(checksum::sum(frame.get(self.tcp..self.end)?));
        set_word(frame, self.tcp + CHECKSUM, checksum)
    }

    /// Gives it the sum of the pseudo-header (RFC 9293, 3.1), which others complete.
    pub(super) fn set_partial_checksum(self, frame: &mut [u8]) -> Option<()> {
        let addresses = if self.is_ipv4 { 12..20 } else { 8..40 };
        let addresses = frame.get(self.ip..)?.get(addresses)?;
        let length = u16::try_from(self.end - self.tcp).ok()?;
        let sum = checksum::sum(addresses) + checksum::sum(&[0, TCP]) + checksum::sum(&length.to_be_bytes());
        set_word(frame, self.tcp + CHECKSUM, checksum::fold(sum))
    }
}

/// The word of 16 bits that begins at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn set_word(bytes: &mut [u8], at: usize, word: [u8; 2]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = word;
    Some(())
}

/// Bytes of Ethernet's header, of IPv6's, and of the shortest one of TCP.
pub(super) const ETHERNET: usize = 14;
const IPV6: usize = 40;
const TCP_LEAST: usize = 20;
/// A tag (IEEE 802.1Q, clause 9): the type that says that there is one, and how many bytes it adds.
const VLAN: u16 = 0x8100;
const TAG: usize = 4;
/// The protocol's number (RFC 9293), and where its checksum is in its header.
const TCP: u8 = 6;
pub(super) const CHECKSUM: usize = 16;
/// The flag in the word of IPv4's header that else says which fragment it is (RFC 791, 3.1).
pub(super) const DONT_FRAGMENT: u16 = 0x4000;
/// Flags of TCP (RFC 9293, 3.1).
pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
