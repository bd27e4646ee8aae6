//! What goes out: connections, datagrams and names that are allowed, and what becomes of the others.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Instant;

use palisade_gateway::Outbound;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{Icmpv4Packet, Ipv4Packet};
use support::{Guest, NAME_SERVER, Plan, ROUTER, ROUTER_6};

#[test]
fn nothing_leaves_by_default_and_the_log_says_what_wanted_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut served = Plan::new().serve();
    assert!(is_refused(served.guest(), (ROUTER, port)));
    assert!(is_refused(served.guest(), (OUTSIDE, 443)));
    served.wait_for_line(&format!("guest0 may not reach 10.0.2.2:{port}/tcp"));
    served.wait_for_line("guest0 may not reach 192.0.2.1:443/tcp");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody has come");
}

#[test]
fn a_listed_port_of_this_computer_is_reached_at_the_router_s_address() {
    for address in [IpAddr::from(ROUTER), ROUTER_6.into()] {
        let home = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let listener = TcpListener::bind(home).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut served = Plan::new().allowing(&[format!("localhost:{port}")]).serve();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(b"and you?").unwrap();
            all
        });
        let guest = served.guest();
        let handle = guest.connect((address, port), 50_000);
        guest.until("a connection", |guest| guest.tcp(handle).may_send());
        guest.tcp(handle).send_slice(b"how are you?").unwrap();
        guest.tcp(handle).close();
        assert_eq!(guest.read_to_end(handle), b"and you?");
        assert_eq!(server.join().unwrap(), b"how are you?");
        assert!(is_refused(guest, (address, port.wrapping_add(1).max(1))), "another port");
    }
}

#[test]
fn a_unikernel_is_connected_only_if_its_peer_is() {
    // A port that was bound a moment ago, and is not any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut served = Plan::new().allowing(&[format!("localhost:{port}")]).serve();
    assert!(is_refused(served.guest(), (ROUTER, port)));
    assert!(served.lines().is_empty(), "it was allowed: {:?}", served.lines());
}

#[test]
fn any_is_any() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut plan = Plan::new();
    plan.outbound = Outbound::Any;
    let mut served = plan.serve();
    let handle = served.guest().connect((ROUTER, port), 50_000);
    served.guest().until("a connection", |guest| guest.tcp(handle).may_send());
}

#[test]
fn a_unikernel_has_so_many_connections_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut served = Plan::new().allowing(&[format!("localhost:{port}")]).serve();
    let guest = served.guest();
    let server = thread::spawn(move || {
        let streams: Vec<_> = (0..256).map(|_| listener.accept().unwrap()).collect();
        listener.set_nonblocking(true).unwrap();
        (streams, listener)
    });
    let handles: Vec<_> = (0..300).map(|number| guest.connect((ROUTER, port), 50_000 + number)).collect();
    guest.until("all connections that there can be", |guest| {
        server.is_finished() && handles.iter().filter(|handle| guest.tcp(**handle).may_send()).count() == 256
    });
    let (streams, listener) = server.join().unwrap();
    assert!(listener.accept().is_err());
    drop(streams);
    // Those that are over make room for those that still ask.
    listener.set_nonblocking(false).unwrap();
    let server = thread::spawn(move || (0..44).for_each(|_| drop(listener.accept().unwrap())));
    guest.until("the others", |guest| {
        let is_over = |guest: &mut Guest, handle| guest.tcp(handle).state() == State::CloseWait;
        for handle in &handles {
            if is_over(guest, *handle) {
                guest.tcp(*handle).close();
            }
        }
        server.is_finished()
    });
}

#[test]
fn a_unikernel_leaves_its_neighbour_some_of_the_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plan = Plan::new().with_lease(Ipv4Addr::new(10, 0, 2, 16));
    let mut served = plan.allowing(&[format!("localhost:{port}")]).serve();
    let [first, second] = &mut served.guests[..] else { panic!("two") };
    second.configure(Ipv4Addr::new(10, 0, 2, 16));
    let connected = |guest: &mut Guest, handles: &[SocketHandle]| {
        handles.iter().filter(|handle| guest.tcp(**handle).may_send()).count()
    };
    let _streams = thread::spawn(move || listener.incoming().take(256).collect::<Vec<_>>());
    let of_first: Vec<_> = (0..300).map(|number| first.connect((ROUTER, port), 50_000 + number)).collect();
    first.until("three quarters", |guest| connected(guest, &of_first) == 192);
    let of_second: Vec<_> = (0..100).map(|number| second.connect((ROUTER, port), 50_000 + number)).collect();
    second.until("the rest", |guest| connected(guest, &of_second) == 64);
}

#[test]
fn datagrams_leave_if_they_may_and_answers_come_back() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let mut served = Plan::new().allowing(&[format!("localhost:{port}/udp")]).serve();
    let guest = served.guest();
    let handle = guest.bind(40_000);
    guest.udp(handle).send_slice(b"ping", SocketAddr::from((ROUTER, port))).unwrap();
    let (asked, from) = received(guest, &server);
    assert_eq!(asked, b"ping");
    server.send_to(b"pong", from).unwrap();
    guest.until("the answer", |guest| guest.udp(handle).can_recv());
    let (bytes, from) = guest.udp(handle).recv().unwrap();
    assert_eq!((bytes, from.endpoint), (&b"pong"[..], SocketAddr::from((ROUTER, port)).into()));

    guest.card.seen = Some(Default::default());
    guest.udp(handle).send_slice(b"ping", SocketAddr::from((OUTSIDE, 53))).unwrap();
    guest.until("a refusal", |guest| guest.card.seen.iter().flatten().any(|frame| is_prohibition(frame)));
    served.wait_for_line("guest0 may not reach 192.0.2.1:53/udp");
}

#[test]
fn datagrams_that_may_not_leave_are_answered_a_hundred_times_a_second() {
    let mut served = Plan::new().serve();
    let guest = served.guest();
    let handle = guest.bind(40_000);
    guest.card.seen = Some(Default::default());
    let begun = Instant::now();
    for _ in 0..1000 {
        guest.until("room", |guest| guest.udp(handle).can_send());
        guest.udp(handle).send_slice(b"noise", SocketAddr::from((OUTSIDE, 53))).unwrap();
        guest.turn();
    }
    // What comes after them comes after what answers them.
    assert!(is_refused(guest, (OUTSIDE, 443)));
    let answers = guest.card.seen.iter().flatten().filter(|frame| is_prohibition(frame)).count();
    let most = 100 + begun.elapsed().as_millis() as usize / 10;
    assert!((1..=most).contains(&answers), "{answers} answers, {most} at most");
}

#[test]
fn a_name_is_asked_for_on_behalf_of_those_who_may_use_it() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut plan = Plan::new().allowing(&["git.example.org:443".into(), "localhost:1".into()]);
    plan.name_servers = vec![upstream.local_addr().unwrap()];
    let mut served = plan.serve();
    let guest = served.guest();
    let handle = guest.bind(40_000);

    let asked = question(77, "Git.Example.ORG");
    guest.udp(handle).send_slice(&asked, SocketAddr::from((NAME_SERVER, 53))).unwrap();
    let (forwarded, from) = received(guest, &upstream);
    assert_eq!(forwarded[2..], asked[2..]);
    // What was not asked for says nothing.
    let mut forged = answer(&forwarded, OUTSIDE);
    forged[0] ^= 1;
    upstream.send_to(&forged, from).unwrap();
    upstream.send_to(&answer(&forwarded, OUTSIDE), from).unwrap();
    let told = receive(guest, handle);
    assert_eq!(told, answer(&asked, OUTSIDE));

    let told = ask(guest, handle, question(78, "evil.example.org"));
    assert_eq!((&told[..2], told[3] & 15), (&[0, 78][..], 5), "refused");
    let told = ask(guest, handle, question(79, "localhost"));
    assert_eq!(told[told.len() - 4..], ROUTER.octets());
    served.wait_for_line("guest0 may not ask for evil.example.org");
}

#[test]
fn a_name_server_that_does_not_answer_is_said_to() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut plan = Plan::new().allowing(&["git.example.org:443".into()]);
    plan.name_servers = vec![silent.local_addr().unwrap()];
    let mut served = plan.serve();
    let guest = served.guest();
    let handle = guest.bind(40_000);
    let told = ask(guest, handle, question(5, "git.example.org"));
    assert_eq!((&told[..2], told[3] & 15), (&[0, 5][..], 2), "a failure of the server");
}

#[test]
fn the_router_answers_echoes_and_nobody_else_does() {
    let mut served = Plan::new().serve();
    let guest = served.guest();
    let buffer = || {
        smoltcp::socket::icmp::PacketBuffer::new(
            vec![smoltcp::socket::icmp::PacketMetadata::EMPTY; 4],
            vec![0; 1000],
        )
    };
    let mut socket = smoltcp::socket::icmp::Socket::new(buffer(), buffer());
    socket.bind(smoltcp::socket::icmp::Endpoint::Ident(7)).unwrap();
    let handle = guest.sockets.add(socket);
    let echo = [8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4];
    for to in [OUTSIDE, ROUTER] {
        let socket = guest.sockets.get_mut::<smoltcp::socket::icmp::Socket<'_>>(handle);
        let mut packet = echo;
        Icmpv4Packet::new_unchecked(&mut packet).fill_checksum();
        socket.send_slice(&packet, to.into()).unwrap();
    }
    guest.until("an echo", |guest| {
        guest.sockets.get_mut::<smoltcp::socket::icmp::Socket<'_>>(handle).can_recv()
    });
    let (_, from) = guest.sockets.get_mut::<smoltcp::socket::icmp::Socket<'_>>(handle).recv().unwrap();
    assert_eq!(from, ROUTER.into());
    assert!(!guest.sockets.get_mut::<smoltcp::socket::icmp::Socket<'_>>(handle).can_recv());
}

#[test]
fn a_unikernel_without_an_address_is_given_its_own() {
    let lease = Ipv4Addr::new(10, 0, 2, 16);
    let mut plan = Plan::new().with_lease(lease);
    let address = plan.publish_tcp((lease, 80));
    let mut served = plan.serve();
    let guest = &mut served.guests[1];
    let dhcp = guest.sockets.add(smoltcp::socket::dhcpv4::Socket::new());
    let mut configured = None;
    guest.until("an address", |guest| {
        if let Some(smoltcp::socket::dhcpv4::Event::Configured(config)) =
            guest.sockets.get_mut::<smoltcp::socket::dhcpv4::Socket<'_>>(dhcp).poll()
        {
            configured = Some((config.address, config.router, config.dns_servers.to_vec()));
        }
        configured.is_some()
    });
    let (cidr, router, servers) = configured.unwrap();
    assert_eq!(
        (cidr.address(), cidr.prefix_len(), router, servers),
        (lease, 24, Some(ROUTER), vec![NAME_SERVER])
    );
    guest.configure(lease);
    let handle = guest.listen(80);
    let client =
        thread::spawn(move || std::net::TcpStream::connect(address).unwrap().write_all(b"found").unwrap());
    assert_eq!(guest.read_to_end(handle), b"found");
    client.join().unwrap();
}

#[test]
fn a_unikernel_with_a_fixed_address_is_given_none() {
    let mut served = Plan::new().serve();
    let guest = served.guest();
    guest.card.seen = Some(Default::default());
    guest.sockets.add(smoltcp::socket::dhcpv4::Socket::new());
    // An answer to what is asked later comes later.
    let handle = guest.bind(40_000);
    guest.turn();
    ask(guest, handle, question(1, "a.example"));
    let is_dhcp =
        |frame: &Vec<u8>| frame.len() > 40 && frame[23] == 17 && frame[36..38] == 68_u16.to_be_bytes();
    assert!(!guest.card.seen.iter().flatten().any(is_dhcp));
}

/// Whether a connection is reset before it is one.
fn is_refused(guest: &mut Guest, to: impl Into<SocketAddr>) -> bool {
    let handle = guest.connect(to, 60_000);
    guest.until("an answer", |guest| guest.tcp(handle).state() != State::SynSent);
    let refused = guest.tcp(handle).state() == State::Closed;
    guest.sockets.remove(handle);
    refused
}

/// Whether a frame says "administratively prohibited".
fn is_prohibition(frame: &[u8]) -> bool {
    let Ok(packet) = Ipv4Packet::new_checked(&frame[14..]) else { return false };
    packet.next_header() == smoltcp::wire::IpProtocol::Icmp
        && packet.src_addr() == ROUTER
        && Icmpv4Packet::new_checked(packet.payload())
            .is_ok_and(|icmp| icmp.verify_checksum() && packet.payload()[..2] == [3, 13])
}

fn ask(guest: &mut Guest, handle: smoltcp::iface::SocketHandle, question: Vec<u8>) -> Vec<u8> {
    guest.udp(handle).send_slice(&question, SocketAddr::from((NAME_SERVER, 53))).unwrap();
    receive(guest, handle)
}

fn receive(guest: &mut Guest, handle: smoltcp::iface::SocketHandle) -> Vec<u8> {
    guest.until("an answer", |guest| guest.udp(handle).can_recv());
    guest.udp(handle).recv().unwrap().0.to_vec()
}

/// What comes to a socket of this computer while the unikernel works, and from where.
fn received(guest: &mut Guest, socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    let mut received = None;
    guest.until("a datagram", |_| {
        received = socket.recv_from(&mut buffer).ok();
        received.is_some()
    });
    let (count, from) = received.unwrap();
    (buffer[..count].to_vec(), from)
}

/// A question for the IPv4 addresses of a name.
fn question(id: u16, name: &str) -> Vec<u8> {
    let header = [id, 0x0100, 1, 0, 0, 0].map(u16::to_be_bytes).concat();
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    header.into_iter().chain(labels).chain([0, 0, 1, 0, 1]).collect()
}

/// The answer to it.
fn answer(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[7] = 1;
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
    message.extend(address.octets());
    message
}

/// An address for documentation (RFC 5737), which nobody has.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
