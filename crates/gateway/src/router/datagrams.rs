//! Datagrams: those that come to published ports and the answers to them, and those that leave and the answers to them.
//!
//! Who is answered is remembered for two minutes, for so many at a time; then a unikernel forgets whoever of its own has been
//! silent longest.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, recvfrom, send, sendto,
    socket_with,
};
use smoltcp::time::{Duration, Instant};

use super::emit::{self, Buffer};
use super::entries::Entries;
use super::link::Link;
use super::shares::Shares;
use crate::poll::{Key, Registry, Token};

/// All of them.
#[derive(Debug)]
pub(super) struct Datagrams {
    published: Vec<Port>,
    clients: Entries<Client>,
    client_keys: HashMap<(usize, SocketAddr), Key>,
    /// Clients by the ends that the unikernel sees.
    client_ports: HashMap<Pair, Key>,
    outgoing: Entries<Outgoing>,
    outgoing_keys: HashMap<Pair, Key>,
    /// How unikernels share the clients that are remembered, and the exchanges that they begin.
    by_client: Shares<IpAddr>,
    by_guest: Shares<usize>,
    /// Sockets that have something to read.
    queue: VecDeque<Source>,
    last_port: u16,
    /// When somebody is forgotten at the earliest.
    next_sweep: Option<Instant>,
}

/// The two ends of an exchange, as the unikernel sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    pub(super) outside: SocketAddr,
    pub(super) guest: SocketAddr,
}

#[derive(Debug)]
struct Port {
    socket: UdpSocket,
    guest: SocketAddr,
    is_queued: bool,
}

/// Somebody outside who has sent something to a published port.
#[derive(Debug)]
struct Client {
    port: usize,
    address: SocketAddr,
    pair: Pair,
    used: Instant,
}

/// An exchange that a unikernel has begun.
#[derive(Debug)]
struct Outgoing {
    /// The port of the switch that it came from.
    port: usize,
    socket: OwnedFd,
    pair: Pair,
    used: Instant,
    is_queued: bool,
}

/// What came of reading a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// A frame of this length.
    Frame(usize),
    /// One that nobody gets.
    Lost,
    /// An error: what was sent before has been refused, if it is not said again.
    Failed,
    /// None is there, or nobody to send it to.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Published(usize),
    Outgoing(Key),
}

impl Datagrams {
    pub(super) fn new(published: Vec<(UdpSocket, SocketAddr)>, ports: usize) -> Self {
        let guests: HashSet<IpAddr> = published.iter().map(|(_, guest)| guest.ip()).collect();
        let port = |(socket, guest)| Port { socket, guest, is_queued: false };
        Self {
            published: published.into_iter().map(port).collect(),
            clients: Entries::new(),
            client_keys: HashMap::new(),
            client_ports: HashMap::new(),
            outgoing: Entries::new(),
            outgoing_keys: HashMap::new(),
            by_client: Shares::new(MOST_CLIENTS, guests.len()),
            by_guest: Shares::new(MOST_OUTGOING, ports),
            queue: VecDeque::new(),
            last_port: FIRST_PORT,
            next_sweep: None,
        }
    }

    /// A published port has something to read.
    pub(super) fn arrived(&mut self, port: usize) {
        if let Some(published) = self.published.get_mut(port).filter(|published| !published.is_queued) {
            published.is_queued = true;
            self.queue.push_back(Source::Published(port));
        }
    }

    /// An outgoing socket has something to read.
    pub(super) fn answered(&mut self, key: Key) {
        if let Some(outgoing) = self.outgoing.get_mut(key).filter(|outgoing| !outgoing.is_queued) {
            outgoing.is_queued = true;
            self.queue.push_back(Source::Outgoing(key));
        }
    }

    /// A neighbour can be reached who could not before.
    pub(super) fn found(&mut self, guest: IpAddr) {
        for number in 0..self.published.len() {
            if self.published.get(number).is_some_and(|port| port.guest.ip() == guest) {
                self.arrived(number);
            }
        }
    }

    /// Whether there may be a frame to send.
    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Sends a unikernel's datagram to whom it answers, or to whom it wrote before. `false` if there is neither.
    pub(super) fn forward(&mut self, pair: Pair, payload: &[u8], now: Instant) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // Whatever cannot be sent is lost, as datagrams may be.
        if let Some(client) = self.client_ports.get(&pair).and_then(|key| self.clients.get_mut(*key)) {
            client.used = now;
            if let Some(port) = self.published.get(client.port) {
                let _ = sendto(&port.socket, payload, flags, &client.address);
            }
            return true;
        }
        let known = self.outgoing_keys.get(&pair).and_then(|key| self.outgoing.get_mut(*key));
        if let Some(outgoing) = known {
            outgoing.used = now;
            let _ = send(&outgoing.socket, payload, flags);
            return true;
        }
        false
    }

    /// Begins an exchange with `remote`, which the unikernel knows as the outside of `pair`. `None` if the kernel refuses.
    pub(super) fn begin(
        &mut self,
        port: usize,
        pair: Pair,
        remote: SocketAddr,
        registry: &Registry,
        now: Instant,
    ) -> Option<()> {
        if !self.by_guest.has_room(port) {
            let own = self.outgoing.iter_mut().filter(|(_, outgoing)| outgoing.port == port);
            let oldest = own.min_by_key(|(_, outgoing)| outgoing.used).map(|(key, _)| key)?;
            self.forget_outgoing(oldest);
        }
        let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, None).ok()?;
        connect(&socket, &remote).ok()?;
        let key = self.outgoing.add(Outgoing { port, socket, pair, used: now, is_queued: false });
        self.by_guest.take(port);
        self.outgoing_keys.insert(pair, key);
        self.next_sweep.get_or_insert(now + SILENCE);
        let watched = registry.add(&self.outgoing.get_mut(key)?.socket, Token::Datagrams(key));
        if watched.is_err() {
            self.forget_outgoing(key);
        }
        watched.ok()
    }

    /// Writes the next frame into `buffer`, and returns its length; `None` if nothing has come.
    pub(super) fn next_frame(&mut self, buffer: &mut Buffer, link: &mut Link, now: Instant) -> Option<usize> {
        let mut has_failed = false;
        for _ in 0..MOST_READ {
            let source = *self.queue.front()?;
            match self.read(source, buffer, link, now) {
                Read::Frame(length) => return Some(length),
                Read::Lost => has_failed = false,
                // What was refused before is said once, and others may have come meanwhile. What is said again lasts.
                Read::Failed if !has_failed => has_failed = true,
                Read::Failed | Read::Nothing => {
                    has_failed = false;
                    self.take_from_queue(source);
                }
            }
        }
        None
    }

    fn take_from_queue(&mut self, source: Source) {
        self.queue.pop_front();
        match source {
            Source::Published(number) => self.published.get_mut(number).map(|port| port.is_queued = false),
            Source::Outgoing(key) => self.outgoing.get_mut(key).map(|outgoing| outgoing.is_queued = false),
        };
    }

    /// Forgets those who have been silent for long.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|sweep| sweep > now) {
            return;
        }
        let old = |used: Instant| used + SILENCE <= now;
        let clients: Vec<Key> =
            self.clients.iter_mut().filter(|(_, client)| old(client.used)).map(|(key, _)| key).collect();
        clients.into_iter().for_each(|key| self.forget_client(key));
        let outgoing: Vec<Key> =
            self.outgoing.iter_mut().filter(|(_, outgoing)| old(outgoing.used)).map(|(key, _)| key).collect();
        outgoing.into_iter().for_each(|key| self.forget_outgoing(key));
        let is_empty = self.clients.len() + self.outgoing.len() == 0;
        self.next_sweep = (!is_empty).then(|| now + SILENCE / 4);
    }

    /// When [`Datagrams::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Reads a datagram and makes a frame of it, if it fits into one.
    fn read(&mut self, source: Source, buffer: &mut Buffer, link: &mut Link, now: Instant) -> Read {
        let guest = match source {
            Source::Published(number) => self.published.get(number).map(|port| port.guest),
            Source::Outgoing(key) => self.outgoing.get_mut(key).map(|outgoing| outgoing.pair.guest),
        };
        let Some(guest) = guest else { return Read::Nothing };
        let Some(ends) = link.to(guest.ip()) else {
            link.want(guest.ip(), now);
            return Read::Nothing;
        };
        let room = buffer.get_mut(emit::datagram_payload(guest.ip())..).unwrap_or_default();
        let space = room.len();
        let (length, from) = match self.receive(source, room) {
            Ok(received) => received,
            Err(Errno::AGAIN) => return Read::Nothing,
            Err(_) => return Read::Failed,
        };
        let outside = match source {
            Source::Published(number) => {
                from.and_then(|from| self.client(number, from, link.router(guest.ip()), now))
            }
            Source::Outgoing(key) => self.outgoing.get_mut(key).map(|outgoing| {
                outgoing.used = now;
                outgoing.pair.outside
            }),
        };
        let outside = outside.filter(|_| length <= space);
        match outside.and_then(|outside| emit::datagram(buffer, ends, outside, guest, length)) {
            Some(length) => Read::Frame(length),
            None => Read::Lost,
        }
    }

    /// The length of the next datagram, and whom it is from if anybody can send one there.
    fn receive(&mut self, source: Source, room: &mut [u8]) -> Result<(usize, Option<SocketAddr>), Errno> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        match source {
            Source::Published(number) => {
                let port = self.published.get(number).ok_or(Errno::AGAIN)?;
                let (_, length, from) = recvfrom(&port.socket, room, flags)?;
                Ok((length, from.and_then(|from| SocketAddr::try_from(from).ok())))
            }
            Source::Outgoing(key) => {
                let outgoing = self.outgoing.get_mut(key).ok_or(Errno::AGAIN)?;
                Ok((recv(&outgoing.socket, room, flags)?.1, None))
            }
        }
    }

    /// What the unikernel behind a published port knows a client as.
    fn client(
        &mut self,
        port: usize,
        address: SocketAddr,
        router: IpAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        let known = self.client_keys.get(&(port, address)).and_then(|key| self.clients.get_mut(*key));
        if let Some(client) = known {
            client.used = now;
            return Some(client.pair.outside);
        }
        let guest = self.published.get(port)?.guest;
        if !self.by_client.has_room(guest.ip()) {
            let own = self.clients.iter_mut().filter(|(_, client)| client.pair.guest.ip() == guest.ip());
            let oldest = own.min_by_key(|(_, client)| client.used).map(|(key, _)| key)?;
            self.forget_client(oldest);
        }
        let pair = (FIRST_PORT..=u16::MAX).find_map(|_| {
            self.last_port = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
            let pair = Pair { outside: SocketAddr::new(router, self.last_port), guest };
            (!self.client_ports.contains_key(&pair)).then_some(pair)
        })?;
        let key = self.clients.add(Client { port, address, pair, used: now });
        self.by_client.take(guest.ip());
        self.client_keys.insert((port, address), key);
        self.client_ports.insert(pair, key);
        self.next_sweep.get_or_insert(now + SILENCE);
        Some(pair.outside)
    }

    fn forget_client(&mut self, key: Key) {
        if let Some(client) = self.clients.remove(key) {
            self.client_keys.remove(&(client.port, client.address));
            self.client_ports.remove(&client.pair);
            self.by_client.give_back(client.pair.guest.ip());
        }
    }

    fn forget_outgoing(&mut self, key: Key) {
        if let Some(outgoing) = self.outgoing.remove(key) {
            self.outgoing_keys.remove(&outgoing.pair);
            self.by_guest.give_back(outgoing.port);
        }
    }
}

/// Most clients of published ports, and most exchanges that unikernels have begun, which have a socket each.
const MOST_CLIENTS: usize = 1024;
const MOST_OUTGOING: usize = 128;
/// Who says nothing for so long is forgotten (RFC 4787, 4.3, asks for two minutes of routers; what is forgotten here is found
/// again with the next datagram from either side).
const SILENCE: Duration = Duration::from_secs(120);
/// Most datagrams that are read for one frame: those that fit into none are lost.
const MOST_READ: usize = 16;
/// Ports from which the router sends datagrams: none that a service has.
const FIRST_PORT: u16 = 16384;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use palisade_abi::network_element::MAX_FRAME;
    use rustix::event::{EventfdFlags, eventfd};
    use smoltcp::wire::EthernetAddress;

    use super::*;
    use crate::poll::Poller;
    use crate::setup::Subnet;

    #[test]
    fn who_writes_to_many_leaves_others_those_they_have_written_to() {
        let registry = Poller::new().expect("it can be made").registry();
        let mut datagrams = Datagrams::new(vec![], 2);
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let pair = |port: u8, number: u16| Pair {
            outside: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), number)),
            guest: SocketAddr::from((Ipv4Addr::new(10, 0, 2, 15 + port), 5000)),
        };
        let begin = |datagrams: &mut Datagrams, port: u8, number: u16| {
            let now = Instant::from_secs(i64::from(number));
            datagrams.begin(port.into(), pair(port, number), remote, &registry, now).expect("it may");
        };
        begin(&mut datagrams, 1, 1);
        (2..400).for_each(|number| begin(&mut datagrams, 0, number));
        assert_eq!(datagrams.outgoing.len(), MOST_OUTGOING - MOST_OUTGOING / 4 + 1);
        let now = Instant::from_secs(400);
        assert!(datagrams.forward(pair(1, 1), b"", now), "the oldest of all is the neighbour's");
        assert!(datagrams.forward(pair(0, 399), b"", now) && !datagrams.forward(pair(0, 2), b"", now));
    }

    #[test]
    fn who_has_many_clients_leaves_others_theirs() {
        let (router, [a, b]) = (address(2), [15, 16].map(address));
        let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("it can be bound");
        let published = vec![(socket(), SocketAddr::new(a, 53)), (socket(), SocketAddr::new(b, 53))];
        let mut datagrams = Datagrams::new(published, 2);
        let from = |number: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        let neighbours = datagrams.client(1, from(1), router, Instant::ZERO).expect("there is room");
        for number in 1..5000_u16 {
            let now = Instant::from_secs(i64::from(number));
            datagrams.client(0, from(number), router, now).expect("there is room");
        }
        assert_eq!(datagrams.clients.len(), MOST_CLIENTS - MOST_CLIENTS / 4 + 1);
        assert_eq!(datagrams.client(1, from(1), router, Instant::from_secs(5000)), Some(neighbours));
    }

    #[test]
    fn an_error_that_lasts_keeps_nobody_busy() {
        let subnet = Subnet {
            prefix: 24,
            router: Ipv4Addr::new(10, 0, 2, 2),
            name_server: Ipv4Addr::new(10, 0, 2, 3),
        };
        let mut link = Link::new([2, 0, 0, 0, 0, 9], subnet, None, &[]);
        // Nothing that datagrams can be read from.
        let socket = UdpSocket::from(eventfd(0, EventfdFlags::CLOEXEC).expect("it can be made"));
        let mut datagrams = Datagrams::new(vec![(socket, SocketAddr::new(address(15), 53))], 1);
        link.hear(address(15), EthernetAddress([2, 0, 0, 0, 0, 1]), 0);
        datagrams.arrived(0);
        assert_eq!(datagrams.next_frame(&mut [0; MAX_FRAME], &mut link, Instant::ZERO), None);
        assert!(!datagrams.has_queued());
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 2, last).into()
    }
}
