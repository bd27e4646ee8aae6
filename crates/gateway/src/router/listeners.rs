//! Published ports for connections, and who waits to be accepted there.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use smoltcp::time::{Duration, Instant};

use super::connection::Opener;
use super::connections::Connections;
use super::link::Link;
use super::stack::Stack;

/// The ports.
#[derive(Debug)]
pub(super) struct Listeners {
    ports: Vec<Port>,
    /// When nothing is accepted any more because the kernel had no room.
    paused_until: Instant,
}

#[derive(Debug)]
struct Port {
    listener: TcpListener,
    guest: SocketAddr,
    /// Somebody may be waiting.
    has_news: bool,
}

impl Listeners {
    pub(super) const fn new() -> Self {
        Self { ports: Vec::new(), paused_until: Instant::ZERO }
    }

    /// How many addresses the ports lead to.
    pub(super) fn addresses(&self) -> usize {
        self.ports.iter().map(|port| port.guest.ip()).collect::<HashSet<_>>().len()
    }

    /// Adds a port that leads to `guest`, and returns its number.
    pub(super) fn add(&mut self, listener: TcpListener, guest: SocketAddr) -> io::Result<usize> {
        listener.set_nonblocking(true)?;
        // What is accepted has it, too.
        sockopt::set_tcp_nodelay(&listener, true)?;
        self.ports.push(Port { listener, guest, has_news: false });
        Ok(self.ports.len() - 1)
    }

    /// Somebody has come.
    pub(super) fn arrived(&mut self, number: usize) {
        if let Some(port) = self.ports.get_mut(number) {
            port.has_news = true;
        }
    }

    /// Accepts who is waiting, as far as there is room. The others wait: the kernel keeps so many, and refuses the rest.
    pub(super) fn accept(
        &mut self,
        connections: &mut Connections,
        link: &Link,
        stack: &mut Stack,
        now: Instant,
    ) {
        if self.paused_until > now {
            return;
        }
        for port in &mut self.ports {
            for _ in 0..MOST_ACCEPTED {
                if !port.has_news || !connections.has_room(Opener::Host(port.guest.ip())) {
                    break;
                }
                match accept_with(&port.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                    Ok(host) => {
                        let router = link.router(port.guest.ip());
                        // What cannot be led on is closed.
                        let _: Option<()> = connections.accepted(host, router, port.guest, stack, now);
                    }
                    Err(Errno::AGAIN) => port.has_news = false,
                    Err(Errno::CONNABORTED | Errno::INTR) => {}
                    // There are too many descriptors, or too little memory.
                    Err(_) => {
                        self.paused_until = now + PAUSE;
                        return;
                    }
                }
            }
        }
    }

    /// When [`Listeners::accept`] has something to do.
    pub(super) fn due(&self, connections: &Connections) -> Option<Instant> {
        let waits = |port: &Port| port.has_news && connections.has_room(Opener::Host(port.guest.ip()));
        self.ports.iter().any(waits).then_some(self.paused_until)
    }
}

/// Most connections that are accepted at a port before others have their turn.
const MOST_ACCEPTED: usize = 64;
/// How long nothing is accepted when the kernel has no room.
const PAUSE: Duration = Duration::from_millis(100);
