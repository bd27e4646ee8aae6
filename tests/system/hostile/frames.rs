//! What anybody can send who has the other end of the card's wire.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::damage;
use super::host::{Host, ROUTER, WEBSITE};
use super::packets::{ACK, EVERYBODY, FIN, RST, SYN, Segment, Way};
use super::target::{CONNECTIONS, PATIENT, assert_never_restarted, system};
use super::wire::LooseWire;
use crate::harness::Run;
use crate::running::{PAGE, Running};

#[test]
fn frames_that_lie_are_dropped_and_the_site_still_answers() {
    let mut target = Target::start();
    for (name, frames) in damage::classes(&target.host.way) {
        println!("{name}: {} frames", frames.len());
        frames.iter().for_each(|frame| target.host.send(frame));
        target.still_answers(name);
    }
    for reason in [
        "wrong length",
        "no valid source address",
        "source address of a port, from outside",
        "not for beyond the link",
    ] {
        let is_report = |line: &&str| line.starts_with("wire: ") && line.ends_with(reason);
        target.running.wait_for("nic", reason, |lines| lines.iter().any(is_report).then_some(()));
    }
    let run = target.assert_unharmed();
    run.lines("nic").iter().for_each(|line| println!("nic: {line}"));
}

#[test]
fn a_flood_from_the_wire_is_over_when_it_ends() {
    let mut target = Target::start();
    let way = target.host.way;
    let stranger = |number: u32| {
        let address = Ipv4Addr::from(0x0a00_0000 | number.wrapping_mul(0x9e37_79b9) >> 8);
        way.with_source(SocketAddrV4::new(address, 1024 + (number % 60_000) as u16))
    };
    // All connections at once: what serves them is kept for the next ones.
    let resets: Vec<_> = (1..=CONNECTIONS as u16).map(|number| target.open(10_000 + number)).collect();
    resets.iter().for_each(|reset| target.host.send(reset));
    target.still_answers("all connections at once");
    target.still_answers("an answer");
    let before = target.running.memory_after(3);

    let syn = Segment { flags: SYN, sequence: 1, ..Segment::default() };
    target.flood("a flood of SYNs", |number| stranger(number).tcp(&syn));
    let ack = Segment { flags: ACK, sequence: 1, acknowledged: 1, ..Segment::default() };
    target.flood("a flood of ACKs", |number| stranger(number).tcp(&ack));
    let ping = [&[8, 0, 0, 0][..], &[0; 1400]].concat();
    target.flood("a flood of pings", |_| way.icmp(&ping));
    target.flood("a flood of datagrams", |number| stranger(number).udp(&[0; 64]));
    let everybody = Way { to: (EVERYBODY, SocketAddrV4::new(Ipv4Addr::BROADCAST, 9)), ..way };
    target.flood("a storm of broadcasts", |_| everybody.udp(&[0; 1000]));
    let neighbour = |number: u32| Ipv4Addr::from(u32::from(ROUTER) + 1 + number % 250);
    target.flood("a flood of ARP", |number| {
        let [_, _, c, d] = number.to_be_bytes();
        way.arp(1, [2, 0, 0, 1, c, d], neighbour(number), WEBSITE)
    });
    for number in 0..CHURN {
        let reset = target.open(20_000 + number);
        target.host.send(&reset);
    }
    target.still_answers("connections that are reset as soon as they are there");

    let Target { mut host, mut running } = target;
    running.assert_memory_is_back(before, |website| still_answers(&mut host, website, "everything"));
    assert_never_restarted(running);
}

#[test]
fn strangers_neither_end_a_connection_nor_add_to_it() {
    let mut target = Target::start();
    let way = target.host.way;
    let mut connection = target.host.connect(80).expect("the website listens");
    connection.say("GET / HTTP/1.1\r\nHo");
    let from = SocketAddrV4::new(ROUTER, connection.port);
    let way = Way { to: (way.to.0, SocketAddrV4::new(WEBSITE, 80)), ..way }.with_source(from);
    let next = connection.next_sequence();
    for number in 1..1000_u32 {
        // Beyond what the website wants now, and what it has long had.
        for sequence in [next.wrapping_add(number << 20), next.wrapping_sub(number << 10)] {
            for (flags, data) in [
                (RST, ""),
                (RST | ACK, ""),
                (FIN | ACK, ""),
                (SYN, ""),
                (SYN | ACK, ""),
                (ACK, "X: y\r\n\r\n"),
            ] {
                let data = data.as_bytes();
                let segment = Segment { flags, sequence, acknowledged: sequence, data, ..Segment::default() };
                connection.inject(&way.tcp(&segment));
            }
        }
    }
    connection.say("st: localhost\r\nConnection: close\r\n\r\n");
    let answer = connection.hear();
    assert!(answer.starts_with("HTTP/1.1 301 "), "{answer:?}");
    drop(connection);
    target.still_answers("segments of strangers");
    target.assert_unharmed();
}

/// A website whose card is connected to nobody but the test.
struct Target {
    host: Host,
    running: Running,
}

impl Target {
    fn start() -> Self {
        let wire = LooseWire::new();
        let system = system(PATIENT).argument("--emulator").argument(wire.emulator());
        let running = system.start_published(0, None);
        let mut target = Self { host: Host::new(wire.connected()), running };
        target.still_answers("the boot");
        target
    }

    /// Asserts that a request over HTTPS is answered.
    #[track_caller]
    fn still_answers(&mut self, after: &str) {
        still_answers(&mut self.host, &self.running, after);
    }

    #[track_caller]
    fn flood(&mut self, name: &str, frame: impl Fn(u32) -> Vec<u8>) {
        (0..FLOOD).for_each(|number| self.host.send(&frame(number)));
        self.still_answers(name);
    }

    /// Opens a connection from this port, as a stranger to the host's own stack; gives the segment that resets it.
    #[track_caller]
    fn open(&mut self, port: u16) -> Vec<u8> {
        let way = self.host.way.with_source(SocketAddrV4::new(ROUTER, port));
        let syn = way.tcp(&Segment { flags: SYN, sequence: 0, ..Segment::default() });
        let is_answer = |frame: &[u8]| {
            frame.get(36..38) == Some(&port.to_be_bytes()) && frame.get(47) == Some(&(SYN | ACK))
        };
        let answer = (0..TRIES).find_map(|_| {
            self.host.send(&syn);
            self.host.receive(Duration::from_secs(1), is_answer)
        });
        let answer = answer.unwrap_or_else(|| panic!("a SYN from port {port} is never answered"));
        let theirs = u32::from_be_bytes(answer[38..42].try_into().expect("it has four bytes"));
        let segment = Segment { sequence: 1, acknowledged: theirs.wrapping_add(1), ..Segment::default() };
        self.host.send(&way.tcp(&Segment { flags: ACK, ..segment }));
        way.tcp(&Segment { flags: RST, ..segment })
    }

    #[track_caller]
    fn assert_unharmed(mut self) -> Run {
        self.still_answers("everything");
        assert_never_restarted(self.running)
    }
}

#[track_caller]
fn still_answers(host: &mut Host, website: &Running, after: &str) {
    // On Ethernet anybody can pretend to be anybody. When the router speaks up, the website knows it again.
    host.speak_up();
    let begun = Instant::now();
    let answer = host.get(website.tls_client()).unwrap_or_else(|error| panic!("after {after}: {error}"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(PAGE), "after {after}: {answer}");
    println!("answers {} ms after {after}", begun.elapsed().as_millis());
}

/// Frames of a flood.
const FLOOD: u32 = 10_000;
/// Connections that are opened and reset.
const CHURN: u16 = 2000;
/// How often a SYN is sent.
const TRIES: usize = 120;
