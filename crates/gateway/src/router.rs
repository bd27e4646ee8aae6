//! The gateway as the wire of the switch: what unikernels send to it is dealt with at once, and what they get is made when
//! the switch asks for it.

mod connection;
mod connections;
mod datagrams;
mod emit;
mod entries;
pub mod frame;
mod leases;
mod link;
mod listeners;
pub mod message;
mod names;
mod permissions;
mod shares;
mod stack;
mod timers;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use palisade_abi::network_element::MAX_FRAME;
use palisade_policy::Protocol;
use palisade_services::switch::{Loss, Wire};
use palisade_unikernel_core::datagram::Refusals;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::rand::{GetRandomFlags, getrandom};
use smoltcp::time::Instant;
use smoltcp::wire::{ArpOperation, DHCP_SERVER_PORT, EthernetAddress};

use self::connection::{Ends, Opener};
use self::connections::{Connections, Limits};
use self::datagrams::{Datagrams, Pair};
use self::emit::Buffer;
use self::frame::{Content, Frame, Packet};
use self::link::{Heard, Link};
use self::listeners::Listeners;
use self::names::{Asker, NameServer, Verdict};
use self::permissions::Permissions;
use self::stack::Stack;
use crate::complaints::Complaints;
use crate::pace::Pace;
use crate::poll::{Readiness, Registry, Token};
use crate::setup::{Gateway, Listener, Port, Published};
use crate::world::World;

/// A gateway that is ready to be a wire.
pub(crate) struct Router {
    link: Link,
    stack: Stack,
    connections: Connections,
    datagrams: Datagrams,
    names: NameServer,
    permissions: Permissions,
    listeners: Listeners,
    /// Published ports in the order of the setup.
    published: Vec<Place>,
    clients: Vec<Client>,
    /// Frames that answer what was sent.
    replies: VecDeque<(usize, Buffer)>,
    scratch: Box<Buffer>,
    pace: Pace,
    /// Whether datagrams come before connections in what is received next.
    datagrams_first: bool,
    complaints: Complaints,
    registry: Registry,
    now: Instant,
}

/// Where a published port is.
#[derive(Clone, Copy)]
enum Place {
    Listener(usize),
    Datagrams(usize),
}

/// A unikernel behind the switch.
struct Client {
    name: String,
    lease: Option<Ipv4Addr>,
    refusals: Refusals,
}

impl Router {
    /// A router for these ports.
    pub(crate) fn new(
        gateway: Gateway,
        mac: [u8; 6],
        ports: &[Port],
        descriptors: usize,
        registry: Registry,
        now: Instant,
    ) -> io::Result<Self> {
        let link = Link::new(mac, gateway.ipv4, gateway.ipv6, ports);
        let ipv6 = gateway.ipv6.map(|ipv6| (ipv6.router.into(), ipv6.prefix));
        let own: Vec<_> =
            [(gateway.ipv4.router.into(), gateway.ipv4.prefix)].into_iter().chain(ipv6).collect();
        let permissions = Permissions::new(gateway.outbound, gateway.own_addresses);
        let servers: &[SocketAddr] = if permissions.allow_something() { &gateway.name_servers } else { &[] };
        let names = NameServer::new(servers, ports.len(), &registry);
        let (mut listeners, mut sockets, mut published) = (Listeners::new(), Vec::new(), Vec::new());
        for (Published { listener, guest }, place) in gateway.published.into_iter().zip(0..) {
            match listener {
                Listener::Tcp(listener) => {
                    registry.add(&listener, Token::Published(place))?;
                    published.push(Place::Listener(listeners.add(listener, guest)?));
                }
                Listener::Udp(socket) => {
                    registry.add(&socket, Token::Published(place))?;
                    published.push(Place::Datagrams(sockets.len()));
                    sockets.push((socket, guest));
                }
            }
        }
        let limits = Limits::within(descriptors);
        let client = |port: &Port| Client {
            name: port.subject.clone(),
            lease: port.lease,
            refusals: Refusals::default(),
        };
        Ok(Self {
            link,
            stack: Stack::new(&own, seed()?, now),
            connections: Connections::new(limits, listeners.addresses(), ports.len(), registry.clone()),
            datagrams: Datagrams::new(sockets, ports.len()),
            names,
            permissions,
            listeners,
            published,
            clients: ports.iter().map(client).collect(),
            replies: VecDeque::with_capacity(MOST_REPLIES),
            scratch: Box::new([0; MAX_FRAME]),
            pace: Pace::default(),
            datagrams_first: false,
            complaints: Complaints::new(),
            registry,
            now,
        })
    }

    /// Whether the sender may use the address. From then on he can be found there.
    fn hear(&mut self, address: IpAddr, mac: EthernetAddress, sender: usize) -> bool {
        match self.link.hear(address, mac, sender) {
            Heard::Known => true,
            Heard::New => {
                self.connections.found(address);
                self.datagrams.found(address);
                true
            }
            Heard::Foreign => {
                self.complain(sender, &format!("may not use the address {address}"));
                false
            }
        }
    }

    fn arp(&mut self, asks: bool, from: Ipv4Addr, target: Ipv4Addr, mac: EthernetAddress, sender: usize) {
        // Who has no address yet asks whether somebody has the one that he wants (RFC 5227, 2.1.1).
        let is_heard = from.is_unspecified() || self.hear(from.into(), mac, sender);
        if is_heard && asks && self.link.is_own(target.into()) {
            let ends = self.link.back_to(mac);
            let length = emit::arp(&mut self.scratch, ends, ArpOperation::Reply, target, from);
            self.reply(length);
        }
    }

    fn packet(&mut self, packet: Packet<'_>, mac: EthernetAddress, sender: usize) {
        let is_own = self.link.is_own(packet.destination);
        if let Content::Datagram { to: DHCP_SERVER_PORT, payload, .. } = packet.content
            && (is_own || packet.destination == IpAddr::V4(Ipv4Addr::BROADCAST))
        {
            return self.lease(payload, mac, sender);
        }
        if packet.source.is_unspecified() || !self.hear(packet.source, mac, sender) {
            return;
        }
        match packet.content {
            Content::Solicitation(target) if self.link.is_own(target.into()) => {
                if let IpAddr::V6(to) = packet.source {
                    let ends = self.link.back_to(mac);
                    let length = emit::advertisement(&mut self.scratch, ends, target, to);
                    self.reply(length);
                }
            }
            Content::Segment { from, to, opens } => {
                let outside = SocketAddr::new(packet.destination, to);
                let ends = Ends { outside, guest: SocketAddr::new(packet.source, from) };
                self.segment(ends, opens, packet.bytes, mac, sender);
            }
            Content::Datagram { from, to, payload } => {
                let outside = SocketAddr::new(packet.destination, to);
                let pair = Pair { outside, guest: SocketAddr::new(packet.source, from) };
                if is_own && to == NAME_SERVER_PORT {
                    self.question(pair, payload, sender);
                } else {
                    self.datagram(pair, payload, packet.bytes, mac, sender);
                }
            }
            Content::Echo if is_own => {
                let length = self.stack.refuse(packet.bytes, &mut self.scratch, self.now);
                self.reply_packet(length, mac);
            }
            _ => {}
        }
    }

    fn segment(&mut self, ends: Ends, opens: bool, bytes: &[u8], mac: EthernetAddress, sender: usize) {
        let Self { connections, stack, scratch, .. } = self;
        if let Some(length) = connections.segment(ends, bytes, stack, scratch, self.now) {
            self.pace.heard(sender);
            return self.reply_packet(length, mac);
        }
        let opened = if opens { self.open(ends, bytes, sender) } else { Opened::No };
        if opened == Opened::No {
            // The stack answers what belongs to nobody with a reset.
            let length = self.stack.refuse(bytes, &mut self.scratch, self.now);
            self.reply_packet(length, mac);
        }
    }

    /// Opens a connection to the outside.
    fn open(&mut self, ends: Ends, bytes: &[u8], sender: usize) -> Opened {
        let Some(remote) = self.allow(Protocol::Tcp, ends.outside) else {
            self.refuse(Protocol::Tcp, ends.outside, sender);
            return Opened::No;
        };
        if !self.connections.has_room(Opener::Guest(sender)) {
            return Opened::Later;
        }
        let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = socket_with(family, SocketType::STREAM, flags, None) else { return Opened::Later };
        // Not having this option costs time, and nothing else.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        match connect(&socket, &remote) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(_) => return Opened::No,
        }
        let opened = self.connections.opened(sender, socket, ends, bytes, &mut self.stack, self.now);
        if opened.is_some() { Opened::Yes } else { Opened::No }
    }

    fn datagram(&mut self, pair: Pair, payload: &[u8], bytes: &[u8], mac: EthernetAddress, sender: usize) {
        let to = pair.outside.ip();
        if self.datagrams.forward(pair, payload, self.now) || is_for_many(to) {
            return;
        }
        match self.allow(Protocol::Udp, pair.outside) {
            Some(remote) => {
                if self.datagrams.begin(sender, pair, remote, &self.registry, self.now).is_some() {
                    self.datagrams.forward(pair, payload, self.now);
                }
            }
            None if !self.is_worth_an_answer(sender) => {}
            None => {
                self.refuse(Protocol::Udp, pair.outside, sender);
                let (ends, own) = (self.link.back_to(mac), self.link.router(pair.guest.ip()));
                let length = emit::prohibition(&mut self.scratch, ends, own, bytes);
                self.reply(length);
            }
        }
    }

    /// Where something goes that a unikernel sends to `outside`, if it may.
    fn allow(&mut self, protocol: Protocol, outside: SocketAddr) -> Option<SocketAddr> {
        let is_router = outside.ip() == self.link.router(outside.ip());
        let is_inside = self.link.is_near(outside.ip()) || self.link.is_own(outside.ip()) && !is_router;
        self.permissions.allow(protocol, outside, is_router, self.now).filter(|_| !is_inside)
    }

    /// Whether one more datagram that may not leave is said to be refused: both the line and the message cost more than it did.
    fn is_worth_an_answer(&mut self, sender: usize) -> bool {
        let now = self.now.total_micros().unsigned_abs();
        self.clients.get_mut(sender).is_some_and(|client| client.refusals.admits(now))
    }

    fn refuse(&mut self, protocol: Protocol, outside: SocketAddr, sender: usize) {
        self.complain(sender, &format!("may not reach {outside}/{protocol}"));
    }

    fn lease(&mut self, message: &[u8], mac: EthernetAddress, sender: usize) {
        let Some(lease) = self.clients.get(sender).and_then(|client| client.lease) else { return };
        let ends = self.link.back_to(mac);
        let length = leases::answer(message, ends, lease, self.link.ipv4(), &mut self.scratch);
        self.reply(length);
    }

    fn question(&mut self, pair: Pair, message: &[u8], sender: usize) {
        let asker = Asker { port: sender, guest: pair.guest, asked: pair.outside };
        let (ipv4, ipv6) = (self.link.ipv4().router, self.link.ipv6().map(|ipv6| ipv6.router));
        let router = |about| match about {
            message::About::Ipv4 => Some(ipv4.into()),
            message::About::Ipv6 => ipv6.map(IpAddr::V6),
            message::About::Other => None,
        };
        match self.names.ask(message, asker, &self.permissions, router, self.now) {
            Verdict::Wait => {}
            Verdict::Answer(answer) => self.tell(asker, &answer),
            Verdict::Refuse(answer, name) => {
                self.complain(sender, &format!("may not ask for {}", name.escape_default()));
                self.tell(asker, &answer);
            }
        }
    }

    /// Sends what the name server says.
    fn tell(&mut self, asker: Asker, message: &[u8]) {
        let start = emit::datagram_payload(asker.guest.ip());
        let room = self.scratch.get_mut(start..start + message.len());
        if let (Some(ends), Some(room)) = (self.link.to(asker.guest.ip()), room) {
            room.copy_from_slice(message);
            let length = emit::datagram(&mut self.scratch, ends, asker.asked, asker.guest, message.len());
            self.reply(length);
        }
    }

    /// Queues the frame that was made, if one was.
    fn reply(&mut self, length: Option<usize>) {
        if let Some(length) = length.filter(|_| self.replies.len() < MOST_REPLIES) {
            self.replies.push_back((length, *self.scratch));
        }
    }

    /// The same for a packet that has no header yet.
    fn reply_packet(&mut self, length: Option<usize>, mac: EthernetAddress) {
        let ends = self.link.back_to(mac);
        let length = length.and_then(|length| emit::packet(&mut self.scratch, ends, length));
        self.reply(length);
    }

    fn complain(&mut self, sender: usize, what: &str) {
        let name = self.clients.get(sender).map_or("somebody", |client| client.name.as_str());
        self.complaints.add(format!("{name} {what}"), self.now);
    }
}

/// What became of a wish for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Yes,
    No,
    /// There is no room: it will be asked for again.
    Later,
}

impl Wire for Router {
    fn receive(&mut self, buffer: &mut Buffer) -> Option<Result<usize, Loss>> {
        if let Some((length, frame)) = self.replies.pop_front() {
            *buffer = frame;
            return Some(Ok(length));
        }
        self.datagrams_first = !self.datagrams_first;
        let holds = self.pace.holds();
        let Self { connections, datagrams, stack, link, now, .. } = self;
        let length = if self.datagrams_first {
            let first = datagrams.next_frame(buffer, link, *now);
            first.or_else(|| connections.next_frame(buffer, stack, link, holds, *now))
        } else {
            let first = connections.next_frame(buffer, stack, link, holds, *now);
            first.or_else(|| datagrams.next_frame(buffer, link, *now))
        };
        length.or_else(|| link.ask(buffer, *now)).map(Ok)
    }

    fn has_received(&self) -> bool {
        !self.replies.is_empty()
            || self.connections.has_queued()
            || self.datagrams.has_queued()
            || self.link.due().is_some_and(|due| due <= self.now)
    }

    fn room(&mut self) -> usize {
        // A frame causes one reply, or two.
        (MOST_REPLIES - self.replies.len()) / 2
    }

    fn send(&mut self, frame: &[u8], sender: usize) {
        match frame::read(frame) {
            Some((mac, Frame::Arp { asks, sender: from, target })) => {
                self.arp(asks, from, target, mac, sender)
            }
            Some((mac, Frame::Packet(packet))) => self.packet(packet, mac, sender),
            None => {}
        }
    }

    fn restarted(&mut self, sender: usize) {
        self.link.forget(sender);
    }

    fn flush(&mut self) {
        self.pace.end_round();
    }
}

impl World for Router {
    fn begin(&mut self, now: Instant) {
        self.now = now;
        self.connections.expire(now);
        self.datagrams.expire(now);
        for (asker, answer) in self.names.expire(now) {
            self.tell(asker, &answer);
        }
        let Self { listeners, connections, link, stack, .. } = self;
        listeners.accept(connections, link, stack, now);
    }

    fn ready(&mut self, token: Token, readiness: Readiness) {
        match token {
            Token::Connection(key) => self.connections.ready(key, readiness),
            Token::Datagrams(key) if readiness.readable => self.datagrams.answered(key),
            Token::Published(place) if readiness.readable => match self.published.get(place as usize) {
                Some(Place::Listener(number)) => self.listeners.arrived(*number),
                Some(Place::Datagrams(number)) => self.datagrams.arrived(*number),
                None => {}
            },
            Token::NameServer(server) => {
                for _ in 0..MOST_ANSWERS {
                    match self.names.answer(server as usize, &mut self.permissions, self.now) {
                        Some(Some((asker, answer))) => self.tell(asker, &answer),
                        Some(None) => {}
                        None => break,
                    }
                }
            }
            _ => {}
        }
    }

    fn expects_more(&self) -> bool {
        self.pace.expects_more()
    }

    fn due(&self) -> Option<Instant> {
        let own = [
            self.connections.due(),
            self.datagrams.due(),
            self.names.due(),
            self.link.due(),
            self.listeners.due(&self.connections),
        ];
        own.into_iter().flatten().min()
    }

    fn complaints(&mut self) -> Vec<String> {
        self.complaints.take(self.now)
    }
}

/// Whether an address stands for more than one.
fn is_for_many(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// What sequence numbers begin with.
fn seed() -> io::Result<u64> {
    let mut seed = [0; 8];
    getrandom(seed.as_mut_slice(), GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(seed))
}

/// Most frames that wait for the switch to take them.
const MOST_REPLIES: usize = 512;
/// Most answers of a name server that are read before others have their turn.
const MOST_ANSWERS: usize = 128;
/// RFC 1035, 4.2.
const NAME_SERVER_PORT: u16 = 53;
