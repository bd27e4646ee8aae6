//! Frames that are damaged, forged, or none: in classes, each with its name.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::host::{ROUTER, WEBSITE};
use super::packets::{ACK, EVERYBODY, FIN, RST, SYN, Segment, Way, fill_ipv4_checksum};

/// All classes, for a website at the end of this way.
pub(crate) fn classes(way: &Way) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("frames of any length", lengths(way)),
        ("forged Ethernet addresses", ethernet_addresses(way)),
        ("VLAN tags and strange protocols", ethernet_kinds(way)),
        ("wrong IPv4 headers", ipv4_headers(way)),
        ("garbage in IPv4 options", ipv4_options(way)),
        ("forged IPv4 addresses", ipv4_addresses(way)),
        ("fragments", fragments(way)),
        ("wrong UDP datagrams", datagrams(way)),
        ("answers that nobody asked for", unasked_answers(way)),
        ("wrong TCP headers", tcp_headers(way)),
        ("garbage in TCP options", tcp_options(way)),
        ("SYNs from the website to itself", land(way)),
        ("forged ARP", arp(way)),
        ("ICMP of every type", icmp(way)),
        ("neighbour discovery that lies", neighbour_discovery(way)),
        ("IPv6 headers without end", ipv6_headers(way)),
        ("frames with random damage", random_damage(way)),
    ]
}

/// A frame of each protocol.
fn right_ones(way: &Way) -> Vec<Vec<u8>> {
    let mss = [2, 4, 5, 0xb4, 1, 3, 3, 7];
    vec![
        way.tcp(&Segment { flags: SYN, sequence: 7, options: &mss, ..Segment::default() }),
        way.tcp(&Segment {
            flags: ACK,
            sequence: 8,
            acknowledged: 9,
            data: b"GET / HTTP/1.1\r\n",
            ..Segment::default()
        }),
        way.udp(b"a datagram"),
        way.icmp(&[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        way.arp(1, way.from.0, ROUTER, WEBSITE),
        way.icmpv6(NEIGHBOUR, link_local(way), &[128, 0, 0, 0, 1, 2, 3, 4]),
        neighbour_solicitation(way, &[1, 1, 2, 0, 0, 0, 0, 9]),
    ]
}

fn lengths(way: &Way) -> Vec<Vec<u8>> {
    let cut =
        right_ones(way).into_iter().flat_map(|frame| (1..frame.len()).map(move |end| frame[..end].to_vec()));
    let long =
        [1501, 1504, 1600, 2000, 4096, 9000, 0xf000].map(|length| way.ethernet(0x0800, &vec![0x45; length]));
    let longest = [1472, 1473, 1500, 8972].map(|length| way.udp(&vec![0; length]));
    cut.chain(long).chain(longest).collect()
}

fn ethernet_addresses(way: &Way) -> Vec<Vec<u8>> {
    let own = way.to.0;
    let sources = [own, EVERYBODY, [0; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]];
    let targets =
        [own, EVERYBODY, [0; 6], [1, 0x80, 0xc2, 0, 0, 0], [1, 0x80, 0xc2, 0, 0, 1], [2, 9, 9, 9, 9, 9]];
    let pairs = sources.into_iter().flat_map(|from| targets.map(|to| (from, to)));
    pairs.flat_map(|(from, to)| right_ones(&Way { from: (from, way.from.1), to: (to, way.to.1) })).collect()
}

fn ethernet_kinds(way: &Way) -> Vec<Vec<u8>> {
    let tagged = right_ones(way).into_iter().flat_map(|frame| {
        [&[0x81, 0, 0, 5][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6], &[0x81, 0, 0xff, 0xff]]
            .map(|tag| [&frame[..12], tag, &frame[12..]].concat())
    });
    let others = (0..=0xffff_u16).step_by(0x0101).map(|kind| way.ethernet(kind, &[0x45; 64]));
    tagged.chain(others).collect()
}

fn ipv4_headers(way: &Way) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for frame in &right_ones(way)[..4] {
        frames.extend((0..=255).map(|value| changed(frame, 14, &[value])));
        let lengths = [0_u16, 1, 19, 20, 21, 27, 28, 39, 41, 1000, 0x7fff, 0xffff];
        frames.extend(lengths.map(|length| changed(frame, 16, &length.to_be_bytes())));
        frames.extend([0, 1].map(|hops| changed(frame, 22, &[hops])));
        let mut wrong = frame.clone();
        wrong[24] ^= 0x55;
        frames.push(wrong);
    }
    frames.extend((0..=255).map(|protocol| way.ipv4(protocol, &[0xff; 40])));
    frames
}

fn ipv4_options(way: &Way) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for words in 1..=10_usize {
        for pattern in [
            &[0_u8][..],
            &[1],
            &[7, 0],
            &[68, 255, 5, 0],
            &[131, 3, 4],
            &[137, 39, 255],
            &[148, 4, 0, 0],
            &[255],
        ] {
            let options: Vec<u8> = pattern.iter().copied().cycle().take(words * 4).collect();
            for frame in &right_ones(way)[..4] {
                let mut frame = [&frame[..34], &options, &frame[34..]].concat();
                let length = u16::try_from(frame.len() - 14).expect("it is short");
                frame[16..18].copy_from_slice(&length.to_be_bytes());
                frames.push(changed(&frame, 14, &[0x45 + words as u8]));
            }
        }
    }
    frames
}

fn ipv4_addresses(way: &Way) -> Vec<Vec<u8>> {
    let strange = [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(192, 168, 254, 255),
        Ipv4Addr::new(192, 168, 254, 0),
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::new(240, 0, 0, 1),
        Ipv4Addr::new(8, 8, 8, 8),
        WEBSITE,
    ];
    let pairs =
        strange.into_iter().flat_map(|address| [(address, WEBSITE), (ROUTER, address), (address, address)]);
    pairs
        .flat_map(|(from, to)| {
            let at = |address, end: SocketAddrV4| SocketAddrV4::new(address, end.port());
            let way = Way { from: (way.from.0, at(from, way.from.1)), to: (way.to.0, at(to, way.to.1)) };
            right_ones(&way).into_iter().take(4)
        })
        .collect()
}

fn fragments(way: &Way) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let whole = way.udp(&[0x5a; 1200]);
    let mut add = |number: u16, flags_and_offset: u16| {
        let frame = changed(&whole, 18, &number.to_be_bytes());
        frames.push(changed(&frame, 20, &flags_and_offset.to_be_bytes()));
    };
    const MORE: u16 = 0x2000;
    // Many that are never completed; some that overlap; some beyond the longest packet.
    (0..2000).for_each(|number| add(number, MORE));
    (0..100).for_each(|offset| add(3000, MORE | (offset * 7)));
    (0..8).for_each(|number| add(3001, 0x1fff - number));
    [MORE | 0x1fff, 0x8000, 0xffff, 0x4001].into_iter().for_each(|value| add(3002, value));
    let empty = way.ipv4(17, &[]);
    frames.push(changed(&empty, 20, &MORE.to_be_bytes()));
    frames.push(changed(&empty, 20, &[0, 1]));
    frames
}

fn datagrams(way: &Way) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let right = way.udp(&[0; 100]);
    frames.extend(
        [0_u16, 1, 7, 8, 9, 107, 109, 0x7fff, 0xffff]
            .map(|length| changed(&right, 38, &length.to_be_bytes())),
    );
    frames.push(changed(&right, 40, &[0, 0]));
    frames.push(changed(&right, 40, &[0xde, 0xad]));
    frames.extend(
        [0_u16, 7, 19, 53, 67, 68, 123, 443, 5353].map(|port| changed(&right, 36, &port.to_be_bytes())),
    );
    frames
}

/// Leases, names and times.
fn unasked_answers(way: &Way) -> Vec<Vec<u8>> {
    let between = |from, to| Way {
        from: (way.from.0, SocketAddrV4::new(ROUTER, from)),
        to: (way.to.0, SocketAddrV4::new(WEBSITE, to)),
    };
    let mut offer = vec![2, 1, 6, 0];
    offer.extend([0; 12]);
    offer.extend([10, 6, 6, 6, 10, 6, 6, 1]);
    offer.resize(236, 0);
    offer.extend([99, 130, 83, 99]);
    let kinds = [2, 5, 6].map(|kind| {
        [&offer[..], &[53, 1, kind, 1, 4, 255, 0, 0, 0, 3, 4, 10, 6, 6, 1, 51, 4, 0, 0, 0, 1, 255]].concat()
    });
    let mut name = vec![0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    name.extend(b"\x07example\x03org\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x06\x06\x06");
    let offers = kinds.iter().map(|offer| between(67, 68).udp(offer));
    let names = [53, 5353, 49152, 65535].map(|port| between(53, port).udp(&name));
    // A name that refers to itself.
    let endless = [&name[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    offers.chain(names).chain([between(53, 53).udp(&endless), between(123, 123).udp(&[0x24; 48])]).collect()
}

fn tcp_headers(way: &Way) -> Vec<Vec<u8>> {
    let closed = Way { to: (way.to.0, SocketAddrV4::new(WEBSITE, 9)), ..*way };
    let mut frames = Vec::new();
    for way in [*way, closed] {
        frames
            .extend((0..=255).map(|flags| {
                way.tcp(&Segment { flags, sequence: 1, acknowledged: 1, ..Segment::default() })
            }));
        let right = way.tcp(&Segment { flags: SYN, data: &[1; 40], ..Segment::default() });
        frames.extend((0..16).map(|words| changed(&right, 46, &[words << 4])));
        frames.push(changed(&right, 50, &[0xde, 0xad]));
        frames.push(changed(&right, 34, &[0, 0]));
        frames.push(changed(&right, 36, &[0, 0]));
        frames.push(changed(&right, 48, &[0, 0]));
        frames.extend((0..60).map(|end| way.ipv4(6, &vec![0x50; end])));
    }
    frames
}

fn tcp_options(way: &Way) -> Vec<Vec<u8>> {
    let patterns: [&[u8]; 16] = [
        &[0],
        &[1],
        &[2, 0, 0, 0],
        &[2, 1, 0, 0],
        &[2, 4, 0, 0],
        &[2, 4, 0, 1],
        &[2, 4, 255, 255],
        &[2, 5, 0, 0],
        &[3, 3, 255],
        &[3, 0],
        &[4, 2, 5, 10, 0, 0, 0, 0, 0, 0],
        &[5, 255, 0, 0],
        &[8, 10, 255, 255, 255, 255, 0, 0, 0, 0],
        &[8, 2],
        &[254, 40],
        &[255],
    ];
    let sizes = [4_usize, 8, 20, 40];
    let pairs = patterns.into_iter().flat_map(|pattern| sizes.map(|size| (pattern, size)));
    pairs
        .enumerate()
        .map(|(number, (pattern, size))| {
            let options: Vec<u8> = pattern.iter().copied().cycle().take(size).collect();
            let way = way.with_source(SocketAddrV4::new(ROUTER, 20_000 + number as u16));
            way.tcp(&Segment { flags: SYN, options: &options, ..Segment::default() })
        })
        .collect()
}

fn land(way: &Way) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for port in [80, 443, 9] {
        let end = SocketAddrV4::new(WEBSITE, port);
        let itself = Way { from: (way.from.0, end), to: (way.to.0, end) };
        let flags = [SYN, SYN | ACK, ACK, FIN | ACK, RST];
        frames.extend(
            flags.map(|flags| {
                itself.tcp(&Segment { flags, sequence: 1, acknowledged: 1, ..Segment::default() })
            }),
        );
    }
    frames
}

fn arp(way: &Way) -> Vec<Vec<u8>> {
    let broadcast = Way { to: (EVERYBODY, way.to.1), ..*way };
    let thief = [2, 6, 6, 6, 6, 6];
    let mut frames = Vec::new();
    for way in [*way, broadcast] {
        for operation in [0, 1, 2, 3, 0xffff] {
            for at in [thief, EVERYBODY, [0; 6], way.to.0] {
                // The website's own address, the router's, and others, said to be somewhere else.
                for owner in
                    [WEBSITE, ROUTER, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(8, 8, 8, 8)]
                {
                    frames.extend([WEBSITE, owner].map(|asked| way.arp(operation, at, owner, asked)));
                }
            }
        }
        let right = way.arp(2, thief, WEBSITE, WEBSITE);
        for (field, value) in [(14, 0), (15, 6), (16, 0), (18, 0), (18, 255), (19, 0), (19, 16), (19, 255)] {
            let mut wrong = right.clone();
            wrong[field] = value;
            frames.push(wrong);
        }
    }
    frames
}

fn icmp(way: &Way) -> Vec<Vec<u8>> {
    let broadcast = Way { to: (EVERYBODY, SocketAddrV4::new(Ipv4Addr::BROADCAST, 0)), ..*way };
    let quoted = way.tcp(&Segment { flags: ACK, ..Segment::default() });
    let mut frames = Vec::new();
    for way in [*way, broadcast] {
        for kind in 0..=255 {
            frames.push(way.icmp(&[kind, 0, 0, 0]));
            frames.push(way.icmp(&[&[kind, 4, 0, 0, 10, 6, 0, 68][..], &quoted[14..]].concat()));
            frames.push(way.icmp(&[&[kind, 255, 0, 0, 0, 0, 0, 0][..], &[0x4f; 28]].concat()));
        }
    }
    frames
}

fn neighbour_discovery(way: &Way) -> Vec<Vec<u8>> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let own = link_local(way);
    let options: [&[u8]; 9] = [
        &[],
        &[0, 0],
        &[1, 0, 2, 6, 6, 6, 6, 6],
        &[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[1, 255, 2, 6, 6, 6, 6, 6],
        &[2, 1, 2, 6, 6, 6, 6, 6],
        &[3, 4, 255, 0xc0, 0, 0, 0, 0],
        &[5, 1, 0, 0, 0, 0, 0, 1],
        &[25, 3, 0, 0],
    ];
    let mut frames: Vec<_> = options.iter().map(|option| neighbour_solicitation(way, option)).collect();
    for kind in 0..=255 {
        for option in options {
            let message =
                [&[kind, 0, 0, 0, 0xe0, 0, 0, 0][..], &own.octets(), &own.octets(), option].concat();
            frames.push(way.icmpv6(NEIGHBOUR, all_nodes, &message));
            frames.push(way.icmpv6(own, own, &message[..24]));
        }
    }
    frames
}

fn ipv6_headers(way: &Way) -> Vec<Vec<u8>> {
    let own = link_local(way);
    let mut frames = Vec::new();
    for next in 0..=255 {
        // Headers that say they are followed by one of the same kind, or are longer than the packet.
        frames.push(way.ipv6(NEIGHBOUR, own, next, &[next, 0, 1, 4, 0, 0, 0, 0].repeat(100)));
        frames.push(way.ipv6(NEIGHBOUR, own, next, &[next, 255, 0xc3, 255, 0, 0, 0, 0]));
        frames.push(way.ipv6(own, own, next, &[0xff; 60]));
    }
    let right = way.icmpv6(NEIGHBOUR, own, &[128, 0, 0, 0, 1, 2, 3, 4]);
    for (field, value) in [(14, 0x50), (14, 0), (18, 0xff), (19, 0), (19, 7), (19, 9), (21, 0)] {
        let mut wrong = right.clone();
        wrong[field] = value;
        frames.push(wrong);
    }
    frames
}

/// The same damage every time.
fn random_damage(way: &Way) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let right = right_ones(way);
    let damaged = (0..RANDOM).map(|_| {
        let mut frame = right[random(right.len())].clone();
        for _ in 0..=random(4) {
            // The addresses of Ethernet stay, so that the website gets it.
            let at = 12 + random(frame.len() - 12);
            frame[at] = random(256) as u8;
        }
        frame.truncate(if random(4) == 0 { 14 + random(frame.len() - 13) } else { frame.len() });
        frame.resize(frame.len() + if random(8) == 0 { random(100) } else { 0 }, 0xa5);
        if random(4) != 0 {
            fill_ipv4_checksum(&mut frame);
        }
        frame
    });
    damaged.collect()
}

/// With other bytes at this place, and the checksum of its IPv4 header made right again.
fn changed(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    fill_ipv4_checksum(&mut frame);
    frame
}

/// Asks who has the website's address, with these options.
fn neighbour_solicitation(way: &Way, options: &[u8]) -> Vec<u8> {
    let own = link_local(way);
    let [.., a, b, c] = own.octets();
    let mut everybody_like_it = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    everybody_like_it[13..].copy_from_slice(&[a, b, c]);
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &own.octets(), options].concat();
    way.icmpv6(NEIGHBOUR, everybody_like_it.into(), &message)
}

/// The website's link-local address (RFC 4291, appendix A).
fn link_local(way: &Way) -> Ipv6Addr {
    let [a, b, c, d, e, f] = way.to.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
/// Frames with random damage.
const RANDOM: usize = 10_000;
