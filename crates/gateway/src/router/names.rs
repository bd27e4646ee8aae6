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
use crate::poll::{Registry, Token};

/// The forwarder.
#[derive(Debug)]
pub(super) struct NameServer {
    /// Sockets that are connected to the servers to be asked.
    servers: Vec<OwnedFd>,
    /// Questions without an answer, by the number under which they were asked.
    pending: HashMap<u16, Pending>,
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
    pub(super) fn new(servers: &[SocketAddr], registry: &Registry) -> Self {
        let open = |server: &SocketAddr| {
            let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(family, SocketType::DGRAM, flags, None).ok()?;
            connect(&socket, server).ok()?;
            Some(socket)
        };
        let servers = servers.iter().filter_map(open).take(MOST_SERVERS).zip(0..);
        let watched =
            servers.filter(|(socket, place)| registry.add(socket, Token::NameServer(*place)).is_ok());
        Self { servers: watched.map(|(socket, _)| socket).collect(), pending: HashMap::new() }
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
        self.pending.retain(|_, pending| pending.asker != asker || pending.query.id != query.id);
        let Some(id) = self.free_number().filter(|_| !self.servers.is_empty()) else {
            return Verdict::Answer(query.failed(Failure::Server));
        };
        let mut message = message.to_vec();
        if let Some(bytes) = message.first_chunk_mut() {
            *bytes = id.to_be_bytes();
        }
        let mut pending = Pending { query, message, asker, server: 0, again: now + PATIENCE };
        self.send(&mut pending);
        self.pending.insert(id, pending);
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
        let Pending { query, asker, .. } = self.pending.remove(&id)?;
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
            let mut pending = self.pending.remove(&id)?;
            pending.server += 1;
            pending.again = now + PATIENCE;
            if pending.server >= self.servers.len().max(FEWEST_TRIES) {
                return Some((pending.asker, pending.query.failed(Failure::Server)));
            }
            self.send(&mut pending);
            self.pending.insert(id, pending);
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

    /// A number that nobody outside can guess, and that no question has.
    fn free_number(&self) -> Option<u16> {
        if self.pending.len() >= MOST_QUESTIONS {
            return None;
        }
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
