//! Whether the card still sends; and what the driver says about its work: counters in its status page, and lines in its log
//! about frames that were dropped.

use palisade_abi::nic_config::Port;
use palisade_abi::status::{LOST_FRAMES, StatusPage};
use palisade_services::switch::{Stall, Wire};
use palisade_services::virtio::Fault;
use solo5::{clock, console, shared_memory};

use crate::Switch;
use crate::configuration::place;

/// What was seen and said so far.
pub(crate) struct Health {
    status: Option<StatusPage<'static>>,
    /// When losses may be reported again.
    next_report: u64,
    /// Whether the card takes frames.
    stall: Stall,
}

impl Health {
    pub(crate) fn new() -> Self {
        let status = shared_memory("status").map(StatusPage);
        Self { status, next_report: 0, stall: Stall::default() }
    }

    /// Updates the counters, reports losses, and looks whether the card still sends. Returns when to do so again although
    /// nothing happened meanwhile.
    pub(crate) fn check(&mut self, switch: &mut Switch, ports: &[Port]) -> Result<Option<u64>, Fault> {
        self.count(switch);
        let report = self.report(switch, ports);
        let room = self.room(switch)?;
        Ok(report.into_iter().chain(room).min())
    }

    /// Reports losses, unless the last report is too fresh: then it returns when that is over.
    fn report(&mut self, switch: &mut Switch, ports: &[Port]) -> Option<u64> {
        let news =
            switch.wire_losses().has_news() || switch.port_losses().iter().any(|losses| losses.has_news());
        if !news {
            return None;
        }
        let now = clock::monotonic();
        if now < self.next_report {
            return Some(self.next_report);
        }
        self.next_report = now.saturating_add(REPORT_INTERVAL);
        switch.wire_losses().report("wire", console::write_line);
        for ((number, port), losses) in ports.iter().enumerate().zip(switch.port_losses()) {
            losses.report(place(number, port).as_str(), console::write_line);
        }
        None
    }

    /// Looks whether the card has room. If it has none, it returns until when it must have.
    fn room(&mut self, switch: &mut Switch) -> Result<Option<u64>, Fault> {
        let (now, has_room) = (clock::monotonic(), switch.wire().room() > 0);
        let Some(since) = self.stall.note(now, has_room, switch.traffic().to_wire) else { return Ok(None) };
        let deadline = since.saturating_add(SEND_PATIENCE);
        if now < deadline { Ok(Some(deadline)) } else { Err(Fault::Stuck) }
    }

    fn count(&self, switch: &mut Switch) {
        let Some(status) = &self.status else { return };
        let traffic = switch.traffic();
        let from_wire = switch.wire_losses().total();
        let from_ports =
            switch.port_losses().iter().fold(0_u64, |sum, port| sum.saturating_add(port.total()));
        let moved = [traffic.from_wire, traffic.to_wire, traffic.from_ports, traffic.to_ports];
        let counters = moved.into_iter().chain([from_wire, from_ports]).zip(0..);
        for (value, index) in counters.chain([(from_wire.saturating_add(from_ports), LOST_FRAMES)]) {
            status.set_counter(index, value);
        }
    }
}

/// Least time between two reports of losses, in nanoseconds: whoever causes them must not fill the log as well.
const REPORT_INTERVAL: u64 = 5_000_000_000;
/// How long the card may have no room for another frame, in nanoseconds.
const SEND_PATIENCE: u64 = 2_000_000_000;
