//! Datagrams: those that come to published ports and the answers to them, and those that leave and the answers to them.
//!
//! Who is answered is remembered for a minute, for so many at a time; then whoever has been silent longest is forgotten.

use std::collections::{HashMap, VecDeque};
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
    socket: OwnedFd,
    pair: Pair,
    used: Instant,
    is_queued: bool,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Published(usize),
    Outgoing(Key),
}

impl Datagrams {
    pub(super) fn new(published: Vec<(UdpSocket, SocketAddr)>) -> Self {
        let port = |(socket, guest)| Port { socket, guest, is_queued: false };
        Self {
            published: published.into_iter().map(port).collect(),
            clients: Entries::new(),
            client_keys: HashMap::new(),
            client_ports: HashMap::new(),
            outgoing: Entries::new(),
            outgoing_keys: HashMap::new(),
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
        pair: Pair,
        remote: SocketAddr,
        registry: &Registry,
        now: Instant,
    ) -> Option<()> {
        if self.outgoing.len() >= MOST_OUTGOING {
            let oldest =
                self.outgoing.iter_mut().min_by_key(|(_, outgoing)| outgoing.used).map(|(key, _)| key)?;
            self.forget_outgoing(oldest);
        }
        let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, None).ok()?;
        connect(&socket, &remote).ok()?;
        let key = self.outgoing.add(Outgoing { socket, pair, used: now, is_queued: false });
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
        for _ in 0..MOST_READ {
            let source = *self.queue.front()?;
            match self.read(source, buffer, link, now) {
                Some(Some(length)) => return Some(length),
                Some(None) => {}
                None => {
                    self.queue.pop_front();
                    match source {
                        Source::Published(number) => {
                            self.published.get_mut(number).map(|port| port.is_queued = false)
                        }
                        Source::Outgoing(key) => {
                            self.outgoing.get_mut(key).map(|outgoing| outgoing.is_queued = false)
                        }
                    };
                }
            }
        }
        None
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

    /// Reads a datagram and makes a frame of it; of one that fits into none, nothing. `None` if there is nothing to read, or
    /// nobody to send it to.
    fn read(
        &mut self,
        source: Source,
        buffer: &mut Buffer,
        link: &mut Link,
        now: Instant,
    ) -> Option<Option<usize>> {
        let guest = match source {
            Source::Published(number) => self.published.get(number)?.guest,
            Source::Outgoing(key) => self.outgoing.get_mut(key)?.pair.guest,
        };
        let Some(ends) = link.to(guest.ip()) else {
            link.want(guest.ip(), now);
            return None;
        };
        let room = buffer.get_mut(emit::datagram_payload(guest.ip())..)?;
        let space = room.len();
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let received = match source {
            Source::Published(number) => recvfrom(&self.published.get(number)?.socket, room, flags)
                .map(|(_, length, from)| (length, from.and_then(|from| SocketAddr::try_from(from).ok()))),
            Source::Outgoing(key) => {
                recv(&self.outgoing.get_mut(key)?.socket, room, flags).map(|(_, length)| (length, None))
            }
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(Errno::AGAIN) => return None,
            // Somebody has refused what was sent to him before.
            Err(_) => return Some(None),
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
        Some(
            outside
                .filter(|_| length <= space)
                .and_then(|outside| emit::datagram(buffer, ends, outside, guest, length)),
        )
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
        if self.clients.len() >= MOST_CLIENTS {
            let oldest = self.clients.iter_mut().min_by_key(|(_, client)| client.used).map(|(key, _)| key)?;
            self.forget_client(oldest);
        }
        let guest = self.published.get(port)?.guest;
        let pair = (FIRST_PORT..=u16::MAX).find_map(|_| {
            self.last_port = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
            let pair = Pair { outside: SocketAddr::new(router, self.last_port), guest };
            (!self.client_ports.contains_key(&pair)).then_some(pair)
        })?;
        let key = self.clients.add(Client { port, address, pair, used: now });
        self.client_keys.insert((port, address), key);
        self.client_ports.insert(pair, key);
        self.next_sweep.get_or_insert(now + SILENCE);
        Some(pair.outside)
    }

    fn forget_client(&mut self, key: Key) {
        if let Some(client) = self.clients.remove(key) {
            self.client_keys.remove(&(client.port, client.address));
            self.client_ports.remove(&client.pair);
        }
    }

    fn forget_outgoing(&mut self, key: Key) {
        if let Some(outgoing) = self.outgoing.remove(key) {
            self.outgoing_keys.remove(&outgoing.pair);
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
