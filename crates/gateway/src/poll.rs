//! Waiting for many descriptors, each of which tells once that it has become ready.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fs::Timespec;
use rustix::io::Errno;
use smoltcp::time::Duration;

/// What a descriptor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Unikernels have written.
    Wake,
    /// The network is to end.
    End,
    /// A tap device.
    Tap,
    /// A published port, by its place in the list.
    Published(u32),
    /// The host's side of a connection.
    Connection(Key),
    /// The host's side of outgoing datagrams.
    Datagrams(Key),
    /// A name server, by its place in the list.
    NameServer(u32),
}

/// An entry of a table, and which one of those that have had its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) place: u32,
    /// 24 bits.
    pub(crate) generation: u32,
}

/// What a descriptor has become ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The other end says no more.
    pub(crate) hung_up: bool,
    /// It is of no more use: a connection was reset.
    pub(crate) failed: bool,
}

/// All descriptors that are waited for.
pub(crate) struct Poller {
    epoll: Arc<OwnedFd>,
    events: Vec<epoll::Event>,
}

/// Where more of them are added.
#[derive(Debug, Clone)]
pub(crate) struct Registry(Arc<OwnedFd>);

impl Registry {
    /// Waits for a descriptor until it is closed. It is told once each time it becomes ready.
    pub(crate) fn add(&self, descriptor: impl AsFd, token: Token) -> io::Result<()> {
        let flags = match token {
            Token::Connection(_) => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP,
            Token::Tap => EventFlags::IN | EventFlags::OUT,
            // These can be written nearly always: to be told of it each time would be of no use.
            Token::Wake | Token::End | Token::Published(_) | Token::Datagrams(_) | Token::NameServer(_) => {
                EventFlags::IN
            }
        };
        let flags = flags | EventFlags::ET;
        Ok(epoll::add(&*self.0, descriptor, EventData::new_u64(token.number()), flags)?)
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let nothing = epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        Ok(Self { epoll, events: vec![nothing; MOST_EVENTS] })
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry(self.epoll.clone())
    }

    /// Waits until a descriptor is ready or the time is over; for ever without a limit. Returns how many are.
    pub(crate) fn wait(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        let limit = limit.map(|limit| {
            let nanoseconds = limit.total_micros().saturating_mul(1000);
            Timespec {
                tv_sec: (nanoseconds / 1_000_000_000) as i64,
                tv_nsec: (nanoseconds % 1_000_000_000) as i64,
            }
        });
        match epoll::wait(&*self.epoll, self.events.as_mut_slice(), limit.as_ref()) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// What was found ready last, by its number.
    pub(crate) fn event(&self, number: usize) -> Option<(Token, Readiness)> {
        let event = self.events.get(number)?;
        let flags = event.flags;
        let over = EventFlags::ERR | EventFlags::HUP;
        let readiness = Readiness {
            readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP | over),
            writable: flags.intersects(EventFlags::OUT | over),
            hung_up: flags.intersects(EventFlags::RDHUP | over),
            failed: flags.intersects(EventFlags::ERR),
        };
        Some((Token::of(event.data.u64())?, readiness))
    }
}

impl Token {
    fn number(self) -> u64 {
        let (kind, Key { place, generation }) = match self {
            Self::Wake => (0, Key::first(0)),
            Self::End => (1, Key::first(0)),
            Self::Tap => (2, Key::first(0)),
            Self::Published(place) => (3, Key::first(place)),
            Self::Connection(key) => (4, key),
            Self::Datagrams(key) => (5, key),
            Self::NameServer(place) => (6, Key::first(place)),
        };
        kind << 56 | u64::from(generation & Key::GENERATIONS) << 32 | u64::from(place)
    }

    fn of(number: u64) -> Option<Self> {
        let key = Key { place: number as u32, generation: (number >> 32) as u32 & Key::GENERATIONS };
        Some(match number >> 56 {
            0 => Self::Wake,
            1 => Self::End,
            2 => Self::Tap,
            3 => Self::Published(key.place),
            4 => Self::Connection(key),
            5 => Self::Datagrams(key),
            6 => Self::NameServer(key.place),
            _ => return None,
        })
    }
}

impl Key {
    const GENERATIONS: u32 = 0xff_ffff;

    const fn first(place: u32) -> Self {
        Self { place, generation: 0 }
    }

    /// The key of the next entry in the same place.
    pub(crate) const fn next(self) -> Self {
        Self { place: self.place, generation: (self.generation + 1) & Self::GENERATIONS }
    }
}

/// Most descriptors that are told of at once: the others come next.
const MOST_EVENTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_round_trip() {
        let key = Key { place: u32::MAX, generation: 0xff_ffff };
        for token in [
            Token::Wake,
            Token::End,
            Token::Tap,
            Token::Published(7),
            Token::Connection(key),
            Token::Datagrams(key.next()),
            Token::NameServer(2),
        ] {
            assert_eq!(Token::of(token.number()), Some(token));
        }
    }
}
