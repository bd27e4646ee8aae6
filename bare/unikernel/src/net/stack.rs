//! The stack and its turns.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::Waker;

use palisade_unikernel_core::arguments::Arguments;
use palisade_unikernel_core::datagram::{Datagram, Refusals};
use palisade_unikernel_core::opening::Opening;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use super::addresses::Addresses;
use super::card::Card;
use super::connections::{Connections, Verdict};
use crate::random;

/// Everything of the network.
pub(super) struct Stack {
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    pub(super) connections: Connections,
    card: Card,
    addresses: Addresses,
    /// The ports of UDP sockets.
    pub(super) datagram_ports: Vec<u16>,
    refusals: Refusals,
    /// Whether a task has written, read or closed something since the last turn.
    touched: bool,
    /// When the stack has something to do by itself.
    due: Option<Instant>,
}

impl Stack {
    pub(super) fn start(
        device: solo5::net::Network,
        connections: Connections,
        arguments: &Arguments,
    ) -> Self {
        let mut card = Card::new(device);
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(card.address())));
        config.random_seed = seed();
        let mut interface = Interface::new(config, &mut card, now());
        let mut sockets = SocketSet::new(alloc::vec![]);
        let addresses = Addresses::start(arguments, &mut interface, &mut sockets, card.address());
        Self {
            interface,
            sockets,
            connections,
            card,
            addresses,
            datagram_ports: Vec::new(),
            refusals: Refusals::default(),
            touched: true,
            due: None,
        }
    }

    /// Says that there may be something to send.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// The address that others can reach.
    pub(super) fn address(&self) -> Option<IpAddr> {
        Addresses::reachable(&self.interface)
    }

    pub(super) fn wake_when_configured(&mut self, waker: &Waker) {
        self.addresses.wake_when_configured(waker);
    }

    /// The socket that asks resolvers, if one is known.
    pub(super) fn resolver(&self) -> Option<smoltcp::iface::SocketHandle> {
        self.addresses.resolver()
    }

    /// Takes in the frames that are there, sends what is to be sent, and looks after connections and addresses.
    pub(super) fn turn(&mut self) {
        let now = now();
        let received = self.take_in(now);
        let due = self.due.is_some_and(|due| due <= now);
        if !(received || due || self.touched) {
            return;
        }
        self.touched = false;
        self.interface.poll_maintenance(now);
        while self.interface.poll_egress(now, &mut self.card, &mut self.sockets) != PollResult::None {}
        self.connections.review(&mut self.sockets, now);
        self.touched |= self.addresses.review(&mut self.interface, &mut self.sockets);
        let stack = self.interface.poll_at(now, &self.sockets);
        self.due = [stack, self.connections.due()].into_iter().flatten().min();
    }

    pub(super) fn sleep(&mut self, deadline: u64) {
        if !self.touched {
            let due = self.due.map_or(u64::MAX, |due| due.total_micros().max(0) as u64 * 1000);
            self.card.sleep(deadline.min(due));
        }
    }

    /// Gives the stack a bounded number of frames. Returns whether there was one.
    fn take_in(&mut self, now: Instant) -> bool {
        for number in 0..MOST_FRAMES {
            let Some(frame) = self.card.fetch() else { return number != 0 };
            let verdict = match (Opening::of(frame), Datagram::of(frame)) {
                (Some(opening), _) => self.connections.opening(opening, &mut self.sockets, now),
                (None, Some(datagram)) => self.judge(datagram, now),
                (None, None) => Verdict::Deliver,
            };
            match verdict {
                Verdict::Lose => self.card.drop_frame(),
                Verdict::Deliver => {
                    self.interface.poll_ingress_single(now, &mut self.card, &mut self.sockets);
                }
            }
        }
        true
    }

    /// What nobody expects is answered by the stack, but not without limit.
    fn judge(&mut self, datagram: Datagram, now: Instant) -> Verdict {
        let expected = self.datagram_ports.contains(&datagram.to_port)
            || self.addresses.expects(datagram.from_port, datagram.to_port);
        if expected || self.refusals.admits(now.total_micros().unsigned_abs()) {
            Verdict::Deliver
        } else {
            Verdict::Lose
        }
    }
}

/// The stack's clock: that of tasks.
pub(super) fn now() -> Instant {
    Instant::from_micros((solo5::clock::monotonic() / 1000) as i64)
}

/// What ports and sequence numbers begin with. Without randomness connections can be guessed, but work.
fn seed() -> u64 {
    let mut seed = [0; 8];
    match random::fill(&mut seed) {
        Ok(()) => u64::from_le_bytes(seed),
        Err(_) => solo5::clock::monotonic(),
    }
}

/// Frames that are taken in before tasks run again.
const MOST_FRAMES: usize = 256;
