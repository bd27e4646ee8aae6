//! Waiting for several descriptors at once, each known by what it means.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Descriptors to wait for.
#[derive(Debug)]
pub(crate) struct Waiter {
    epoll: OwnedFd,
}

/// What a descriptor means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The run is to end.
    Stop,
    /// There are new lines.
    Log,
    /// A launcher has something to say, by index of its subject.
    Launch(u32),
    /// A process has ended, by index of its subject.
    End(u32),
    /// A subject asks for something, by index of the request.
    Request(u32),
    /// The network process has something to say.
    NetworkLine,
    /// The network process has ended.
    NetworkEnd,
    /// There is new content.
    Renewal,
    /// An event was raised that the host passes on, by index.
    Relay(u32),
    /// Nobody takes any more of what happens.
    Enough,
}

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Waits for this one too. It has to be forgotten before it is closed: a process that is being made may have a copy of it
    /// for a moment, with which it would go on being waited for.
    pub(crate) fn add(&self, descriptor: BorrowedFd<'_>, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.number());
        Ok(epoll::add(self.epoll.as_fd(), descriptor, data, epoll::EventFlags::IN)?)
    }

    /// Waits for this one no longer.
    pub(crate) fn forget(&self, descriptor: BorrowedFd<'_>) {
        // It fails if it was forgotten already.
        let _ = epoll::delete(self.epoll.as_fd(), descriptor);
    }

    /// Waits until one is readable, for this long at most.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> io::Result<Vec<Source>> {
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut events = Vec::with_capacity(MOST_AT_ONCE);
        match epoll::wait(self.epoll.as_fd(), spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().filter_map(|event| Source::of_number({ event.data }.u64())).collect())
    }
}

impl Source {
    fn number(self) -> u64 {
        let (kind, index) = match self {
            Self::Stop => (0, 0),
            Self::Log => (1, 0),
            Self::Launch(index) => (2, index),
            Self::End(index) => (3, index),
            Self::Request(index) => (4, index),
            Self::NetworkLine => (5, 0),
            Self::NetworkEnd => (6, 0),
            Self::Renewal => (7, 0),
            Self::Relay(index) => (8, index),
            Self::Enough => (9, 0),
        };
        kind << 32 | u64::from(index)
    }

    fn of_number(number: u64) -> Option<Self> {
        let index = number as u32;
        Some(match number >> 32 {
            0 => Self::Stop,
            1 => Self::Log,
            2 => Self::Launch(index),
            3 => Self::End(index),
            4 => Self::Request(index),
            5 => Self::NetworkLine,
            6 => Self::NetworkEnd,
            7 => Self::Renewal,
            8 => Self::Relay(index),
            9 => Self::Enough,
            _ => return None,
        })
    }
}

const MOST_AT_ONCE: usize = 64;
