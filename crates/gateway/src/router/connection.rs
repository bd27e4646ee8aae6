//! One TCP connection: a socket of this computer, a socket of the stack, and the bytes between them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration as HostDuration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};

use crate::poll::Readiness;

/// A connection.
pub(super) struct Connection {
    pub(super) seat: Seat,
    pub(super) ends: Ends,
    pub(super) opener: Opener,
    pub(super) host: OwnedFd,
    stage: Stage,
    readiness: Readiness,
    /// All that the host's peer said is in the stack's socket.
    host_is_done: bool,
    /// The unikernel has said its last byte.
    guest_has_ended: bool,
    /// All that it said is in the host's socket.
    guest_is_done: bool,
    /// Until when both sides must have agreed to it.
    opening_until: Option<Instant>,
    /// The stack is done with it. What is left is in its receive buffer, which the stack would clear in time.
    pub(super) is_parked: bool,
    /// Where it is on its way to be looked at.
    pub(super) turn: Turn,
    /// When it will be looked at by itself.
    pub(super) due: Option<Instant>,
}

/// The two ends as the unikernel sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    /// Not the unikernel's.
    pub(super) outside: SocketAddr,
    /// The unikernel's.
    pub(super) guest: SocketAddr,
}

/// Who has opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// Somebody outside, to the unikernel with this address.
    Host(IpAddr),
    /// The unikernel behind this port of the switch.
    Guest(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The host's socket is on its way to the peer.
    Connecting,
    /// Bytes can go both ways, as far as the stack's socket is.
    Open,
    /// It has come to nothing; what is left is to tell the other side.
    Broken,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has nothing to do.
    Idle,
    /// It has to move bytes, when its unikernel has sent all it has.
    Held,
    /// It has to move bytes, and then to send.
    Queued,
    /// It has moved bytes, and sends.
    Sending,
}

/// A place for a connection in the stack, with its buffers.
pub(super) struct Seat {
    pub(super) sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Seat {
    pub(super) fn new() -> Self {
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(SILENCE));
        socket.set_keep_alive(Some(SILENCE / 3));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { sockets, handle }
    }

    pub(super) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

impl Connection {
    /// A connection that somebody has opened; the stack's socket must be on its way.
    pub(super) fn new(seat: Seat, ends: Ends, opener: Opener, host: OwnedFd, now: Instant) -> Self {
        let stage = match opener {
            Opener::Host(_) => Stage::Open,
            Opener::Guest(_) => Stage::Connecting,
        };
        Self {
            seat,
            ends,
            opener,
            host,
            stage,
            readiness: Readiness { readable: false, writable: stage == Stage::Open, ..Readiness::default() },
            host_is_done: false,
            guest_has_ended: false,
            guest_is_done: false,
            opening_until: Some(now + OPENING),
            is_parked: false,
            turn: Turn::Idle,
            due: None,
        }
    }

    /// Notes what the host's socket has become ready for.
    pub(super) fn ready(&mut self, readiness: Readiness) {
        self.readiness.readable |= readiness.readable;
        self.readiness.writable |= readiness.writable;
        self.readiness.hung_up |= readiness.hung_up;
        self.readiness.failed |= readiness.failed;
    }

    /// Moves what can be moved, in both directions.
    pub(super) fn move_bytes(&mut self, now: Instant) {
        if self.stage == Stage::Connecting && self.readiness.writable {
            self.connected();
        }
        if self.stage != Stage::Open {
            return self.give_up_if_late(now);
        }
        let moved = self.feed_host().and_then(|()| self.feed_guest());
        // Who cannot be told anything more is not read from, and so does not fail.
        let is_reset = self.readiness.failed && !self.seat.socket().can_send();
        if moved.is_err() || is_reset {
            // The host's peer is gone.
            self.break_off();
        }
        let state = self.seat.socket().state();
        if !matches!(state, State::SynSent | State::SynReceived) {
            self.opening_until = None;
        }
        self.give_up_if_late(now);
    }

    /// Whether everything was said and done once the stack has nothing more to send. `can_send` says whether the unikernel
    /// can be reached at all.
    pub(super) fn is_over(&mut self, can_send: bool) -> bool {
        let all_moved = self.guest_is_done || !self.guest_has_ended || self.stage == Stage::Broken;
        let socket = self.seat.socket();
        match socket.state() {
            // The stack forgets the peer when it has sent or received the last segment.
            State::Closed => all_moved && (socket.remote_endpoint().is_none() || !can_send),
            State::TimeWait => {
                self.is_parked = true;
                all_moved
            }
            _ => false,
        }
    }

    /// When it has something to do although nothing is sent or received; `stack` is when the stack has.
    pub(super) fn next_due(&self, stack: Option<Instant>) -> Option<Instant> {
        [stack, self.opening_until].into_iter().flatten().min()
    }

    /// The place, for another one. The host's peer learns whether all was said.
    pub(super) fn end(mut self) -> Seat {
        if !(self.host_is_done && self.guest_is_done) {
            // The peer gets a reset. If that cannot be had, it gets an end, which is all that is left.
            let _ = sockopt::set_socket_linger(&self.host, Some(HostDuration::ZERO));
        }
        let socket = self.seat.socket();
        socket.abort();
        socket.pause_synack(false);
        self.seat
    }

    /// The host's socket has reached its peer, or not.
    fn connected(&mut self) {
        let reached = sockopt::socket_error(&self.host).is_ok_and(|result| result.is_ok());
        self.seat.socket().pause_synack(false);
        if reached {
            self.stage = Stage::Open;
        } else {
            self.break_off();
        }
    }

    /// Resets the unikernel's side.
    fn break_off(&mut self) {
        self.stage = Stage::Broken;
        self.opening_until = None;
        self.seat.socket().abort();
    }

    fn give_up_if_late(&mut self, now: Instant) {
        if self.opening_until.is_some_and(|until| until <= now) {
            self.seat.socket().pause_synack(false);
            self.break_off();
        }
    }

    fn feed_guest(&mut self) -> Result<(), Errno> {
        let Self { seat, host, readiness, host_is_done, .. } = self;
        let socket = seat.socket();
        while readiness.readable && !*host_is_done && socket.can_send() {
            let received = socket.send(|room| match recv(&*host, &mut *room, RecvFlags::DONTWAIT) {
                Ok((count, _)) => (count, Ok((count, count == room.len()))),
                Err(error) => (0, Err(error)),
            });
            match received {
                Ok(Ok((0, _))) => {
                    *host_is_done = true;
                    socket.close();
                }
                // When less came than there was room for, there is no more (epoll(7), questions and answers), unless it is
                // the end.
                Ok(Ok((_, is_full))) => readiness.readable = is_full || readiness.hung_up,
                Ok(Err(Errno::AGAIN)) => readiness.readable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(error)) => return Err(error),
                Err(tcp::SendError::InvalidState) => break,
            }
        }
        Ok(())
    }

    fn feed_host(&mut self) -> Result<(), Errno> {
        let Self { seat, host, readiness, guest_has_ended, guest_is_done, .. } = self;
        let socket = seat.socket();
        while readiness.writable && socket.can_recv() {
            let sent =
                socket.recv(|bytes| match send(&*host, &*bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Ok(count) => (count, Ok(count == bytes.len())),
                    Err(error) => (0, Err(error)),
                });
            match sent {
                Ok(Ok(all)) => readiness.writable = all,
                Ok(Err(Errno::AGAIN)) => readiness.writable = false,
                Ok(Err(Errno::INTR)) => {}
                Ok(Err(error)) => return Err(error),
                Err(tcp::RecvError::InvalidState | tcp::RecvError::Finished) => break,
            }
        }
        let state = socket.state();
        *guest_has_ended |=
            matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if *guest_has_ended && !*guest_is_done && !socket.can_recv() {
            *guest_is_done = true;
            shutdown(&*host, Shutdown::Write)?;
        }
        Ok(())
    }
}

/// What a connection holds in each direction while the other side does not take it: what a window says without scaling.
const BUFFER: usize = 64 << 10;
/// How long a side may take to agree to a connection that the other one opens. A unikernel whose places are all taken has
/// whoever comes wait until one is free.
const OPENING: Duration = Duration::from_secs(30);
/// A unikernel that is silent for so long, asked for a sign of life meanwhile, is gone.
const SILENCE: Duration = Duration::from_secs(60);
