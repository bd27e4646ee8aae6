//! The TCP/IP stack on the unikernels' side, one packet at a time.
//!
//! Every connection is a set of sockets of its own, so what a packet or a timer costs does not depend on how many there are.

use std::net::IpAddr;

use smoltcp::iface::{Config, Context, Interface, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::emit::{Buffer, ETHERNET_HEADER};

/// The stack.
pub(super) struct Stack {
    interface: Interface,
}

impl Stack {
    /// A stack that answers for every address; `own` are those from which it answers by itself.
    pub(super) fn new(own: &[(IpAddr, u8)], seed: u64, now: Instant) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut nothing = [0; ETHERNET_HEADER + LONGEST_PACKET];
        let mut interface = Interface::new(config, &mut Exchanged::new(None, &mut nothing), now);
        interface.set_any_ip(true);
        interface.update_ip_addrs(|addresses| {
            let own = own.iter().map(|(address, prefix)| IpCidr::new((*address).into(), *prefix));
            for cidr in own {
                // There is room for two: one of each family.
                let _ = addresses.push(cidr);
            }
        });
        Self { interface }
    }

    /// What sockets need to open connections.
    pub(super) fn context(&mut self) -> &mut Context {
        self.interface.context()
    }

    /// Gives a packet to the sockets, and writes what is to be said at once into `reply`, behind the place of an Ethernet
    /// header. Returns the reply's length.
    pub(super) fn take(
        &mut self,
        packet: &[u8],
        sockets: &mut SocketSet<'_>,
        reply: &mut Buffer,
        now: Instant,
    ) -> Option<usize> {
        let mut exchanged = Exchanged::new(Some(packet), reply);
        self.interface.poll_ingress_single(now, &mut exchanged, sockets);
        exchanged.written
    }

    /// Answers a packet that belongs to no socket: a segment with a reset, a request for an echo with the echo.
    pub(super) fn refuse(&mut self, packet: &[u8], reply: &mut Buffer, now: Instant) -> Option<usize> {
        self.take(packet, &mut SocketSet::new(Vec::new()), reply, now)
    }

    /// Writes the next packet of the sockets into `buffer`, behind the place of an Ethernet header. Returns its length;
    /// `None` if there is nothing to be said now.
    pub(super) fn next(
        &mut self,
        sockets: &mut SocketSet<'_>,
        buffer: &mut Buffer,
        now: Instant,
    ) -> Option<usize> {
        let mut exchanged = Exchanged::new(None, buffer);
        self.interface.poll_egress(now, &mut exchanged, sockets);
        exchanged.written
    }

    /// When the sockets have something to do by themselves.
    pub(super) fn due(&mut self, sockets: &SocketSet<'_>, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, sockets)
    }
}

/// A device that exchanges one packet for another.
struct Exchanged<'a> {
    packet: Option<&'a [u8]>,
    buffer: &'a mut Buffer,
    written: Option<usize>,
}

impl<'a> Exchanged<'a> {
    fn new(packet: Option<&'a [u8]>, buffer: &'a mut Buffer) -> Self {
        Self { packet, buffer, written: None }
    }
}

impl Device for Exchanged<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Transmission<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Transmission<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), Transmission { buffer: self.buffer, written: &mut self.written }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Transmission<'_>> {
        if self.written.is_some() {
            return None;
        }
        Some(Transmission { buffer: self.buffer, written: &mut self.written })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = LONGEST_PACKET;
        // What was copied out of memory is what was written there, and a wrong sum harms nobody but the one who wrote it:
        // sums are made for unikernels, and not looked at.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities
    }
}

struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

struct Transmission<'a> {
    buffer: &'a mut Buffer,
    written: &'a mut Option<usize>,
}

impl TxToken for Transmission<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        // The stack keeps to the length in `capabilities`.
        let end = ETHERNET_HEADER + length;
        let result = write(self.buffer.get_mut(ETHERNET_HEADER..end).unwrap_or_default());
        *self.written = Some(length);
        result
    }
}

/// What an Ethernet frame of the channels holds.
const LONGEST_PACKET: usize = 1500;
