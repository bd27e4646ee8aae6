//! Frames on their way out: segments that follow each other on a connection leave as one frame, which the kernel takes apart
//! if it has to, and goes through once.

use std::collections::VecDeque;

use super::header::{Cut, Header, LENGTH, Partial};
use super::segment::{ACK, CHECKSUM, DONT_FRAGMENT, ETHERNET, PSH, Segment, word};

/// Frames that have not left, in their order.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Packet>,
    spare: Vec<Vec<u8>>,
}

/// A frame that stands for those of one connection, or for itself.
#[derive(Debug)]
struct Packet {
    /// The device's header and the frame.
    bytes: Vec<u8>,
    /// What may be added to it.
    flow: Option<Flow>,
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    /// Of the whole frame, with all that was added.
    segment: Segment,
    /// Bytes of payload in each segment; the last may have fewer.
    size: usize,
    /// The number of the byte that follows.
    next: u32,
    count: usize,
    /// Nothing can follow: the last one was shorter, or had to leave soon.
    is_over: bool,
}

impl Outgoing {
    /// How many frames leave on their own.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Adds a frame, to another one if it continues that.
    pub(super) fn add(&mut self, frame: &[u8]) {
        let flow = Flow::of(frame);
        let mut lately = self.queue.iter_mut().rev().take(MOST_FLOWS);
        if let Some(flow) = flow
            && let Some(packet) = lately.find(|packet| packet.has_ends_of(frame, flow.segment))
            && packet.join(frame, flow).is_some()
        {
            return;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(&Header::default().bytes());
        bytes.extend_from_slice(frame);
        self.queue.push_back(Packet { bytes, flow });
    }

    /// Hands the frames over to the device, with what it has to know about each, until it takes no more. Returns whether it
    /// took all.
    pub(super) fn leave(&mut self, mut write: impl FnMut(&[u8]) -> bool) -> bool {
        while let Some(packet) = self.queue.front_mut() {
            // What cannot be completed cannot have been joined, and is complete as it is.
            let _: Option<()> = packet.complete();
            if !write(&packet.bytes) {
                return false;
            }
            if let Some(packet) = self.queue.pop_front()
                && self.spare.len() < MOST_FLOWS
            {
                self.spare.push(packet.bytes);
            }
        }
        true
    }
}

impl Packet {
    /// Whether it is of the connection, and goes the way, that a frame is of.
    fn has_ends_of(&self, frame: &[u8], segment: Segment) -> bool {
        let own = self.bytes.get(LENGTH..).unwrap_or_default();
        self.flow.is_some_and(|flow| {
            let ends = ends(frame, segment);
            ends.is_some() && ends == self::ends(own, flow.segment)
        })
    }

    /// Adds a frame that has the same ends. `None` if it does not continue this one.
    fn join(&mut self, frame: &[u8], added: Flow) -> Option<()> {
        let flow = self.flow.as_mut()?;
        let own = self.bytes.get(LENGTH..)?;
        let (first, second) = (flow.segment, added.segment);
        let payload = frame.get(second.payload..second.end)?;
        let fits = !flow.is_over
            && flow.next == second.sequence(frame)?
            && payload.len() <= flow.size
            && first.end - ETHERNET + payload.len() <= MOST_PACKET
            && is_alike(own, first, frame, second)?;
        if !fits {
            // What comes later must not leave before this frame does.
            flow.is_over = true;
            return None;
        }
        flow.next = flow.next.wrapping_add(u32::try_from(payload.len()).ok()?);
        flow.count += 1;
        flow.is_over = payload.len() < flow.size;
        flow.segment.end += payload.len();
        self.bytes.truncate(LENGTH + first.end);
        self.bytes.extend_from_slice(payload);
        let frame_flags = second.flags(frame)?;
        let own = self.bytes.get_mut(LENGTH..)?;
        first.set_flags(own, first.flags(own)? | frame_flags & PSH)
    }

    /// Gives a frame that others were added to the headers that it needs.
    fn complete(&mut self) -> Option<()> {
        let Flow { segment, size, .. } = self.flow.filter(|flow| flow.count > 1)?;
        let frame = self.bytes.get_mut(LENGTH..)?;
        segment.set_length(frame)?;
        segment.set_partial_checksum(frame)?;
        let header = Header {
            partial: Some(Partial { start: u16::try_from(segment.tcp).ok()?, offset: CHECKSUM as u16 }),
            segments: Some(Cut {
                is_ipv4: segment.is_ipv4,
                headers: u16::try_from(segment.payload).ok()?,
                size: u16::try_from(size).ok()?,
            }),
        };
        *self.bytes.first_chunk_mut()? = header.bytes();
        Some(())
    }
}

impl Flow {
    /// What may be added to a frame, or what it may be added to: a segment that carries something and says nothing else.
    fn of(frame: &[u8]) -> Option<Self> {
        let segment = Segment::of(frame)?;
        // What is tagged for a VLAN leaves as it is.
        if segment.ip != ETHERNET {
            return None;
        }
        let says_more = segment.flags(frame)? & !PSH != ACK;
        // Identifications of packets that may become fragments are the sender's own.
        let may_break = segment.is_ipv4 && word(frame, ETHERNET + 6)? & DONT_FRAGMENT == 0;
        let size = segment.size();
        if says_more || may_break || size == 0 {
            return None;
        }
        let next = segment.sequence(frame)?.wrapping_add(u32::try_from(size).ok()?);
        Some(Self { segment, size, next, count: 1, is_over: false })
    }
}

/// Whom a segment is from and for: addresses and types of Ethernet; addresses of IP, what options follow, and ports.
fn ends(frame: &[u8], segment: Segment) -> Option<(&[u8], &[u8])> {
    let addresses = ETHERNET + if segment.is_ipv4 { 12 } else { 8 };
    Some((frame.get(..ETHERNET)?, frame.get(addresses..segment.tcp + 4)?))
}

/// Whether the headers of two segments with the same ends say the same, but for what is each one's own: lengths, checksums,
/// identification, sequence number and flags.
fn is_alike(one: &[u8], first: Segment, other: &[u8], second: Segment) -> Option<bool> {
    Some(first.payload == second.payload && said(one, first)? == said(other, second)?)
}

/// What segments say of themselves: version and class, and the label of a flow; time to live, or hop limit; what is
/// acknowledged; the window; options.
fn said(frame: &[u8], segment: Segment) -> Option<[&[u8]; 5]> {
    let (start, limit) = if segment.is_ipv4 { (2, 8) } else { (4, 7) };
    Some([
        frame.get(ETHERNET..ETHERNET + start)?,
        frame.get(ETHERNET + limit..=ETHERNET + limit)?,
        frame.get(segment.tcp + 8..segment.tcp + 12)?,
        frame.get(segment.tcp + 14..segment.tcp + 16)?,
        frame.get(segment.tcp + 20..segment.payload)?,
    ])
}

/// Connections of which one more frame is looked for, and buffers that are kept.
const MOST_FLOWS: usize = 32;
/// The longest packet of IPv4, and the longest payload of one of IPv6 with a header to spare.
const MOST_PACKET: usize = 65_535;

#[cfg(test)]
pub(super) mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpPacket, TcpSeqNumber};

    use super::super::checksum;
    use super::*;

    #[test]
    fn segments_that_follow_each_other_leave_as_one() {
        for is_ipv4 in [true, false] {
            let mut outgoing = Outgoing::default();
            let mut payload = Vec::new();
            for number in 0..10 {
                // Those of two connections, in turn.
                let length = if number == 9 { 7 } else { 1000 };
                let piece: Vec<u8> = (0..length).map(|at| (at + number) as u8).collect();
                outgoing.add(&frame(is_ipv4, 80, number as u32 * 1000, &piece, ACK));
                outgoing.add(&frame(is_ipv4, 81, number as u32 * 1000, &piece, ACK | PSH));
                payload.extend_from_slice(&piece);
            }
            let left = all(&mut outgoing);
            assert_eq!(left.len(), 2);
            for (packet, flags) in left.iter().zip([ACK, ACK | PSH]) {
                let whole = frame(is_ipv4, 0, 0, &payload, flags);
                let tcp = ETHERNET + if is_ipv4 { 20 } else { 40 };
                let header = Header {
                    partial: Some(Partial { start: tcp as u16, offset: 16 }),
                    segments: Some(Cut { is_ipv4, headers: tcp as u16 + 20, size: 1000 }),
                };
                assert_eq!(Header::read(*packet.first_chunk().unwrap()), Some(header));
                let joined = &packet[LENGTH..];
                assert_eq!(joined[..tcp], whole[..tcp], "the headers of IP are those of the whole");
                assert_eq!(joined[tcp + 20..], payload);
                assert_eq!(joined[tcp + 13], flags);
                // The partial sum, which has the pseudo-header in it, is completed by the kernel.
                let mut complete = joined.to_vec();
                let sum = checksum::finish(checksum::sum(&joined[tcp..]));
                complete[tcp + 16..tcp + 18].copy_from_slice(&sum);
                let (from, to) = addresses(is_ipv4);
                assert!(TcpPacket::new_unchecked(&complete[tcp..]).verify_checksum(&from, &to));
            }
        }
    }

    #[test]
    fn whatever_does_not_continue_a_frame_leaves_as_it_is_and_in_its_order() {
        let data = |sequence, length| frame(true, 80, sequence, &vec![1; length], ACK);
        for (second, why) in [
            (data(900, 1000), "a byte was sent before"),
            (data(1001, 1000), "one is missing"),
            (data(1000, 1001), "it is longer"),
            (frame(true, 80, 1000, &[1; 10], ACK | 1), "it is the last"),
            (frame(true, 80, 1000, &[1; 10], 4), "it is a reset"),
            (frame(true, 80, 1000, &[], ACK), "it carries nothing"),
            (frame(true, 81, 1000, &[1; 1000], ACK), "another connection"),
            (frame(false, 80, 1000, &[1; 1000], ACK), "another protocol"),
            (changed(data(1000, 1000), ETHERNET + 8, 63), "it comes from farther away"),
            (changed(data(1000, 1000), ETHERNET + 6, 0), "it may be broken"),
            (changed(data(1000, 1000), ETHERNET + 20 + 11, 9), "it acknowledges more"),
            (changed(data(1000, 1000), ETHERNET + 20 + 15, 9), "its window is another one"),
            (tagged(data(1000, 1000)), "it is of a VLAN"),
            (vec![0xff; 60], "it is none of TCP"),
            (vec![], "it is nothing"),
        ] {
            let mut outgoing = Outgoing::default();
            let frames = [data(0, 1000), second];
            frames.iter().for_each(|frame| outgoing.add(frame));
            let left: Vec<Vec<u8>> = all(&mut outgoing);
            let as_they_were: Vec<Vec<u8>> =
                frames.iter().map(|frame| [&[0; LENGTH], frame.as_slice()].concat()).collect();
            assert_eq!(left, as_they_were, "{why}");
        }
    }

    #[test]
    fn nothing_is_added_behind_a_shorter_segment_or_beyond_the_longest_packet() {
        let mut outgoing = Outgoing::default();
        for (sequence, length) in [(0, 1000), (1000, 500), (1500, 500), (2000, 500)] {
            outgoing.add(&frame(true, 80, sequence, &vec![1; length], ACK));
        }
        assert_eq!(lengths(&mut outgoing), [1500, 1000]);
        for number in 0..70 {
            outgoing.add(&frame(true, 80, number * 1000, &[1; 1000], ACK));
        }
        assert_eq!(lengths(&mut outgoing), [65_000, 5000]);
    }

    #[test]
    fn a_frame_that_the_device_has_no_room_for_waits_and_can_still_grow() {
        let mut outgoing = Outgoing::default();
        outgoing.add(&frame(true, 80, 0, &[1; 1000], ACK));
        outgoing.add(&frame(true, 80, 1000, &[1; 1000], ACK));
        assert!(!outgoing.leave(|_| false));
        outgoing.add(&frame(true, 80, 2000, &[1; 1000], ACK));
        assert_eq!((outgoing.len(), lengths(&mut outgoing)), (1, vec![3000]));
        assert_eq!(outgoing.len(), 0);
    }

    fn all(outgoing: &mut Outgoing) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        assert!(outgoing.leave(|bytes| {
            all.push(bytes.to_vec());
            true
        }));
        all
    }

    /// What IPv4 and TCP carry in each frame.
    fn lengths(outgoing: &mut Outgoing) -> Vec<usize> {
        all(outgoing).iter().map(|bytes| bytes.len() - LENGTH - ETHERNET - 40).collect()
    }

    fn changed(mut frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
        frame[at] = value;
        frame
    }

    fn tagged(mut frame: Vec<u8>) -> Vec<u8> {
        frame.splice(12..12, [0x81, 0, 0, 5]);
        frame
    }

    fn addresses(is_ipv4: bool) -> (IpAddress, IpAddress) {
        let (from, to) = if is_ipv4 { ("10.0.2.15", "10.0.2.2") } else { ("fd00::15", "fd00::2") };
        (from.parse().unwrap(), to.parse().unwrap())
    }

    /// A frame as a unikernel's stack makes it.
    pub(crate) fn frame(is_ipv4: bool, port: u16, sequence: u32, payload: &[u8], flags: u8) -> Vec<u8> {
        let (from, to) = addresses(is_ipv4);
        let repr = IpRepr::new(from, to, IpProtocol::Tcp, 20 + payload.len(), 64);
        let mut bytes = vec![2; ETHERNET + repr.buffer_len()];
        bytes[12..ETHERNET].copy_from_slice(if is_ipv4 { &[8, 0] } else { &[0x86, 0xdd] });
        repr.emit(&mut bytes[ETHERNET..], &ChecksumCapabilities::default());
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[ETHERNET + repr.header_len()..]);
        tcp.set_src_port(port);
        tcp.set_dst_port(40_000);
        tcp.set_seq_number(TcpSeqNumber(sequence as i32));
        tcp.set_ack_number(TcpSeqNumber(1));
        tcp.clear_flags();
        tcp.set_header_len(20);
        tcp.set_window_len(5);
        tcp.set_urgent_at(0);
        tcp.payload_mut().copy_from_slice(payload);
        bytes[ETHERNET + repr.header_len() + 13] = flags;
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[ETHERNET + repr.header_len()..]);
        tcp.fill_checksum(&from, &to);
        bytes
    }
}
