//! The network process of `palisade run`: the switch of the driver `nic`, with a gateway or a tap device in place of the
//! card.
//!
//! Unikernels reach it through the same channels as the driver, and it keeps the same promises to them. It is prepared with
//! all rights that it needs ([`Network::prepare`]), then confined, then it serves ([`Network::serve`]).
//!
//! # System calls
//!
//! What serving needs, and nothing else:
//!
//! | for | calls |
//! |---|---|
//! | waiting | `epoll_wait` or `epoll_pwait`, `epoll_ctl`, `clock_gettime` (where it is no page of the kernel) |
//! | waking unikernels, letting them go on, and being woken | `write`, `sched_yield`, `readv` |
//! | published ports | `accept4`, `recvfrom`, `sendto`, `shutdown`, `setsockopt` (`SO_LINGER`), `close` |
//! | what leaves, if anything may | `socket` (TCP and UDP), `connect`, `getsockopt` (`SO_ERROR`), `setsockopt` (`TCP_NODELAY`), `getrandom` |
//! | a tap device | `readv`, `write` |
//! | memory, lines and the end | `brk`, `mmap` and `munmap` without `PROT_EXEC`, `mremap`, `madvise`, what `say` needs, `exit_group`, `rt_sigreturn` |

#![forbid(unsafe_code)]

mod complaints;
mod pace;
mod poll;
mod router;
mod serve;
mod setup;
mod tap;
mod world;

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use poll::{Poller, Token};
use router::Router;
use serve::Server;
use tap::Tap;

pub use router::{frame, message};
pub use setup::{Gateway, Listener, Outbound, Port, Published, Setup, Subnet, World};

/// A network that is ready to serve.
pub struct Network(Kind);

enum Kind {
    Router(Box<Server<Router>>),
    Tap(Box<Server<Tap>>),
}

/// Why a network cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    /// What it was doing.
    pub doing: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

impl Network {
    /// Makes everything that takes more rights than serving does: after it, nothing is opened. It lets this process have as
    /// many descriptors as it may.
    ///
    /// # Errors
    /// If the kernel refuses something.
    pub fn prepare(setup: Setup) -> Result<Self, Error> {
        let refused = |source| Error { doing: "preparing the network", source };
        let Setup { ports, wake, generation, mac, world, end } = setup;
        let poller = Poller::new().map_err(refused)?;
        let registry = poller.registry();
        registry.add(&wake, Token::Wake).map_err(refused)?;
        if let Some(end) = &end {
            registry.add(end, Token::End).map_err(refused)?;
        }
        let (now, restarted) = (serve::now(), generation > 1);
        let kind = match world {
            World::Tap(device) => {
                registry.add(&device, Token::Tap).map_err(refused)?;
                let tap = Tap::new(device, now);
                Kind::Tap(Box::new(Server::new(tap, poller, wake, end, mac, ports, restarted)))
            }
            World::Gateway(gateway) => {
                let router =
                    Router::new(gateway, mac, &ports, descriptors(), registry, now).map_err(refused)?;
                Kind::Router(Box::new(Server::new(router, poller, wake, end, mac, ports, restarted)))
            }
        };
        Ok(Self(kind))
    }

    /// Serves until [`Setup::end`] is readable. Each line that the log should have goes to `say`.
    ///
    /// # Errors
    /// If the kernel refuses what no network can do without.
    pub fn serve(self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        match self.0 {
            Kind::Router(mut server) => server.run(say),
            Kind::Tap(mut server) => server.run(say),
        }
    }
}

/// [`Network::prepare`] and [`Network::serve`] in one, for those who confine nothing.
///
/// # Errors
/// Those of both.
pub fn serve(setup: Setup, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    Network::prepare(setup)?.serve(say)
}

/// How many descriptors there can be besides those that exist: as many as the kernel grants.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
    let wanted = limit.current.unwrap_or(maximum).max(maximum);
    let granted = match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        Ok(()) => wanted,
        Err(_) => limit.current.unwrap_or(wanted),
    };
    usize::try_from(granted).unwrap_or(usize::MAX).saturating_sub(RESERVED_DESCRIPTORS)
}

/// More are of no use.
const MOST_DESCRIPTORS: u64 = 4096;
/// What ports, listeners, datagrams and the process itself need.
const RESERVED_DESCRIPTORS: usize = 320;
