//! The loop: waits, lets the world have what has happened, and moves frames.

use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;

use palisade_abi::frame_channel::Overruns;
use palisade_abi::volatile::Shared;
use palisade_services::station::address_behind;
use palisade_services::switch::{self, Address, Exchange, Table};
use rustix::io::{readv, write};
use rustix::thread::sched_yield;
use rustix::time::{ClockId, clock_gettime};
use smoltcp::time::{Duration, Instant};

use crate::Error;
use crate::poll::{Poller, Token};
use crate::setup::Port;
use crate::world::World;

/// A switch with its ports and its world.
pub(crate) struct Server<W> {
    switch: Exchange<Shared<'static>, W>,
    ports: Vec<Announced>,
    poller: Poller,
    /// What unikernels add to when they have written frames.
    wake: OwnedFd,
    /// It is waited for and not used.
    _end: Option<OwnedFd>,
    /// Ports that got frames and do not know it yet.
    unannounced: u32,
    /// When losses may be reported again.
    next_report: Instant,
}

/// A port as far as it is spoken to and about.
struct Announced {
    place: String,
    ready: OwnedFd,
}

impl<W: World> Server<W> {
    /// Opens the ports. What was written before is given up if the network is `restarted`.
    pub(crate) fn new(
        world: W,
        poller: Poller,
        wake: OwnedFd,
        end: Option<OwnedFd>,
        mac: [u8; 6],
        ports: Vec<Port>,
        restarted: bool,
    ) -> Self {
        let mut table = Table::new(ports.len());
        for (number, port) in ports.iter().enumerate() {
            table.assign(number, Address(address_behind(mac, &port.subject, &port.device)));
        }
        let addresses: Vec<_> = (0..ports.len()).map(|number| table.address(number)).collect();
        let mut switch = Exchange::new(world, table);
        for ((number, port), address) in ports.iter().enumerate().zip(addresses) {
            if let Some(mut open) = open(port.input, port.output, address, port.overruns) {
                if restarted {
                    open.skip();
                }
                switch.open(number, open);
            }
        }
        let announced = |(number, port): (usize, Port)| Announced {
            place: format!("port {number} ({}:{})", port.subject, port.device),
            ready: port.ready,
        };
        let unannounced = u32::MAX;
        let ports = ports.into_iter().enumerate().map(announced).collect();
        Self { switch, ports, poller, wake, _end: end, unannounced, next_report: Instant::ZERO }
    }

    /// Serves until it is told to end.
    pub(crate) fn run(&mut self, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
        loop {
            let now = now();
            self.switch.wire().begin(now);
            let busy = self.rounds();
            self.announce();
            self.report(now, say);
            let limit = if busy { Some(Duration::ZERO) } else { self.rest(now) };
            let count = self
                .poller
                .wait(limit)
                .map_err(|source| Error { doing: "waiting for the network", source })?;
            for number in 0..count {
                match self.poller.event(number) {
                    Some((Token::End, _)) => return Ok(()),
                    Some((Token::Wake, _)) => self.clear_wake(),
                    None => {}
                    Some((token, readiness)) => self.switch.wire().ready(token, readiness),
                }
            }
        }
    }

    /// Empties the counter before frames are looked for. A unikernel can add so much to it that it is full; to add 1 fails then,
    /// and wakes nobody.
    fn clear_wake(&self) {
        // It fails if it is empty. `readv` rather than `read`: it is among the calls of a network with a tap device.
        let _ = readv(&self.wake, &mut [IoSliceMut::new(&mut [0; 8])]);
    }

    /// Moves what there is, within limits. Returns whether there may be more.
    fn rounds(&mut self) -> bool {
        for _ in 0..MOST_ROUNDS {
            if self.switch.wire().expects_more() && !self.switch.has_unread() {
                // Who has the same CPU goes on now; who has another one is not waited for.
                sched_yield();
            }
            let round = self.switch.round();
            self.unannounced |= round.at_once | round.later;
            if !round.busy {
                return false;
            }
        }
        true
    }

    /// How long nothing has to be done; for ever, if nothing happens.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        // What came since the last round woke nobody who was awake.
        if self.switch.is_ready() {
            return Some(Duration::ZERO);
        }
        let report = self.has_news().then_some(self.next_report);
        let due = [self.switch.wire().due(), report].into_iter().flatten().min()?;
        Some(if due > now { due - now } else { Duration::ZERO })
    }

    /// Wakes the unikernels that got frames, once each.
    fn announce(&mut self) {
        let mut rest = std::mem::take(&mut self.unannounced);
        while rest != 0 {
            let number = rest.trailing_zeros();
            rest &= rest - 1;
            if let Some(port) = self.ports.get(number as usize) {
                // A counter that is full has woken him already.
                let _ = write(&port.ready, &1_u64.to_ne_bytes());
            }
        }
    }

    fn has_news(&mut self) -> bool {
        self.switch.wire_losses().has_news()
            || self.switch.port_losses().iter().any(|losses| losses.has_news())
    }

    /// Says what was refused and, every five seconds at most, what was lost.
    fn report(&mut self, now: Instant, say: &mut dyn FnMut(&str)) {
        self.switch.wire().complaints().iter().for_each(|line| say(line));
        if now < self.next_report || !self.has_news() {
            return;
        }
        self.next_report = now + REPORT_INTERVAL;
        let mut write = |line: &[u8]| say(&String::from_utf8_lossy(line));
        self.switch.wire_losses().report("wire", &mut write);
        for (port, losses) in self.ports.iter().zip(self.switch.port_losses()) {
            losses.report(&port.place, &mut write);
        }
    }
}

fn open(
    input: Shared<'static>,
    output: Shared<'static>,
    address: Option<Address>,
    overruns: Overruns,
) -> Option<switch::Port<Shared<'static>>> {
    // The clock of this computer goes on when the network is restarted, and faster than frames can be written.
    let time = clock_gettime(ClockId::Boottime);
    let epoch = (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64);
    switch::Port::open(input, output, NonZeroU64::new(epoch)?, address, overruns)
}

/// The time of everything that waits.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    Instant::from_micros(time.tv_sec * 1_000_000 + time.tv_nsec / 1000)
}

/// Most rounds after which unikernels learn what they got, and other descriptors have their turn.
const MOST_ROUNDS: usize = 16;
/// Least time between two reports of losses: whoever causes them must not fill the log as well.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
