//! A tap device as the wire of the switch.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;

use palisade_abi::network_element::MAX_FRAME;
use palisade_services::switch::{Loss, Wire};
use rustix::io::{Errno, readv, write};
use smoltcp::time::{Duration, Instant};

use crate::poll::{Readiness, Token};
use crate::world::World;

/// The device.
#[derive(Debug)]
pub(crate) struct Tap {
    device: OwnedFd,
    readable: bool,
    /// A frame that the device had no room for.
    held: Option<(usize, [u8; MAX_FRAME])>,
    now: Instant,
    complaint: Option<Errno>,
    /// When a device that is down is tried again.
    again: Option<Instant>,
}

impl Tap {
    pub(crate) const fn new(device: OwnedFd, now: Instant) -> Self {
        Self { device, readable: true, held: None, now, complaint: None, again: None }
    }

    fn write(&mut self, frame: &[u8]) -> bool {
        loop {
            match write(&self.device, frame) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                // A device that is down takes nothing (tun_chr_write_iter in the kernel's drivers/net/tun.c), as a cable
                // that is not plugged in: what is sent is lost.
                Ok(_) | Err(_) => return true,
            }
        }
    }
}

impl Wire for Tap {
    fn receive(&mut self, buffer: &mut [u8; MAX_FRAME]) -> Option<Result<usize, Loss>> {
        while self.readable {
            let mut beyond = [0];
            let parts = &mut [IoSliceMut::new(buffer), IoSliceMut::new(&mut beyond)];
            match readv(&self.device, parts) {
                Ok(length) if length > MAX_FRAME => return Some(Err(Loss::Length)),
                Ok(length) => return Some(Ok(length)),
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
        self.readable
    }

    fn room(&mut self) -> usize {
        if self.held.is_some() { 0 } else { ROOM }
    }

    fn send(&mut self, frame: &[u8], _sender: usize) {
        if !self.write(frame) {
            let mut held = [0; MAX_FRAME];
            if let Some(room) = held.get_mut(..frame.len()) {
                room.copy_from_slice(frame);
                self.held = Some((frame.len(), held));
            }
        }
    }

    fn flush(&mut self) {}
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
        if readiness.writable
            && let Some((length, frame)) = self.held.take()
            && let Some(frame) = frame.get(..length)
        {
            self.send(frame, 0);
        }
    }

    fn expects_more(&self) -> bool {
        false
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
