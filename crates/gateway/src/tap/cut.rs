//! Frames that the kernel leaves to be completed: a frame for several segments is cut, and missing checksums are made.

use palisade_abi::network_element::MAX_FRAME;

use super::checksum;
use super::header::{Cut, Header, LENGTH, Partial};
use super::segment::{FIN, PSH, Segment};

/// What was read from the device, and how far it was taken.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The header and the frame behind it.
    buffer: Box<[u8; MOST]>,
    /// Segments that were not taken.
    rest: Option<Rest>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    segment: Segment,
    /// Bytes of payload in each but the last.
    size: usize,
    /// Where the next one's payload begins.
    at: usize,
    number: u16,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self { buffer: Box::new([0; MOST]), rest: None }
    }

    /// Whether there is a frame to take without reading.
    pub(super) fn has_more(&self) -> bool {
        self.rest.is_some()
    }

    /// Room for what is read next. What was not taken is lost.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.rest = None;
        self.buffer.as_mut_slice()
    }

    /// Writes the first frame of what was read, `length` bytes, into `frame`, and returns its length; `None` if nothing that
    /// fits into a frame can be made of it.
    pub(super) fn first(&mut self, length: usize, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        // What fills the buffer was longer.
        let read = self.buffer.get_mut(..length).filter(|read| read.len() < MOST)?;
        let (header, read) = read.split_first_chunk_mut::<LENGTH>()?;
        let Header { partial, segments } = Header::read(*header)?;
        if let Some(Cut { is_ipv4, size, .. }) = segments {
            let segment = Segment::of(read).filter(|segment| segment.is_ipv4 == is_ipv4)?;
            self.rest = Some(Rest { segment, size: size.into(), at: segment.payload, number: 0 });
            return self.next(frame);
        }
        if let Some(partial) = partial {
            complete(read, partial)?;
        }
        frame.get_mut(..read.len())?.copy_from_slice(read);
        Some(read.len())
    }

    /// Writes the next frame of what was read. `None` if there is none, or it does not fit.
    pub(super) fn next(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        let rest = self.rest.take()?;
        let packet = self.buffer.get(LENGTH..)?;
        let (length, next) = rest.write(packet, frame)?;
        self.rest = next;
        Some(length)
    }
}

impl Rest {
    /// Writes the next segment into `frame`. Returns its length, and what is left then.
    fn write(self, packet: &[u8], frame: &mut [u8; MAX_FRAME]) -> Option<(usize, Option<Self>)> {
        let Self { segment, size, at, number } = self;
        let end = segment.end.min(at + size);
        let is_last = end == segment.end;
        let length = segment.payload + (end - at);
        frame.get_mut(..segment.payload)?.copy_from_slice(packet.get(..segment.payload)?);
        frame.get_mut(segment.payload..length)?.copy_from_slice(packet.get(at..end)?);
        let cut = Segment { end: length, ..segment };
        let before = u32::try_from(at - segment.payload).ok()?;
        cut.set_sequence(frame, segment.sequence(packet)?.wrapping_add(before))?;
        if !is_last {
            // Both are said with the last byte.
            cut.set_flags(frame, cut.flags(packet)? & !(FIN | PSH))?;
        }
        cut.advance_identification(frame, number)?;
        cut.set_length(frame)?;
        cut.set_checksum(frame)?;
        let next = Self { at: end, number: number.wrapping_add(1), ..self };
        Some((length, (!is_last).then_some(next)))
    }
}

/// Completes a checksum. `None` if it is not inside the frame.
fn complete(frame: &mut [u8], Partial { start, offset }: Partial) -> Option<()> {
    let covered = frame.get_mut(usize::from(start)..)?;
    let checksum = checksum::finish(checksum::sum(covered));
    *covered.get_mut(usize::from(offset)..)?.first_chunk_mut()? = checksum;
    Some(())
}

/// More than the longest packet of IP with what precedes it: a header of the device, one of Ethernet, and tags of VLANs.
const MOST: usize = 68 << 10;

#[cfg(test)]
mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetFrame, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
    };

    use super::*;

    #[test]
    fn a_long_segment_becomes_frames_that_others_find_sound() {
        for (from, to) in [("10.0.2.2", "10.0.2.15"), ("fd00::2", "fd00::15")] {
            let (from, to): (IpAddress, IpAddress) = (from.parse().unwrap(), to.parse().unwrap());
            let payload: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8).collect();
            let packet = long_segment(from, to, 0xffff_f000, &payload);
            let mut incoming = Incoming::new();
            incoming.room()[..packet.len()].copy_from_slice(&packet);
            let mut frame = [0; MAX_FRAME];
            let mut length = incoming.first(packet.len(), &mut frame);
            let (mut all, mut count) = (Vec::new(), 0);
            while let Some(whole) = length {
                let ip = EthernetFrame::new_checked(&frame[..whole]).unwrap();
                let tcp = match from {
                    IpAddress::Ipv4(_) => {
                        let ip = Ipv4Packet::new_checked(ip.payload()).unwrap();
                        assert!(ip.verify_checksum());
                        assert_eq!(ip.ident(), 7 + count);
                        ip.payload().to_vec()
                    }
                    IpAddress::Ipv6(_) => Ipv6Packet::new_checked(ip.payload()).unwrap().payload().to_vec(),
                };
                let tcp = TcpPacket::new_checked(tcp.as_slice()).unwrap();
                assert!(tcp.verify_checksum(&from, &to));
                assert_eq!(tcp.seq_number().0 as u32, 0xffff_f000_u32.wrapping_add(all.len() as u32));
                all.extend_from_slice(tcp.payload());
                assert_eq!(tcp.psh() && tcp.fin(), all.len() == payload.len());
                assert_eq!(tcp.psh() || tcp.fin(), all.len() == payload.len());
                count += 1;
                length = incoming.next(&mut frame);
            }
            assert_eq!((all == payload, count), (true, 40), "39 of a thousand bytes and the rest");
            assert!(!incoming.has_more());
        }
    }

    #[test]
    fn a_long_segment_of_a_vlan_becomes_the_same_frames_with_its_tag() {
        const TAG: [u8; 4] = [0x81, 0, 0, 5];
        for (from, to) in [("10.0.2.2", "10.0.2.15"), ("fd00::2", "fd00::15")] {
            let packet = long_segment(from.parse().unwrap(), to.parse().unwrap(), 1, &[7; 2500]);
            let mut tagged = packet.clone();
            tagged.splice(LENGTH + 12..LENGTH + 12, TAG);
            let expected = frames(&packet).into_iter().map(|mut frame| {
                frame.splice(12..12, TAG);
                frame
            });
            assert_eq!(frames(&tagged), expected.collect::<Vec<_>>());
            assert_eq!(frames(&tagged).len(), 3);
        }
    }

    #[test]
    fn a_missing_checksum_is_made() {
        let (from, to): (IpAddress, IpAddress) = ("10.0.2.2".parse().unwrap(), "10.0.2.15".parse().unwrap());
        let repr = IpRepr::new(from, to, IpProtocol::Udp, 8 + 5, 64);
        let mut bytes = vec![0; LENGTH + 14 + repr.buffer_len()];
        bytes[LENGTH + 12] = 8;
        repr.emit(&mut bytes[LENGTH + 14..], &ChecksumCapabilities::default());
        let mut udp = UdpPacket::new_unchecked(&mut bytes[LENGTH + 34..]);
        udp.set_src_port(1);
        udp.set_dst_port(2);
        udp.set_len(13);
        udp.payload_mut().copy_from_slice(b"hello");
        udp.fill_checksum(&from, &to);
        let sound = bytes.clone();
        let pseudo = checksum::sum(&[10, 0, 2, 2, 10, 0, 2, 15, 0, 17, 0, 13]);
        bytes[LENGTH + 40..LENGTH + 42].copy_from_slice(&checksum::fold(pseudo));
        let header = Header { partial: Some(Partial { start: 34, offset: 6 }), segments: None };
        bytes[..LENGTH].copy_from_slice(&header.bytes());
        let mut incoming = Incoming::new();
        incoming.room()[..bytes.len()].copy_from_slice(&bytes);
        let mut frame = [0; MAX_FRAME];
        assert_eq!(incoming.first(bytes.len(), &mut frame), Some(sound.len() - LENGTH));
        assert_eq!(&frame[..sound.len() - LENGTH], &sound[LENGTH..]);
    }

    #[test]
    fn what_does_not_fit_is_lost_and_nothing_else() {
        let mut incoming = Incoming::new();
        let mut frame = [0; MAX_FRAME];
        incoming.room().fill(0);
        assert_eq!(incoming.first(LENGTH + MAX_FRAME, &mut frame), Some(MAX_FRAME));
        for length in [0, LENGTH - 1, LENGTH + MAX_FRAME + 1, MOST] {
            assert_eq!(incoming.first(length, &mut frame), None, "{length}");
        }
        // A checksum outside the frame, segments of something else, and segments that are too long.
        let outside = Header { partial: Some(Partial { start: 90, offset: 20 }), segments: None };
        let nothing = Header { segments: Some(Cut { is_ipv4: true, headers: 54, size: 100 }), partial: None };
        for header in [outside, nothing] {
            incoming.room()[..LENGTH].copy_from_slice(&header.bytes());
            assert_eq!(incoming.first(LENGTH + 100, &mut frame), None);
        }
        let (from, to) = ("10.0.2.2".parse().unwrap(), "10.0.2.15".parse().unwrap());
        let mut packet = long_segment(from, to, 1, &[0; 9000]);
        let long = Header { segments: Some(Cut { is_ipv4: true, headers: 54, size: 4000 }), partial: None };
        packet[..LENGTH].copy_from_slice(&long.bytes());
        incoming.room()[..packet.len()].copy_from_slice(&packet);
        assert_eq!(incoming.first(packet.len(), &mut frame), None);
        assert!(!incoming.has_more());
    }

    fn frames(packet: &[u8]) -> Vec<Vec<u8>> {
        let mut incoming = Incoming::new();
        incoming.room()[..packet.len()].copy_from_slice(packet);
        let mut buffer = [0; MAX_FRAME];
        let first = incoming.first(packet.len(), &mut buffer);
        let mut next = first.map(|length| buffer[..length].to_vec());
        std::iter::from_fn(|| {
            let frame = next.take()?;
            next = incoming.next(&mut buffer).map(|length| buffer[..length].to_vec());
            Some(frame)
        })
        .collect()
    }

    /// What the kernel hands over for a segment that is to be cut into pieces of a thousand bytes.
    fn long_segment(from: IpAddress, to: IpAddress, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let repr = IpRepr::new(from, to, IpProtocol::Tcp, 20 + payload.len(), 64);
        let is_ipv4 = matches!(from, IpAddress::Ipv4(_));
        let start = 14 + repr.header_len();
        let mut bytes = vec![0; LENGTH + 14 + repr.buffer_len()];
        bytes[LENGTH + 12..LENGTH + 14].copy_from_slice(if is_ipv4 { &[8, 0] } else { &[0x86, 0xdd] });
        repr.emit(&mut bytes[LENGTH + 14..], &ChecksumCapabilities::default());
        if is_ipv4 {
            bytes[LENGTH + 18..LENGTH + 20].copy_from_slice(&[0, 7]);
        }
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[LENGTH + start..]);
        tcp.set_header_len(20);
        tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(sequence as i32));
        tcp.set_ack(true);
        tcp.set_psh(true);
        tcp.set_fin(true);
        tcp.payload_mut().copy_from_slice(payload);
        let header = Header {
            partial: Some(Partial { start: start as u16, offset: 16 }),
            segments: Some(Cut { is_ipv4, headers: start as u16 + 20, size: 1000 }),
        };
        bytes[..LENGTH].copy_from_slice(&header.bytes());
        bytes
    }
}
