//! Moves the frames.
//!
//! It works in rounds, and takes in each no more than a burst from each place; so a flood costs the others their turn
//! never, and its sender what it cannot deliver. What waits for a unikernel waits in one channel, whoever sent it: each
//! port may fill only a little of it, so that there is room for what the wire and other ports bring. If the wire takes no
//! more, ports are not read: what they go on to send overruns their own channel and no one else's.

use core::num::NonZeroU64;

use palisade_abi::frame_channel::{self, Announcement, FrameReader, FrameWriter, Overruns};
use palisade_abi::network_element::MAX_FRAME;
use palisade_abi::nic_config::MAX_PORTS;
use palisade_abi::volatile::Memory;

use super::address::Address;
use super::losses::{Loss, Losses};
use super::table::{Destinations, Table};

/// The world outside: a network card, or what stands for one.
pub trait Wire {
    /// Copies the next frame that arrived into `buffer` and returns its length, or why it is lost; `None` if there is none.
    fn receive(&mut self, buffer: &mut [u8; MAX_FRAME]) -> Option<Result<usize, Loss>>;

    /// Whether [`Wire::receive`] would return something.
    fn has_received(&self) -> bool;

    /// How many frames [`Wire::send`] takes now.
    fn room(&mut self) -> usize;

    /// Sends a frame that came from the port `sender`, if there is room for it. It may be kept until [`Wire::flush`].
    fn send(&mut self, frame: &[u8], sender: usize);

    /// The unikernel of the port `sender` has begun anew: it may send from another address than before.
    fn restarted(&mut self, _sender: usize) {}

    /// Sees to it that all frames sent so far leave, and that there is room for those that arrive.
    fn flush(&mut self);
}

/// A port's channels.
#[derive(Debug)]
pub struct Port<M> {
    input: FrameWriter<M>,
    output: FrameReader<M>,
    overruns: Overruns,
    /// The epoch of `output` that the table knows of.
    epoch: u64,
    /// The losses in `output` that were counted.
    counted: frame_channel::Losses,
    /// When the unikernel has read this many frames, every port may send it some again.
    window: u64,
    /// How many each has sent it in the meantime.
    admitted: [u8; MAX_PORTS],
}

impl<M: Memory> Port<M> {
    /// A port with the channel `input` to its unikernel and the channel `output` from it. `overruns` says what the
    /// unikernel does after an overrun of `input`, which begins with `epoch` (see [`FrameWriter::start`]) and announces
    /// `address`. `None` if `input` has no room for a frame.
    pub fn open(
        input: M,
        output: M,
        epoch: NonZeroU64,
        address: Option<Address>,
        overruns: Overruns,
    ) -> Option<Self> {
        let announcement = Announcement { address: address.map(|address| address.0), recovers: true };
        let input = FrameWriter::start(input, epoch, announcement)?;
        let output = FrameReader::new(output);
        let counted = frame_channel::Losses::default();
        Some(Self { input, output, overruns, epoch: 0, counted, window: 0, admitted: [0; MAX_PORTS] })
    }

    /// Gives up what the unikernel wrote before: a switch that is restarted would send all of it once more.
    pub fn skip(&mut self) {
        self.output.skip();
        self.epoch = self.output.epoch();
    }

    /// Whether the unikernel has begun a new epoch. Then frames that it has not read were meant for the one before it.
    fn has_restarted(&mut self) -> bool {
        let (before, now) = (self.epoch, self.output.epoch());
        self.epoch = now;
        if before != 0 && now != 0 && now != before {
            self.input.begin_epoch();
        }
        now != before
    }

    /// Whether the unikernel takes one more frame from the port `sender`: each may send a few until all was read that was
    /// there before them. A unikernel that does not say what it has read gets everything.
    fn admits(&mut self, sender: usize) -> bool {
        let Some(taken) = self.output.acknowledged() else { return true };
        let written = self.input.written();
        if taken >= self.window || self.window > written {
            (self.window, self.admitted) = (written, [0; MAX_PORTS]);
        }
        match self.admitted.get_mut(sender) {
            Some(admitted) if *admitted < PORT_SHARE => {
                *admitted += 1;
                true
            }
            _ => false,
        }
    }

    /// Counts what was lost in the channel since the last time, and returns whether there was anything.
    fn count_losses(&mut self, losses: &mut Losses) -> bool {
        let (before, now) = (self.counted, self.output.losses());
        self.counted = now;
        losses.count(Loss::Overrun, now.overrun.saturating_sub(before.overrun));
        losses.count(Loss::Length, now.unfit.saturating_sub(before.unfit));
        now != before
    }
}

/// The switch with everything it moves frames between.
#[derive(Debug)]
pub struct Exchange<M, W> {
    wire: W,
    ports: [Option<Port<M>>; MAX_PORTS],
    table: Table,
    traffic: Traffic,
    port_losses: [Losses; MAX_PORTS],
    wire_losses: Losses,
    /// Ports up to the last open one.
    count: usize,
    /// The port that is read first in the next round.
    first: usize,
    /// The port that sent last, and for how many rounds more several ports count as sending.
    last: usize,
    contended: u8,
    frame: [u8; MAX_FRAME],
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Round {
    /// Whether it took a frame, or found one lost.
    pub busy: bool,
    /// The ports to tell at once that they got frames, a bit each: from the wire, or from a port that has no more to send now.
    pub at_once: u32,
    /// The ports to tell at the latest when a round finds nothing: they got frames from a port that has more for somebody.
    pub later: u32,
}

/// Frames that were moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Taken from the wire.
    pub from_wire: u64,
    /// Given to the wire.
    pub to_wire: u64,
    /// Taken from ports.
    pub from_ports: u64,
    /// Given to ports; one for several counts several times.
    pub to_ports: u64,
}

impl<M: Memory, W: Wire> Exchange<M, W> {
    /// A switch with this wire, these addresses, and no open port.
    pub fn new(wire: W, table: Table) -> Self {
        Self {
            wire,
            ports: [const { None }; MAX_PORTS],
            table,
            traffic: Traffic::default(),
            port_losses: [Losses::new(); MAX_PORTS],
            wire_losses: Losses::new(),
            count: 0,
            first: 0,
            last: 0,
            contended: 0,
            frame: [0; MAX_FRAME],
        }
    }

    /// Opens a port of the table. One beyond [`MAX_PORTS`] is not opened.
    pub fn open(&mut self, number: usize, port: Port<M>) {
        if let Some(slot) = self.ports.get_mut(number) {
            *slot = Some(port);
            self.count = self.count.max(number + 1);
        }
    }

    /// Takes what there is, up to a burst from each place, and delivers it.
    pub fn round(&mut self) -> Round {
        let mut round = Round::default();
        // Ports before the wire: a unikernel that was restarted starts over with what arrives for it, not behind it.
        let most = if self.contended > 0 { CONTENDED_BURST } else { PORT_BURST };
        self.contended = self.contended.saturating_sub(1);
        let quota = self.wire.room().div_ceil(self.count.max(1)).min(most);
        for number in (self.first..self.count).chain(0..self.first) {
            for _ in 0..quota {
                if self.take_from_port(number, &mut round).is_none() {
                    break;
                }
            }
        }
        self.first = if self.first + 1 < self.count { self.first + 1 } else { 0 };
        for _ in 0..WIRE_BURST {
            if self.take_from_wire(&mut round).is_none() {
                break;
            }
        }
        self.wire.flush();
        round
    }

    /// Whether a round would find something to do.
    pub fn is_ready(&mut self) -> bool {
        self.wire.has_received() || self.has_unread() && self.wire.room() > 0
    }

    /// Whether a port has written what was not read yet.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.ports.iter().flatten().any(|port| port.output.is_ready())
    }

    /// The wire.
    pub fn wire(&mut self) -> &mut W {
        &mut self.wire
    }

    /// Frames moved so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Losses of frames that came from the wire.
    pub fn wire_losses(&mut self) -> &mut Losses {
        &mut self.wire_losses
    }

    /// Losses of frames that ports sent.
    pub fn port_losses(&mut self) -> &mut [Losses] {
        &mut self.port_losses
    }

    /// Takes a frame from the wire; `None` if there is none.
    fn take_from_wire(&mut self, round: &mut Round) -> Option<()> {
        let received = self.wire.receive(&mut self.frame)?;
        round.busy = true;
        let judged = received.and_then(|length| {
            self.traffic.from_wire += 1;
            let frame = self.frame.get(..length).ok_or(Loss::Length)?;
            Ok((length, self.table.from_wire(frame)?))
        });
        match judged {
            Ok((length, destinations)) => self.deliver(length, destinations, None, &mut round.at_once),
            Err(loss) => self.wire_losses.count(loss, 1),
        }
        Some(())
    }

    /// Takes a frame from a port; `None` if there is none, or no room for it.
    fn take_from_port(&mut self, number: usize, round: &mut Round) -> Option<()> {
        if self.wire.room() == 0 {
            return None;
        }
        let port = self.ports.get_mut(number)?.as_mut()?;
        let losses = self.port_losses.get_mut(number)?;
        let length = port.output.read(&mut self.frame);
        if port.count_losses(losses) {
            round.busy = true;
        }
        if port.has_restarted() {
            self.table.restarted(number);
            self.wire.restarted(number);
        }
        let length = length?;
        let more = port.output.is_ready();
        round.busy = true;
        if self.last != number {
            (self.last, self.contended) = (number, CONTENTION);
        }
        self.traffic.from_ports += 1;
        let frame = self.frame.get(..length);
        match frame.ok_or(Loss::Length).and_then(|frame| self.table.from_port(number, frame)) {
            Ok(destinations) => {
                let delivered = if more { &mut round.later } else { &mut round.at_once };
                self.deliver(length, destinations, Some(number), delivered);
            }
            Err(loss) => losses.count(loss, 1),
        }
        Some(())
    }

    /// Delivers the frame in the buffer, which came from `sender`, or from the wire.
    fn deliver(
        &mut self,
        length: usize,
        destinations: Destinations,
        sender: Option<usize>,
        delivered: &mut u32,
    ) {
        let Some(frame) = self.frame.get(..length) else { return };
        if let (true, Some(sender)) = (destinations.wire, sender) {
            self.wire.send(frame, sender);
            self.traffic.to_wire += 1;
        }
        let mut rest = destinations.ports;
        while rest != 0 {
            let number = rest.trailing_zeros();
            rest &= rest - 1;
            let Some(Some(port)) = self.ports.get_mut(number as usize) else { continue };
            if let Some(sender) = sender
                && !port.admits(sender)
            {
                if let Some(losses) = self.port_losses.get_mut(sender) {
                    losses.count(Loss::Crowded, 1);
                }
            } else if port.input.write(frame, port.overruns).is_ok() {
                *delivered |= 1 << number;
                self.traffic.to_ports += 1;
            }
        }
    }
}

/// Most frames taken from the wire in a round.
const WIRE_BURST: usize = 64;
/// Most frames taken from a port in a round, if it is the only one that sends.
const PORT_BURST: usize = 8;
/// The same while others send too: a flood's share of the work is then small.
const CONTENDED_BURST: usize = 1;
/// For how many rounds the ports count as sending at the same time after another one sent than before.
const CONTENTION: u8 = 64;
/// Most frames that a port sends to another one before that has read all that was there before them.
const PORT_SHARE: u8 = 8;

#[cfg(test)]
mod tests;
