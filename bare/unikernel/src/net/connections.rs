//! TCP connections: how many there are, who listens, and which are on their way in or out.
//!
//! A socket is made when a SYN arrives for a port that somebody listens to, and not before: the stack looks at every socket
//! in every turn, so there are only those that work. If there is no room for another one, the SYN is lost and the peer asks
//! again; nobody is refused because many come at once. A socket that has served keeps its buffers and serves the next
//! connection.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;

use palisade_unikernel_core::admission::{Admission, Budget};
use palisade_unikernel_core::opening::Opening;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::Socket;
use smoltcp::socket::tcp::{self, CongestionControl, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};

use crate::{Error, memory};

/// All connections.
pub(super) struct Connections {
    limit: usize,
    /// Sockets in the stack.
    open: usize,
    ports: Vec<Port>,
    /// Connections whose opening handshake is not complete, oldest first.
    opening: VecDeque<Opened>,
    /// Connections that tasks are done with, until the peer is, too.
    closing: Vec<Closing>,
    /// Closed sockets with their buffers.
    spare: Vec<tcp::Socket<'static>>,
    /// The port of the last outgoing connection.
    last_port: u16,
}

/// What happens to a frame that the library has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The stack gets it.
    Deliver,
    /// It is lost, as a network may lose it.
    Lose,
}

struct Port {
    number: u16,
    /// Connections that nobody has accepted yet.
    ready: VecDeque<SocketHandle>,
    waker: Option<Waker>,
}

struct Opened {
    socket: SocketHandle,
    port: u16,
    since: Instant,
}

struct Closing {
    socket: SocketHandle,
    until: Instant,
}

impl Connections {
    /// Computes how many there may be: `asked`, if they fit.
    pub(super) fn new(asked: Option<usize>) -> Result<Self, Error> {
        let budget = Budget { free: memory::figures().free, reserve: RESERVE, connection: CONNECTION };
        let limit = match budget.connections(asked) {
            Admission::As(limit) => limit,
            Admission::Only(limit) => {
                log::warn!(target: "net", "the memory is enough for {limit} connections only");
                limit
            }
            Admission::None => return Err(Error::TooLittleMemory),
        };
        log::debug!(target: "net", "at most {limit} connections of {} KiB", CONNECTION >> 10);
        let (opening, closing, spare) = (VecDeque::new(), Vec::new(), Vec::new());
        Ok(Self { limit, open: 0, ports: Vec::new(), opening, closing, spare, last_port: 0 })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Begins to listen. `false` if somebody does already.
    pub(super) fn listen(&mut self, number: u16) -> bool {
        let free = number != 0 && self.port(number).is_none();
        if free {
            self.ports.push(Port { number, ready: VecDeque::new(), waker: None });
        }
        free
    }

    /// Ends listening. Connections that nobody has accepted are aborted.
    pub(super) fn stop_listening(&mut self, number: u16, sockets: &mut SocketSet<'static>) {
        let Some(at) = self.ports.iter().position(|port| port.number == number) else { return };
        let port = self.ports.swap_remove(at);
        let half_open: Vec<_> = self.opening.iter().filter(|o| o.port == number).map(|o| o.socket).collect();
        self.opening.retain(|opened| opened.port != number);
        for socket in port.ready.into_iter().chain(half_open) {
            self.abort(socket, sockets);
        }
    }

    /// The next connection to a port; the waker is woken when there is one.
    pub(super) fn accept(&mut self, number: u16, waker: &Waker) -> Option<SocketHandle> {
        let port = self.port(number)?;
        let socket = port.ready.pop_front();
        if socket.is_none() {
            port.waker = Some(waker.clone());
        }
        socket
    }

    /// Judges the frame that opens a connection, and makes the socket that will answer it.
    pub(super) fn opening(
        &mut self,
        opening: Opening,
        sockets: &mut SocketSet<'static>,
        now: Instant,
    ) -> Verdict {
        if self.port(opening.to_port).is_none() {
            // The stack resets it.
            return Verdict::Deliver;
        }
        let known = sockets.iter().find(|(_, socket)| belongs(socket, &opening)).map(|(handle, _)| handle);
        match known {
            // The peer begins anew with the same port number, and cannot mean the old connection.
            Some(handle) if state(sockets, handle) == State::TimeWait => {
                self.closing.retain(|closing| closing.socket != handle);
                self.recycle(handle, sockets);
            }
            // Sent twice. The stack repeats its answer by itself, and must not give this one to a second socket.
            Some(_) => return Verdict::Lose,
            None => (),
        }
        match self.listening_socket(opening.to_port, sockets, now) {
            Some(socket) => {
                self.open += 1;
                self.opening.push_back(Opened {
                    socket: sockets.add(socket),
                    port: opening.to_port,
                    since: now,
                });
                Verdict::Deliver
            }
            None => Verdict::Lose,
        }
    }

    /// Makes a socket for an outgoing connection; `None` if there are too many.
    pub(super) fn outgoing_socket(&mut self, sockets: &mut SocketSet<'static>) -> Option<SocketHandle> {
        self.make_room(sockets, None);
        let socket = self.socket()?;
        self.open += 1;
        Some(sockets.add(socket))
    }

    /// The port of the next outgoing connection, from those for such purposes (RFC 6335, 6).
    pub(super) fn outgoing_port(&mut self) -> u16 {
        self.last_port =
            self.last_port.checked_add(1).unwrap_or(FIRST_OUTGOING_PORT).max(FIRST_OUTGOING_PORT);
        self.last_port
    }

    /// Closes a connection that its task is done with: what was written is still sent.
    pub(super) fn close(&mut self, handle: SocketHandle, sockets: &mut SocketSet<'static>, now: Instant) {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.close();
        self.closing.push(Closing { socket: handle, until: now + CLOSING_TIME });
    }

    /// Aborts a connection: the peer gets a reset.
    pub(super) fn abort(&mut self, handle: SocketHandle, sockets: &mut SocketSet<'static>) {
        sockets.get_mut::<tcp::Socket<'_>>(handle).abort();
        // The reset leaves with the next turn, at the end of which the socket is collected.
        self.closing.push(Closing { socket: handle, until: Instant::ZERO });
    }

    /// Looks after connections that are being opened or closed.
    pub(super) fn review(&mut self, sockets: &mut SocketSet<'static>, now: Instant) {
        // In this order: the resets of what is aborted in the second step leave with the next turn.
        self.review_closing(sockets, now);
        self.review_opening(sockets, now);
    }

    /// When [`Connections::review`] has something to do by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        let opening = self.opening.front().map(|opened| opened.since + OPENING_TIME);
        self.closing.iter().map(|closing| closing.until).chain(opening).min()
    }

    fn review_opening(&mut self, sockets: &mut SocketSet<'static>, now: Instant) {
        for _ in 0..self.opening.len() {
            let Some(opened) = self.opening.pop_front() else { return };
            match state(sockets, opened.socket) {
                State::SynReceived if now < opened.since + OPENING_TIME => self.opening.push_back(opened),
                State::SynReceived => self.abort(opened.socket, sockets),
                // The frame was not what it seemed, or the peer has reset the connection.
                State::Listen | State::Closed => self.recycle(opened.socket, sockets),
                _ => match self.port(opened.port) {
                    Some(port) => {
                        port.ready.push_back(opened.socket);
                        if let Some(waker) = port.waker.take() {
                            waker.wake();
                        }
                    }
                    None => self.abort(opened.socket, sockets),
                },
            }
        }
    }

    fn review_closing(&mut self, sockets: &mut SocketSet<'static>, now: Instant) {
        let mut at = 0;
        while let Some(closing) = self.closing.get_mut(at) {
            let over = closing.until <= now;
            match state(sockets, closing.socket) {
                State::Closed => {
                    // If there was a reset to be sent, it was sent in this turn.
                    let handle = self.closing.swap_remove(at).socket;
                    self.recycle(handle, sockets);
                    continue;
                }
                State::TimeWait if over => {
                    let handle = self.closing.swap_remove(at).socket;
                    self.recycle(handle, sockets);
                    continue;
                }
                State::TimeWait => closing.until = closing.until.min(now + TIME_WAIT),
                _ if over => {
                    sockets.get_mut::<tcp::Socket<'_>>(closing.socket).abort();
                }
                _ => (),
            }
            at += 1;
        }
    }

    /// A socket that listens to the port, for one connection.
    fn listening_socket(
        &mut self,
        port: u16,
        sockets: &mut SocketSet<'static>,
        now: Instant,
    ) -> Option<tcp::Socket<'static>> {
        self.make_room(sockets, Some(now));
        let mut socket = self.socket()?;
        // It is closed, and no port that somebody listens to is 0.
        socket.listen(port).ok()?;
        Some(socket)
    }

    /// A closed socket, if one more is admitted.
    fn socket(&mut self) -> Option<tcp::Socket<'static>> {
        if self.open >= self.limit {
            return None;
        }
        let mut socket = match self.spare.pop() {
            Some(socket) => socket,
            None if memory::figures().free >= CONNECTION + RESERVE => {
                tcp::Socket::new(buffer(RECEIVE_BUFFER)?, buffer(TRANSMIT_BUFFER)?)
            }
            None => return None,
        };
        socket.set_congestion_control(CongestionControl::Reno);
        socket.set_nagle_enabled(false);
        limit_silence(&mut socket, SILENCE);
        Some(socket)
    }

    /// If all places are taken, frees one that nobody needs: a connection over which everything was said, where only late
    /// segments or the peer's goodbye are waited for; or, when the time is given, one whose handshake has been stuck for
    /// some seconds, as in a flood of SYNs.
    fn make_room(&mut self, sockets: &mut SocketSet<'static>, now: Option<Instant>) {
        if self.open < self.limit {
            return;
        }
        let said = |c: &Closing| matches!(state(sockets, c.socket), State::TimeWait | State::FinWait2);
        if let Some(at) = self.closing.iter().position(said) {
            let handle = self.closing.swap_remove(at).socket;
            self.recycle(handle, sockets);
            return;
        }
        let stuck = |opened: &Opened| now.is_some_and(|now| opened.since + STUCK <= now);
        if self.opening.front().is_some_and(stuck)
            && let Some(opened) = self.opening.pop_front()
        {
            self.recycle(opened.socket, sockets);
        }
    }

    /// Takes a socket out of the stack and keeps it for the next connection.
    fn recycle(&mut self, handle: SocketHandle, sockets: &mut SocketSet<'static>) {
        if let Socket::Tcp(mut socket) = sockets.remove(handle) {
            socket.abort();
            self.spare.push(socket);
            self.open = self.open.saturating_sub(1);
        }
    }

    fn port(&mut self, number: u16) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.number == number)
    }
}

/// A buffer; `None` if the free memory is in pieces too small for it.
fn buffer(size: usize) -> Option<SocketBuffer<'static>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).ok()?;
    bytes.resize(size, 0);
    Some(SocketBuffer::new(bytes))
}

/// Ends the connection of a socket when nothing has come from its peer for so long. A peer that has nothing to say is asked
/// for a sign of life before.
pub(super) fn limit_silence(socket: &mut tcp::Socket<'_>, limit: Duration) {
    socket.set_timeout(Some(limit));
    socket.set_keep_alive(Some(limit / 3));
}

fn state(sockets: &SocketSet<'static>, handle: SocketHandle) -> State {
    sockets.get::<tcp::Socket<'_>>(handle).state()
}

/// Whether a socket has the connection that a peer wants to open.
fn belongs(socket: &Socket<'_>, opening: &Opening) -> bool {
    let Socket::Tcp(socket) = socket else { return false };
    let local = socket.local_endpoint().is_some_and(|local| local.port == opening.to_port);
    local
        && socket
            .remote_endpoint()
            .is_some_and(|remote| remote.port == opening.from_port && remote.addr == opening.from.into())
}

/// Holds one record of TLS, the largest unit that a peer can make us wait for.
const RECEIVE_BUFFER: usize = 20 << 10;
/// What is sent without waiting for the peer. At 100 Mbit/s it spans 5 ms.
const TRANSMIT_BUFFER: usize = 64 << 10;

/// What a connection costs at most: its buffers, the socket, and what the application may allocate for it: with TLS,
/// three records of 18 KiB (received, decrypted, to be sent) and the session, 66 KiB; the rest is for the task and what it
/// keeps of requests and responses.
const CONNECTION: usize = RECEIVE_BUFFER + TRANSMIT_BUFFER + (112 << 10);

/// What is left for everything else.
const RESERVE: usize = 1 << 20;

const FIRST_OUTGOING_PORT: u16 = 49152;

/// A peer that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a handshake may take.
const OPENING_TIME: Duration = Duration::from_secs(10);
/// When it may give way to another.
const STUCK: Duration = Duration::from_secs(3);
/// How long a peer has to take in the rest and to close its side.
const CLOSING_TIME: Duration = Duration::from_secs(15);
/// How long a closed connection waits for late segments, if nobody needs its place.
const TIME_WAIT: Duration = Duration::from_secs(1);
