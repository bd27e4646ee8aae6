//! The name server: asks those of this computer, if the name may be asked for.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};
use smoltcp::time::{Duration, Instant};

use super::message::{About, Failure, Query};
use super::permissions::{LOCALHOST, Permissions};
use super::shares::Shares;
use crate::poll::{Registry, Token};

/// The forwarder.
#[derive(Debug)]
pub(super) struct NameServer {
    /// Sockets that are connected to the servers to be asked.
    servers: Vec<OwnedFd>,
    /// Questions without an answer, by the number under which they were asked.
    pending: HashMap<u16, Pending>,
    /// How unikernels share the questions that there may be.
    shares: Shares<usize>,
}

#[derive(Debug)]
struct Pending {
    query: Query,
    message: Vec<u8>,
    asker: Asker,
    /// The server that was asked last.
    server: usize,
    /// When the next one is asked.
    again: Instant,
}

/// Who has asked whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    /// The port of the switch that the question came from.
    pub(super) port: usize,
    pub(super) guest: SocketAddr,
    /// The address of the name server.
    pub(super) asked: SocketAddr,
}

/// What to do about a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is the answer.
    Answer(Vec<u8>),
    /// The same, because the name is not on the list.
    Refuse(Vec<u8>, String),
    /// The answer comes later, or not.
    Wait,
}

impl NameServer {
    /// Sockets to the servers, which are waited for from now on. A server that cannot be reached at all is left out.
    pub(super) fn new(servers: &[SocketAddr], ports: usize, registry: &Registry) -> Self {
        let open = |server: &SocketAddr| {
            let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::DGRAM, flags, None).ok()?;
            connect(&socket, server).ok()?;
            Some(socket)
        };
        let mut watched = Vec::new();
        for socket in servers.iter().filter_map(open).take(MOST_SERVERS) {
            if registry.add(&socket, Token::NameServer(watched.len() as u32)).is_ok() {
                watched.push(socket);
            }
        }
        Self { servers: watched, pending: HashMap::new(), shares: Shares::new(MOST_QUESTIONS, ports) }
    }

    /// Takes a question.
    pub(super) fn ask(
        &mut self,
        message: &[u8],
        asker: Asker,
        permissions: &Permissions,
        router: impl Fn(About) -> Option<IpAddr>,
        now: Instant,
    ) -> Verdict {
        let Some(query) = Query::read(message) else { return Verdict::Wait };
        if !permissions.allow_name(&query.name) {
            return Verdict::Refuse(query.failed(Failure::Refused), query.name);
        }
        if query.name == LOCALHOST {
            return Verdict::Answer(query.answered(router(query.about)));
        }
        // The same question once more is the next try.
        let is_same = |pending: &Pending| pending.asker == asker && pending.query.id == query.id;
        let same = self.pending.iter().find(|(_, pending)| is_same(pending)).map(|(id, _)| *id);
        same.and_then(|id| self.remove(id));
        let has_room = self.shares.has_room(asker.port) && !self.servers.is_empty();
        let Some(id) = has_room.then(|| self.free_number()).flatten() else {
            return Verdict::Answer(query.failed(Failure::Server));
        };
        let mut message = message.to_vec();
        if let Some(bytes) = message.first_chunk_mut() {
            *bytes = id.to_be_bytes();
        }
        let mut pending = Pending { query, message, asker, server: 0, again: now + PATIENCE };
        self.send(&mut pending);
        self.insert(id, pending);
        Verdict::Wait
    }

    /// Reads the next answer from a server. `None` if there is none.
    pub(super) fn answer(
        &mut self,
        server: usize,
        permissions: &mut Permissions,
        now: Instant,
    ) -> Option<Option<(Asker, Vec<u8>)>> {
        let mut buffer = [0; LONGEST_ANSWER];
        // An error of the connection counts as an answer that says nothing: others may follow it.
        let length = match recv(self.servers.get(server)?, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(rustix::io::Errno::AGAIN) => return None,
            Err(_) => return Some(None),
        };
        Some(self.take(buffer.get(..length)?, permissions, now))
    }

    fn take(
        &mut self,
        message: &[u8],
        permissions: &mut Permissions,
        now: Instant,
    ) -> Option<(Asker, Vec<u8>)> {
        let id = u16::from_be_bytes(*message.first_chunk()?);
        let told = self.pending.get(&id)?.query.told(id, message)?;
        let Pending { query, asker, .. } = self.remove(id)?;
        for (address, seconds) in told {
            permissions.learn(&query.name, address, seconds, now);
        }
        if message.len() > LONGEST_FORWARDED {
            return Some((asker, query.failed(Failure::Server)));
        }
        let mut message = message.to_vec();
        *message.first_chunk_mut()? = query.id.to_be_bytes();
        Some((asker, message))
    }

    /// Asks the next server for what the last one has not answered in time. Returns the failures of those questions that
    /// nobody has answered.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Asker, Vec<u8>)> {
        let late: Vec<u16> =
            self.pending.iter().filter(|(_, pending)| pending.again <= now).map(|(id, _)| *id).collect();
        let retry = |id: u16| {
            let mut pending = self.remove(id)?;
            pending.server += 1;
            pending.again = now + PATIENCE;
            if pending.server >= self.servers.len().max(FEWEST_TRIES) {
                return Some((pending.asker, pending.query.failed(Failure::Server)));
            }
            self.send(&mut pending);
            self.insert(id, pending);
            None
        };
        late.into_iter().filter_map(retry).collect()
    }

    /// When [`NameServer::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.again).min()
    }

    /// If it cannot be sent, the next server is asked when the time is over.
    fn send(&self, pending: &mut Pending) {
        let server =
            pending.server.checked_rem(self.servers.len()).and_then(|number| self.servers.get(number));
        if let Some(server) = server {
            let _ = send(server, &pending.message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    fn insert(&mut self, id: u16, pending: Pending) {
        self.shares.take(pending.asker.port);
        self.pending.insert(id, pending);
    }

    fn remove(&mut self, id: u16) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.shares.give_back(pending.asker.port);
        Some(pending)
    }

    /// A number that nobody outside can guess, and that no question has.
    fn free_number(&self) -> Option<u16> {
        let mut random = [0; 16];
        getrandom(random.as_mut_slice(), GetRandomFlags::empty()).ok()?;
        let (numbers, _) = random.as_chunks::<2>();
        numbers.iter().map(|bytes| u16::from_be_bytes(*bytes)).find(|id| !self.pending.contains_key(id))
    }
}

/// Most servers that are asked.
const MOST_SERVERS: usize = 3;
/// Most questions without an answer.
const MOST_QUESTIONS: usize = 64;
/// How long a server may take, and how often a question is asked at least.
const PATIENCE: Duration = Duration::from_secs(2);
const FEWEST_TRIES: usize = 2;
/// Bytes of an answer that are read, and those that fit into a packet.
const LONGEST_ANSWER: usize = 4096;
const LONGEST_FORWARDED: usize = 1400;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::poll::Poller;
    use crate::setup::Outbound;

    #[test]
    fn who_asks_for_many_names_leaves_others_some_questions() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("it can be bound");
        let server = server.local_addr().expect("it is bound");
        let registry = Poller::new().expect("it can be made").registry();
        let mut names = NameServer::new(&[server], 2, &registry);
        let permissions = Permissions::new(Outbound::Any, Vec::new());
        let mut ask = |port: usize, id: u16| {
            let guest = SocketAddr::from((Ipv4Addr::new(10, 0, 2, 15 + port as u8), 5000));
            let asked = SocketAddr::from((Ipv4Addr::new(10, 0, 2, 3), 53));
            let asker = Asker { port, guest, asked };
            names.ask(&question(id), asker, &permissions, |_| None, Instant::ZERO) == Verdict::Wait
        };
        let waiting =
            |ask: &mut dyn FnMut(usize, u16) -> bool, port| (0..100).filter(|id| ask(port, *id)).count();
        assert_eq!(waiting(&mut ask, 0), MOST_QUESTIONS / 4 * 3);
        assert!(ask(0, 7), "the same question once more is the next try");
        assert_eq!(waiting(&mut ask, 1), MOST_QUESTIONS / 4);
        assert_eq!(names.expire(Instant::ZERO + PATIENCE), []);
        assert_eq!(names.expire(Instant::ZERO + PATIENCE + PATIENCE).len(), MOST_QUESTIONS);
        assert!(names.shares.has_room(0) && names.shares.has_room(1));
    }

    /// The question for the IPv4 address of `a.example`.
    fn question(id: u16) -> Vec<u8> {
        let header = [0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        [&id.to_be_bytes()[..], &header, b"\x01a\x07example\0", &[0, 1, 0, 1]].concat()
    }
}
