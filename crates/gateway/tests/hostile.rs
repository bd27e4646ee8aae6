//! A unikernel that sends what it wants: others go on, and the network does.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use smoltcp::socket::tcp::State;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol};
use support::{GUEST, PATIENCE, Plan, ROUTER, Served};

#[test]
fn a_flood_of_any_frames_does_not_stop_a_neighbour() {
    let mut served = with_a_neighbour();
    let address = served.1;
    let [victim, attacker] = &mut served.0.guests[..] else { panic!("two") };
    let handle = victim.listen(80);
    let client = exchange(address);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut said = Vec::new();
    victim.until("the neighbour's client", |victim| {
        for _ in 0..200 {
            attacker.card.send(&random.frame());
        }
        attacker.card.tell();
        let socket = victim.tcp(handle);
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), said.extend_from_slice(bytes))).unwrap();
        }
        if said.len() == SENT && socket.may_send() {
            socket.send_slice(b"done").unwrap();
            socket.close();
        }
        client.is_finished()
    });
    assert_eq!(client.join().unwrap(), b"done");
}

#[test]
fn a_counter_that_is_full_does_not_keep_a_neighbour_from_waking_the_network() {
    let mut served = with_a_neighbour();
    let [victim, attacker] = &mut served.0.guests[..] else { panic!("two") };
    for port in 50_000..50_010 {
        attacker.card.fill_counter();
        // Nobody listens there: the answer is a reset, and nothing but the question wakes the network.
        let handle = victim.connect((ROUTER, 1), port);
        victim.until("an answer", |victim| victim.tcp(handle).state() == State::Closed);
    }
}

#[test]
fn an_address_that_was_given_to_another_is_not_taken_over() {
    let mut served = with_a_neighbour();
    let address = served.1;
    let [victim, attacker] = &mut served.0.guests[..] else { panic!("two") };
    let mac = EthernetAddress([2, 0, 0, 0, 0, 2]);
    // The neighbour has not been heard yet, and the attacker is first.
    for operation in [ArpOperation::Request, ArpOperation::Reply] {
        attacker.card.send(&arp(operation, mac, GUEST, ROUTER));
    }
    attacker.card.tell();
    let handle = victim.listen(80);
    let client = exchange(address);
    assert_eq!(victim.read_to_end(handle).len(), SENT);
    victim.tcp(handle).send_slice(b"done").unwrap();
    victim.tcp(handle).close();
    victim.until("the client", |_| client.is_finished());
    served.0.wait_for_line("guest1 may not use the address 10.0.2.15");
}

#[test]
fn a_flood_of_refusals_does_not_fill_the_log() {
    let mut served = Plan::new().serve();
    let guest = served.guest();
    let handle = guest.bind(40_000);
    for number in 0..2000_u16 {
        let to = Ipv4Addr::new(192, 0, 2, (number % 250) as u8 + 1);
        while guest.udp(handle).send_slice(b"x", (IpAddr::from(to), 1000 + number)).is_err() {
            guest.turn();
        }
        guest.turn();
    }
    guest.work(Duration::from_millis(200));
    let refusals = served.lines().iter().filter(|line| line.contains("may not reach")).count();
    assert!((1..=20).contains(&refusals), "{refusals}");
}

/// A network of two: the first has a published port.
fn with_a_neighbour() -> (Served, std::net::SocketAddr) {
    let mut plan = Plan::new().with_lease(Ipv4Addr::new(10, 0, 2, 16));
    let address = plan.publish_tcp((GUEST, 80));
    (plan.serve(), address)
}

/// A client that sends something and reads the answer.
fn exchange(address: std::net::SocketAddr) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&vec![7; SENT]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    })
}

fn arp(operation: ArpOperation, mac: EthernetAddress, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress([0x52, 0x55, 10, 0, 2, 2]),
        target_protocol_addr: target,
    };
    let mut frame = vec![0; 14 + repr.buffer_len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    ethernet.set_src_addr(mac);
    ethernet.set_dst_addr(EthernetAddress::BROADCAST);
    ethernet.set_ethertype(EthernetProtocol::Arp);
    repr.emit(&mut ArpPacket::new_unchecked(ethernet.payload_mut()));
    frame
}

/// Xorshift: the same frames in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }

    /// A frame for the router that is plausible up to a point.
    fn frame(&mut self) -> Vec<u8> {
        let length = 14 + self.next() as usize % 200;
        let mut frame: Vec<u8> = (0..length).map(|_| self.next() as u8).collect();
        frame[..6].copy_from_slice(&[0x52, 0x55, 10, 0, 2, 2]);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
        let kind: u16 = [0x0800, 0x0806, 0x86dd, 0x0800][self.next() as usize % 4];
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        if kind == 0x0800 && length >= 54 {
            frame[14] = 0x45;
            frame[16..18].copy_from_slice(&(length as u16 - 14).to_be_bytes());
            frame[20..22].fill(0);
            frame[23] = [6, 17, 1, 6][self.next() as usize % 4];
            frame[26..30].copy_from_slice(&[10, 0, 2, 16]);
            frame[30..34].copy_from_slice(if self.next().is_multiple_of(2) {
                &[10, 0, 2, 2]
            } else {
                &[192, 0, 2, 1]
            });
            frame[46] = 0x50;
            frame[38..40].copy_from_slice(&(length as u16 - 34).to_be_bytes());
        }
        frame
    }
}

const SENT: usize = 200_000;
