//! All TCP connections, and whose turn it is.
//!
//! A connection waits in the queue when something has happened to it, unless its unikernel is still sending. When its turn
//! comes, it first moves bytes between its sockets, and then sends, frame by frame, as the switch asks for them: so what has
//! come in one batch leaves together.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use palisade_abi::network_element::MAX_FRAME;
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpEndpoint;

use super::connection::{Connection, Ends, Opener, Seat, Turn};
use super::emit::{self, Buffer};
use super::entries::Entries;
use super::link::Link;
use super::shares::Shares;
use super::stack::Stack;
use super::timers::Timers;
use crate::poll::{Key, Readiness, Registry, Token};

/// The connections.
pub(super) struct Connections {
    entries: Entries<Box<Connection>>,
    keys: HashMap<Ends, Key>,
    queue: VecDeque<Key>,
    /// Those to which only their unikernels have said something. They are queued when more of it is not waited for.
    held: VecDeque<Key>,
    timers: Timers,
    /// Some places that are free, with their buffers.
    spare: Vec<Seat>,
    /// How unikernels share those that lead to them, and those that they open.
    by_host: Shares<IpAddr>,
    by_guest: Shares<usize>,
    last_port: u16,
    registry: Registry,
}

/// Most connections of each opener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) by_host: usize,
    pub(super) by_guest: usize,
}

impl Limits {
    /// What fits into this many descriptors.
    pub(super) fn within(descriptors: usize) -> Self {
        Self { by_host: (descriptors / 4 * 3).min(1024), by_guest: (descriptors / 4).min(256) }
    }
}

impl Connections {
    /// None yet, for so many addresses that somebody outside can reach and so many ports of the switch.
    pub(super) fn new(limits: Limits, addresses: usize, ports: usize, registry: Registry) -> Self {
        Self {
            entries: Entries::new(),
            keys: HashMap::new(),
            queue: VecDeque::new(),
            held: VecDeque::new(),
            timers: Timers::default(),
            spare: Vec::new(),
            by_host: Shares::new(limits.by_host, addresses),
            by_guest: Shares::new(limits.by_guest, ports),
            last_port: FIRST_PORT,
            registry,
        }
    }

    /// Whether one more can be opened.
    pub(super) fn has_room(&self, opener: Opener) -> bool {
        match opener {
            Opener::Host(guest) => self.by_host.has_room(guest),
            Opener::Guest(port) => self.by_guest.has_room(port),
        }
    }

    /// Leads a connection that the host has accepted to `guest`; `router` is where it comes from as far as the unikernel can
    /// see. `None` if the stack or the kernel refuses; then it is reset.
    pub(super) fn accepted(
        &mut self,
        host: OwnedFd,
        router: IpAddr,
        guest: SocketAddr,
        stack: &mut Stack,
        now: Instant,
    ) -> Option<()> {
        let ends = self.free_port(router, guest)?;
        let mut seat = self.spare.pop().unwrap_or_else(Seat::new);
        seat.socket().connect(stack.context(), ends.guest, ends.outside).ok()?;
        self.add(Connection::new(seat, ends, Opener::Host(guest.ip()), host, now))
    }

    /// Takes in a connection that the unikernel behind `port` opens with `packet`, for which `host` is on its way.
    pub(super) fn opened(
        &mut self,
        port: usize,
        host: OwnedFd,
        ends: Ends,
        packet: &[u8],
        stack: &mut Stack,
        now: Instant,
    ) -> Option<()> {
        let mut seat = self.spare.pop().unwrap_or_else(Seat::new);
        let socket = seat.socket();
        socket.listen(IpEndpoint::from(ends.outside)).ok()?;
        // The unikernel learns that it is connected when the host's side is.
        socket.pause_synack(true);
        let mut nothing = [0; MAX_FRAME];
        stack.take(packet, &mut seat.sockets, &mut nothing, now);
        if seat.socket().state() != tcp::State::SynReceived {
            self.spare.push(seat);
            return None;
        }
        self.add(Connection::new(seat, ends, Opener::Guest(port), host, now))
    }

    /// Gives a unikernel's segment to its connection, if there is one. Returns the length of a packet in `reply` that answers
    /// it at once, if one does.
    pub(super) fn segment(
        &mut self,
        ends: Ends,
        packet: &[u8],
        stack: &mut Stack,
        reply: &mut Buffer,
        now: Instant,
    ) -> Option<Option<usize>> {
        let key = *self.keys.get(&ends)?;
        let connection = self.entries.get_mut(key)?;
        let answer = stack.take(packet, &mut connection.seat.sockets, reply, now);
        match connection.turn {
            Turn::Idle => {
                connection.turn = Turn::Held;
                self.held.push_back(key);
            }
            Turn::Sending => connection.turn = Turn::Queued,
            Turn::Held | Turn::Queued => {}
        }
        Some(answer)
    }

    /// The host's socket has become ready.
    pub(super) fn ready(&mut self, key: Key, readiness: Readiness) {
        if let Some(connection) = self.entries.get_mut(key) {
            connection.ready(readiness);
            self.queue(key);
        }
    }

    /// A neighbour can be reached who could not before, or is somewhere else.
    pub(super) fn found(&mut self, guest: IpAddr) {
        let waiting = self.entries.iter_mut().filter(|(_, connection)| connection.ends.guest.ip() == guest);
        let keys: Vec<Key> = waiting.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.queue(key));
    }

    /// Queues those whose time has come.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((due, key)) = self.timers.expired(now) {
            let Some(connection) = self.entries.get_mut(key) else { continue };
            // An earlier time has taken the place of this one. If it were looked at all the same it would be set again, and
            // there would be one more of them with every burst of a connection that lasts.
            if connection.due == Some(due) {
                connection.due = None;
                self.queue(key);
            }
        }
    }

    /// When [`Connections::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.due()
    }

    /// Whether somebody may have something to send.
    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty() || !self.held.is_empty()
    }

    /// Writes the next frame into `buffer`, and returns its length; `None` if nobody has anything to send. If it `holds`, those
    /// wait whose unikernels may have more to say.
    pub(super) fn next_frame(
        &mut self,
        buffer: &mut Buffer,
        stack: &mut Stack,
        link: &mut Link,
        holds: bool,
        now: Instant,
    ) -> Option<usize> {
        if !holds {
            self.release();
        }
        while let Some(key) = self.queue.front().copied() {
            let Some(connection) = self.entries.get_mut(key) else {
                self.queue.pop_front();
                continue;
            };
            if connection.turn == Turn::Queued {
                connection.move_bytes(now);
                connection.turn = Turn::Sending;
            }
            let way = link.to(connection.ends.guest.ip());
            if let Some(way) = way
                && !connection.is_parked
                && let Some(length) = stack.next(&mut connection.seat.sockets, buffer, now)
            {
                return emit::packet(buffer, way, length);
            }
            if way.is_none() {
                link.want(connection.ends.guest.ip(), now);
            }
            self.queue.pop_front();
            self.rest(key, way.is_some(), stack, now);
        }
        None
    }

    /// A connection has sent what it had: it ends, or waits.
    fn rest(&mut self, key: Key, can_send: bool, stack: &mut Stack, now: Instant) {
        let Some(connection) = self.entries.get_mut(key) else { return };
        connection.turn = Turn::Idle;
        if connection.is_over(can_send) {
            self.remove(key);
            return;
        }
        let has_dues = can_send && !connection.is_parked;
        let stack_due = if has_dues { stack.due(&connection.seat.sockets, now) } else { None };
        // What is due now and was not done now needs something to happen first.
        let due = connection.next_due(stack_due).map(|due| due.max(now + SHORTEST_REST));
        if let Some(due) = due
            && connection.due.is_none_or(|before| due < before)
        {
            connection.due = Some(due);
            self.timers.set(due, key);
        }
    }

    fn add(&mut self, connection: Connection) -> Option<()> {
        let (ends, opener) = (connection.ends, connection.opener);
        let key = self.entries.add(Box::new(connection));
        match opener {
            Opener::Host(guest) => self.by_host.take(guest),
            Opener::Guest(port) => self.by_guest.take(port),
        }
        self.keys.insert(ends, key);
        let connection = self.entries.get_mut(key)?;
        if self.registry.add(&connection.host, Token::Connection(key)).is_err() {
            self.remove(key);
            return None;
        }
        self.queue(key);
        Some(())
    }

    fn remove(&mut self, key: Key) {
        let Some(connection) = self.entries.remove(key) else { return };
        self.keys.remove(&connection.ends);
        match connection.opener {
            Opener::Host(guest) => self.by_host.give_back(guest),
            Opener::Guest(port) => self.by_guest.give_back(port),
        }
        let seat = connection.end();
        if self.spare.len() < MOST_SPARE {
            self.spare.push(seat);
        }
    }

    fn queue(&mut self, key: Key) {
        let Some(connection) = self.entries.get_mut(key) else { return };
        if matches!(connection.turn, Turn::Idle | Turn::Held) {
            self.queue.push_back(key);
        }
        connection.turn = Turn::Queued;
    }

    /// Queues those that were held, but for those that something else has happened to.
    fn release(&mut self) {
        while let Some(key) = self.held.pop_front() {
            if self.entries.get_mut(key).is_some_and(|connection| connection.turn == Turn::Held) {
                self.queue(key);
            }
        }
    }

    /// Ends with a port of the router that no connection to the unikernel's port has.
    fn free_port(&mut self, router: IpAddr, guest: SocketAddr) -> Option<Ends> {
        (FIRST_PORT..=u16::MAX).find_map(|_| {
            self.last_port = self.last_port.checked_add(1).unwrap_or(FIRST_PORT);
            let ends = Ends { outside: SocketAddr::new(router, self.last_port), guest };
            (!self.keys.contains_key(&ends)).then_some(ends)
        })
    }
}

/// Ports from which the router opens connections: none that a service has.
const FIRST_PORT: u16 = 16384;
/// Most places whose buffers are kept for the next connection: 4 MiB.
const MOST_SPARE: usize = 32;
/// How soon a connection is looked at again at the earliest.
const SHORTEST_REST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::poll::Poller;
    use crate::setup::Subnet;

    #[test]
    fn a_time_that_another_has_replaced_is_forgotten() {
        let router = Ipv4Addr::new(10, 0, 2, 2);
        let subnet = Subnet { prefix: 24, router, name_server: Ipv4Addr::new(10, 0, 2, 3) };
        let start = Instant::from_secs(100);
        let mut stack = Stack::new(&[(router.into(), 24)], 1, start);
        let mut link = Link::new([2, 0, 0, 0, 0, 9], subnet, None, &[]);
        let registry = Poller::new().expect("it can be made").registry();
        let mut connections = Connections::new(Limits::within(64), 1, 1, registry);
        let (host, _peer) = UnixStream::pair().expect("it can be made");
        let guest = SocketAddr::from((Ipv4Addr::new(10, 0, 2, 15), 80));
        connections.accepted(host.into(), router.into(), guest, &mut stack, start).expect("there is room");
        let mut buffer = [0; MAX_FRAME];
        let mut rest = |connections: &mut Connections, now| {
            while connections.next_frame(&mut buffer, &mut stack, &mut link, false, now).is_some() {}
        };
        rest(&mut connections, start);
        let due = connections.due().expect("nobody waits for ever");
        let key = *connections.keys.values().next().expect("there is one");
        let before = start + Duration::from_secs(1);
        connections.timers.set(before, key);
        connections.expire(before);
        assert!(!connections.has_queued());
        rest(&mut connections, before);
        assert_eq!(connections.timers.expired(due), Some((due, key)));
        assert_eq!(connections.due(), None, "each time is there once");
    }
}
