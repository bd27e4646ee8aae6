//! A tap device as the wire of the switch.
//!
//! The kernel is spared what can be done for many frames at once (`IFF_VNET_HDR`): it hands over long segments of TCP, which
//! are cut here, and gets those of unikernels joined; and it makes no checksums for what never leaves this computer's memory.
//! Every frame that a unikernel gets is whole and has its checksums.

mod checksum;
mod cut;
mod header;
mod joined;
mod segment;

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;

use palisade_abi::network_element::MAX_FRAME;
use palisade_services::switch::{Loss, Wire};
use rustix::io::{Errno, readv, write};
use smoltcp::time::{Duration, Instant};

use self::cut::Incoming;
use self::joined::Outgoing;
use crate::pace::Pace;
use crate::poll::{Readiness, Token};
use crate::world::World;

/// The device.
#[derive(Debug)]
pub(crate) struct Tap {
    device: OwnedFd,
    readable: bool,
    /// It takes no more for now.
    full: bool,
    incoming: Incoming,
    outgoing: Outgoing,
    pace: Pace,
    now: Instant,
    complaint: Option<Errno>,
    /// When a device that is down is tried again.
    again: Option<Instant>,
}

impl Tap {
    pub(crate) fn new(device: OwnedFd, now: Instant) -> Self {
        Self {
            device,
            readable: true,
            full: false,
            incoming: Incoming::new(),
            outgoing: Outgoing::default(),
            pace: Pace::default(),
            now,
            complaint: None,
            again: None,
        }
    }
}

impl Wire for Tap {
    fn receive(&mut self, buffer: &mut [u8; MAX_FRAME]) -> Option<Result<usize, Loss>> {
        if self.incoming.has_more() {
            return Some(self.incoming.next(buffer).ok_or(Loss::Length));
        }
        while self.readable {
            match readv(&self.device, &mut [IoSliceMut::new(self.incoming.room())]) {
                Ok(length) => return Some(self.incoming.first(length, buffer).ok_or(Loss::Length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.readable = false,
                Err(error) => {
                    self.readable = false;
                    self.complaint = Some(error);
                    self.again = Some(self.now + PAUSE);
                }
            }
        }
        None
    }

    fn has_received(&self) -> bool {
        // What waits to be joined leaves in the next round.
        self.readable || self.incoming.has_more() || self.outgoing.len() > 0 && !self.full
    }

    fn room(&mut self) -> usize {
        if self.full { 0 } else { ROOM.saturating_sub(self.outgoing.len()) }
    }

    fn send(&mut self, frame: &[u8], sender: usize) {
        self.pace.heard(sender);
        self.outgoing.add(frame);
    }

    fn flush(&mut self) {
        if !self.pace.holds() && !self.full {
            self.full = !self.outgoing.leave(|bytes| take(&self.device, bytes));
        }
        self.pace.end_round();
    }
}

/// Gives the device a frame. Returns whether it has taken it.
fn take(device: &OwnedFd, bytes: &[u8]) -> bool {
    loop {
        match write(device, bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            // A device that is down takes nothing (tun_chr_write_iter in the kernel's drivers/net/tun.c), as a cable that is
            // not plugged in: what is sent is lost.
            Ok(_) | Err(_) => return true,
        }
    }
}

impl World for Tap {
    fn begin(&mut self, now: Instant) {
        self.now = now;
        if self.again.is_some_and(|again| again <= now) {
            (self.again, self.readable) = (None, true);
        }
    }

    fn ready(&mut self, _: Token, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.full &= !readiness.writable;
    }

    fn expects_more(&self) -> bool {
        self.pace.expects_more()
    }

    fn due(&self) -> Option<Instant> {
        self.again
    }

    fn complaints(&mut self) -> Vec<String> {
        self.complaint
            .take()
            .map(|error| format!("the tap device cannot be read: {error}"))
            .into_iter()
            .collect()
    }
}

/// How many frames are offered at a time.
const ROOM: usize = 256;
/// How long a device that cannot be read is left alone.
const PAUSE: Duration = Duration::from_secs(1);
