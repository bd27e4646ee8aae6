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

#[cfg(test)]
mod tests {
    use super::joined::tests::frame;
    use super::segment::{ACK, PSH};
    use super::*;

    #[test]
    fn what_was_joined_and_is_cut_again_is_what_it_was() {
        let mut numbers = Numbers(7);
        for _ in 0..50 {
            // Four connections in each family, in any order.
            let mut next = [0_u32; 8];
            let mut sent: [Vec<Vec<u8>>; 8] = Default::default();
            let mut outgoing = Outgoing::default();
            for _ in 0..200 {
                let connection = numbers.below(8);
                let length = [1400, 1400, 1400, 1400, 1, 700][numbers.below(6)];
                let payload: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
                let flags = [ACK, ACK, ACK | PSH][numbers.below(3)];
                let frame = frame(connection < 4, connection as u16, next[connection], &payload, flags);
                next[connection] += length as u32;
                outgoing.add(&frame);
                sent[connection].push(frame);
            }
            let mut received: [Vec<Vec<u8>>; 8] = Default::default();
            let mut count = 0;
            assert!(outgoing.leave(|bytes| {
                count += 1;
                for frame in cut(bytes) {
                    let port = if frame[12] == 8 { 34 } else { 54 };
                    received[usize::from(frame[port + 1])].push(frame);
                }
                true
            }));
            assert!(count < 150, "{count}");
            for (sent, received) in sent.iter().zip(&received) {
                let essences =
                    |frames: &[Vec<u8>]| frames.iter().map(|frame| essence(frame)).collect::<Vec<_>>();
                assert_eq!(sent.len(), received.len());
                assert!(essences(sent) == essences(received));
            }
        }
    }

    #[test]
    fn frames_of_any_bytes_are_neither_lost_nor_the_end() {
        let mut numbers = Numbers(11);
        let mut outgoing = Outgoing::default();
        let mut sequence = 0;
        let (mut packets, mut frames) = (0, 0);
        for number in 1..=20_000 {
            let length = numbers.below(1400) as u32;
            let mut frame = frame(numbers.below(2) == 0, 80, sequence, &vec![1; length as usize], ACK);
            sequence += length;
            for _ in 0..numbers.below(3) {
                // In the headers, most of them.
                let at = numbers.below(60).min(frame.len() - 1);
                frame[at] = numbers.below(256) as u8;
            }
            frame.truncate(frame.len() - numbers.below(3));
            outgoing.add(&frame);
            if outgoing.len() >= 200 || number == 20_000 {
                assert!(outgoing.leave(|bytes| {
                    packets += 1;
                    frames += cut(bytes).len();
                    true
                }));
                assert_eq!(frames, number);
            }
        }
        assert!(packets < 20_000, "none was joined");
    }

    /// All frames of what was handed to a device, read from another one.
    fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut incoming = Incoming::new();
        incoming.room()[..bytes.len()].copy_from_slice(bytes);
        let mut buffer = [0; MAX_FRAME];
        let mut frames = Vec::new();
        let mut length = incoming.first(bytes.len(), &mut buffer);
        while let Some(whole) = length {
            frames.push(buffer[..whole].to_vec());
            length = incoming.next(&mut buffer);
        }
        assert!(!incoming.has_more());
        frames
    }

    /// A frame without what may change on its way: IPv4's identification and checksum, and TCP's checksum and flag PSH.
    fn essence(frame: &[u8]) -> Vec<u8> {
        let mut essence = frame.to_vec();
        let tcp = if frame[12] == 8 { 34 } else { 54 };
        if frame[12] == 8 {
            essence[18..20].fill(0);
            essence[24..26].fill(0);
        }
        essence[tcp + 13] &= !PSH;
        essence[tcp + 16..tcp + 18].fill(0);
        essence
    }

    /// Numbers that are the same each time (Knuth's generator, MMIX).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit
        }
    }
}
