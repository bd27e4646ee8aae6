//! Two unikernels and a wire around the switch.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;

use palisade_abi::channel::HEADER_SIZE;
use palisade_abi::network_element::NetworkElement;
use palisade_abi::volatile::Shared;

use super::*;

const BROADCAST: [u8; 6] = [0xff; 6];
const GATEWAY: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

#[derive(Default)]
struct Cable {
    arriving: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    room: usize,
}

impl Wire for Cable {
    fn receive(&mut self, buffer: &mut [u8; MAX_FRAME]) -> Option<Result<usize, Loss>> {
        let frame = self.arriving.pop_front()?;
        Some(buffer.get_mut(..frame.len()).ok_or(Loss::Length).map(|to| {
            to.copy_from_slice(&frame);
            frame.len()
        }))
    }

    fn has_received(&self) -> bool {
        !self.arriving.is_empty()
    }

    fn room(&mut self) -> usize {
        self.room
    }

    fn send(&mut self, frame: &[u8], _sender: usize) {
        assert!(self.room > 0, "there was no room");
        self.room -= 1;
        self.sent.push(frame.to_vec());
    }

    fn flush(&mut self) {}
}

/// The channels of two unikernels, `0` and `1`.
struct Channels([(Vec<AtomicU64>, Vec<AtomicU64>); 2]);

/// A unikernel's ends of its channels.
struct Unikernel<'a> {
    output: FrameWriter<Shared<'a>>,
    input: FrameReader<Shared<'a>>,
    address: [u8; 6],
}

impl Channels {
    fn new(elements: usize) -> Self {
        let channel = || {
            let bytes = HEADER_SIZE + elements * size_of::<NetworkElement>();
            (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect()
        };
        Self([(channel(), channel()), (channel(), channel())])
    }

    fn exchange(&self, overruns: Overruns) -> Exchange<Shared<'_>, Cable> {
        let wire = Cable { room: 1000, ..Cable::default() };
        let mut exchange = Exchange::new(wire, Table::new(2));
        for (number, (input, output)) in self.0.iter().enumerate() {
            let (input, output) = (input.as_slice().into(), output.as_slice().into());
            exchange.open(number, Port::open(input, output, NonZeroU64::MIN, None, overruns).unwrap());
        }
        exchange
    }

    fn unikernel(&self, number: usize, epoch: u64) -> Unikernel<'_> {
        let (input, output) = &self.0[number];
        let epoch = NonZeroU64::new(epoch).unwrap();
        let output = FrameWriter::start(output.as_slice().into(), epoch, Announcement::default());
        let address = [2, 0, 0, 0, 0, number as u8];
        Unikernel { output: output.unwrap(), input: FrameReader::new(input.as_slice().into()), address }
    }
}

impl Unikernel<'_> {
    fn send(&mut self, destination: [u8; 6], payload: &[u8]) {
        let frame = frame(destination, self.address, payload);
        assert_eq!(self.output.write(&frame, Overruns::Recovered), Ok(()));
    }

    /// The payload of the next frame.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; MAX_FRAME];
        let length = self.input.read(&mut buffer)?;
        Some(buffer[14..length].to_vec())
    }
}

fn frame(destination: [u8; 6], source: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &[8, 0], payload].concat()
}

/// Has everything delivered, and returns the ports that got something.
fn settle(exchange: &mut Exchange<Shared<'_>, Cable>) -> u32 {
    let mut delivered = 0;
    while exchange.is_ready() {
        let round = exchange.round();
        assert!(round.busy, "ready for nothing");
        delivered |= round.at_once | round.later;
    }
    delivered
}

#[test]
fn unikernels_reach_each_other_and_the_wire() {
    let channels = Channels::new(8);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut a, mut b) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    a.send(BROADCAST, b"who is b?");
    assert_eq!(settle(&mut exchange), 0b10);
    assert_eq!(b.receive().as_deref(), Some(&b"who is b?"[..]));
    b.send(a.address, b"I am");
    assert_eq!(settle(&mut exchange), 0b01);
    assert_eq!(a.receive().as_deref(), Some(&b"I am"[..]));
    a.send(GATEWAY, b"out");
    exchange.wire().arriving.push_back(frame(a.address, GATEWAY, b"in"));
    settle(&mut exchange);
    assert_eq!(a.receive().as_deref(), Some(&b"in"[..]));
    assert_eq!(b.receive(), None, "what is between a and the gateway is not for b");
    let sent = [frame(BROADCAST, a.address, b"who is b?"), frame(GATEWAY, a.address, b"out")];
    assert_eq!(exchange.wire().sent, sent);
    let traffic = exchange.traffic();
    assert_eq!((traffic.from_ports, traffic.to_ports), (3, 3));
    assert_eq!((traffic.from_wire, traffic.to_wire), (1, 2));
}

#[test]
fn a_foreign_source_address_reaches_nobody_and_is_counted() {
    let channels = Channels::new(8);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut a, mut b) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    a.send(BROADCAST, b"me");
    b.send(BROADCAST, b"me too");
    settle(&mut exchange);
    assert!(a.receive().is_some() && b.receive().is_some());
    exchange.wire().sent.clear();
    a.address = b.address;
    a.send(BROADCAST, b"b, honestly");
    a.address = [2, 9, 9, 9, 9, 9];
    a.send(b.address, b"whoever");
    settle(&mut exchange);
    assert_eq!(b.receive(), None);
    assert!(exchange.wire().sent.is_empty());
    let losses = exchange.port_losses()[0];
    assert_eq!((losses.of(Loss::TakenSource), losses.of(Loss::ForeignSource)), (1, 1));
}

#[test]
fn a_flood_leaves_the_others_their_turn() {
    let channels = Channels::new(500);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut flood, mut calm) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    (0..400).for_each(|_| flood.send(GATEWAY, b"flood"));
    calm.send(GATEWAY, b"calm");
    exchange.wire().room = 8;
    let _ = exchange.round();
    assert!(exchange.wire().sent.contains(&frame(GATEWAY, calm.address, b"calm")));
    assert!(exchange.wire().sent.len() <= 5, "half of the room is for the other port");
}

#[test]
fn a_port_sends_a_burst_in_a_round_while_it_is_alone_and_a_frame_while_others_send() {
    let channels = Channels::new(500);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut flood, mut calm) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    (0..400).for_each(|_| flood.send(GATEWAY, b"flood"));
    let mut in_a_round = || {
        let before = exchange.traffic().from_ports;
        let _ = exchange.round();
        exchange.traffic().from_ports - before
    };
    assert_eq!(in_a_round(), PORT_BURST as u64);
    calm.send(GATEWAY, b"calm");
    assert_eq!(in_a_round(), PORT_BURST as u64 + 1);
    assert_eq!(in_a_round(), CONTENDED_BURST as u64);
    (0..CONTENTION).for_each(|_| assert!(in_a_round() > 0));
    assert_eq!(in_a_round(), PORT_BURST as u64, "nobody else has sent for a while");
}

#[test]
fn what_comes_from_a_port_that_has_more_can_wait_to_be_announced() {
    let channels = Channels::new(500);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut a, mut b) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    b.send(BROADCAST, b"here I am");
    settle(&mut exchange);
    (0..2).for_each(|_| a.send(b.address, b"some"));
    let round = exchange.round();
    assert_eq!((round.at_once, round.later), (0, 0b10));
    let round = exchange.round();
    assert_eq!((round.at_once, round.later), (0b10, 0));
}

#[test]
fn a_flood_from_a_port_leaves_room_for_what_the_wire_brings() {
    let channels = Channels::new(100);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut flood, mut b) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    b.output.acknowledge(0);
    b.send(GATEWAY, b"here I am");
    for _ in 0..90 {
        flood.send(b.address, b"flood");
    }
    settle(&mut exchange);
    exchange.wire().arriving.push_back(frame(b.address, GATEWAY, b"asked"));
    settle(&mut exchange);
    let received: Vec<_> = core::iter::from_fn(|| b.receive()).collect();
    assert!((PORT_SHARE..=PORT_SHARE + 2).contains(&(received.len() as u8)), "{}", received.len());
    assert_eq!(received.last().map(Vec::as_slice), Some(&b"asked"[..]));
    let lost = exchange.port_losses()[0].of(Loss::Crowded);
    assert_eq!(lost + received.len() as u64, 91, "what did not arrive was counted");
    b.output.acknowledge(b.input.taken());
    flood.send(b.address, b"once more");
    settle(&mut exchange);
    assert_eq!(b.receive().as_deref(), Some(&b"once more"[..]));
}

#[test]
fn a_wire_without_room_costs_nobody_a_frame() {
    let channels = Channels::new(100);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let (mut a, mut b) = (channels.unikernel(0, 1), channels.unikernel(1, 1));
    (0..20).for_each(|_| a.send(GATEWAY, b"a"));
    (0..20).for_each(|_| b.send(GATEWAY, b"b"));
    for room in [0, 1, 2, 3, 34] {
        exchange.wire().room = room;
        while exchange.is_ready() {
            let _ = exchange.round();
        }
        assert_eq!(exchange.wire().room, 0);
        assert!(room == 34 || exchange.has_unread());
    }
    assert_eq!((exchange.wire().sent.len(), exchange.has_unread()), (40, false));
    assert!(exchange.port_losses().iter().all(|losses| losses.total() == 0));
}

#[test]
fn what_a_port_writes_too_fast_is_counted() {
    let channels = Channels::new(4);
    let mut exchange = channels.exchange(Overruns::Recovered);
    let mut a = channels.unikernel(0, 1);
    a.send(GATEWAY, b"x");
    settle(&mut exchange);
    (0..9).for_each(|_| a.send(GATEWAY, b"y"));
    settle(&mut exchange);
    let lost = exchange.port_losses()[0].of(Loss::Overrun);
    assert!(lost >= 5, "the channel holds four");
    assert_eq!(exchange.wire().sent.len() as u64 + lost, 10);
}

#[test]
fn a_unikernel_that_cannot_recover_is_never_overrun() {
    let channels = Channels::new(4);
    let mut exchange = channels.exchange(Overruns::Fatal);
    let mut a = channels.unikernel(0, 1);
    for number in 0..30_u8 {
        exchange.wire().arriving.push_back(frame(BROADCAST, GATEWAY, &[number]));
        settle(&mut exchange);
        assert_eq!(channels.unikernel(0, 1).receive().map(|payload| payload.len()), Some(1));
    }
    while a.receive().is_some() {}
    assert_eq!(a.input.losses().total(), 0);
}

#[test]
fn a_restarted_unikernel_gets_nothing_that_was_meant_for_the_one_before() {
    let channels = Channels::new(8);
    let mut exchange = channels.exchange(Overruns::Fatal);
    channels.unikernel(0, 1).send(GATEWAY, b"hello");
    exchange.wire().arriving.push_back(frame(BROADCAST, GATEWAY, b"old"));
    settle(&mut exchange);
    let mut restarted = channels.unikernel(0, 2);
    restarted.address = [2, 7, 7, 7, 7, 7];
    exchange.wire().arriving.push_back(frame(BROADCAST, GATEWAY, b"new"));
    settle(&mut exchange);
    assert_eq!(restarted.receive().as_deref(), Some(&b"new"[..]));
    restarted.send(GATEWAY, b"again");
    settle(&mut exchange);
    assert_eq!(exchange.wire().sent.len(), 2, "with another address than before");
}

#[test]
fn a_restarted_switch_sends_nothing_twice() {
    let channels = Channels::new(8);
    let mut a = channels.unikernel(0, 1);
    a.send(GATEWAY, b"before");
    settle(&mut channels.exchange(Overruns::Recovered));
    let mut exchange = channels.exchange(Overruns::Recovered);
    exchange.ports.iter_mut().flatten().for_each(Port::skip);
    assert!(!exchange.is_ready());
    a.send(GATEWAY, b"after");
    settle(&mut exchange);
    assert_eq!(exchange.wire().sent, [frame(GATEWAY, a.address, b"after")]);
    assert_eq!(exchange.port_losses()[0].total(), 0);
}

#[test]
fn frames_from_the_wire_that_are_too_long_are_counted() {
    let channels = Channels::new(8);
    let mut exchange = channels.exchange(Overruns::Recovered);
    exchange.wire().arriving.push_back(frame(BROADCAST, GATEWAY, &[0; 1501]));
    exchange.wire().arriving.push_back(vec![0; 13]);
    assert_eq!(settle(&mut exchange), 0);
    assert_eq!(exchange.wire_losses().of(Loss::Length), 2);
}
