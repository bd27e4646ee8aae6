//! What the gateway reads: frames of unikernels, and what name servers say.

use palisade_gateway::frame::{self, Content, Frame};
use palisade_gateway::message::{Failure, Query};

/// Everything that a frame is said to contain lies inside it.
pub fn gateway_frame(bytes: &[u8]) {
    let Some((_, Frame::Packet(packet))) = frame::read(bytes) else { return };
    assert!(is_inside(bytes, packet.bytes) && packet.source.is_ipv4() == packet.destination.is_ipv4());
    if let Content::Datagram { payload, .. } = packet.content {
        assert!(is_inside(packet.bytes, payload));
    }
}

/// A question is read as it was asked, our own answers to it are understood, and no answer of another makes trouble.
///
/// The bytes are the length of the question, the question, and an answer.
pub fn name_query(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (question, answer) = rest.split_at(usize::from(*length).min(rest.len()));
    let Some(query) = Query::read(question) else { return };
    assert!(!query.name.is_empty() && query.name.len() <= 512);
    for own in [query.failed(Failure::Refused), query.answered(None)] {
        assert_eq!(query.told(query.id, &own), Some(Vec::new()));
    }
    let address = [192, 0, 2, 1].into();
    assert!(query.told(query.id, &query.answered(Some(address))).is_some_and(|told| told[0].0 == address));
    let _ = query.told(query.id, answer);
}

/// Valid frames: a segment, a datagram, an echo, a question by ARP, and a solicitation.
pub(super) fn frames() -> Vec<Vec<u8>> {
    let ethernet = |kind: u16, rest: &[u8]| {
        [&[0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 1][..], &kind.to_be_bytes(), rest].concat()
    };
    let ipv4 = |protocol: u8, payload: &[u8]| {
        let [high, low] = (20 + payload.len() as u16).to_be_bytes();
        let header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2];
        ethernet(0x0800, &[&header[..], payload].concat())
    };
    let segment = [0xc3, 0x50, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];
    let near = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15];
    let ipv6 = [0x60, 0, 0, 0, 0, 24, 58, 255];
    let solicitation = [&ipv6[..], &near, &near, &[135, 0, 0, 0, 0, 0, 0, 0], &near].concat();
    vec![
        ipv4(6, &segment),
        ipv4(17, &[0x9c, 0x40, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]),
        ipv4(1, &[8, 0, 0, 0, 0, 7, 0, 1]),
        ethernet(0x0806, &arp),
        ethernet(0x86dd, &solicitation),
    ]
}

/// A question with its answer.
pub(super) fn conversations() -> Vec<Vec<u8>> {
    let name = b"\x03git\x07example\x03org\x00";
    [(1_u16, &[192, 0, 2, 1][..]), (28, &[0xfd; 16])]
        .map(|(kind, address)| {
            let question = [&name[..], &kind.to_be_bytes(), &[0, 1]].concat();
            let asked = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &question].concat();
            let header = [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
            let record =
                [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 1, 0, 0, address.len() as u8], address];
            [&[asked.len() as u8][..], &asked, &header, &question, &record.concat()].concat()
        })
        .into()
}

fn is_inside(whole: &[u8], part: &[u8]) -> bool {
    whole.as_ptr_range().start <= part.as_ptr_range().start
        && part.as_ptr_range().end <= whole.as_ptr_range().end
}
