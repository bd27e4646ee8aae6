//! The host: it answers what a host answers, and hands over the rest.

use solo5::clock;
use solo5::net::{self, Network};

use crate::packet::{self, Ip, Packet};

/// A host on a network device.
pub(crate) struct Host {
    network: Network,
    own: Ip,
    longest_sleep: u64,
    frame: [u8; 1514],
}

/// What another host said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The answer to an ARP request: an address and whose it is.
    Mac(Ip, [u8; 6]),
    /// The answer to the ping with this number.
    Pong(u16),
    /// The echo of the datagram with this number.
    Echo(u16),
    /// The wish that this host ends.
    End,
    /// Nothing that needs more than was done about it.
    Other,
}

impl Host {
    pub(crate) fn new(network: Network, own: Ip, longest_sleep: u64) -> Self {
        Self { network, own, longest_sleep, frame: [0; 1514] }
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        self.network.mac()
    }

    pub(crate) fn losses(&self) -> u64 {
        self.network.losses().total()
    }

    /// The MAC address of `other`, asked for until this much time has passed.
    pub(crate) fn resolve(&mut self, other: Ip, patience: u64) -> Option<[u8; 6]> {
        let start = clock::monotonic();
        while clock::monotonic() - start < patience {
            self.send((other, packet::BROADCAST), Packet::WhoHas);
            let deadline = clock::monotonic() + 100_000_000;
            while let Some(heard) = self.hear(deadline) {
                if let Heard::Mac(address, mac) = heard
                    && address == other
                {
                    return Some(mac);
                }
            }
        }
        None
    }

    pub(crate) fn send(&mut self, (other, mac): (Ip, [u8; 6]), packet: Packet) {
        let mut frame = [0; packet::LENGTH];
        packet.write(&mut frame, (self.own, self.network.mac()), (other, mac));
        // A packet is shorter than the longest frame.
        let _ = self.network.write(&frame);
    }

    /// Whether this is heard before that much time has passed.
    pub(crate) fn wait_for(&mut self, wanted: Heard, patience: u64) -> bool {
        let deadline = clock::monotonic() + patience;
        while let Some(heard) = self.hear(deadline) {
            if heard == wanted {
                return true;
            }
        }
        false
    }

    /// The next that is heard before `deadline`.
    pub(crate) fn hear(&mut self, deadline: u64) -> Option<Heard> {
        loop {
            if let Some(length) = self.network.read(&mut self.frame) {
                return Some(self.understand(length));
            }
            let now = clock::monotonic();
            if now >= deadline {
                return None;
            }
            let wake = deadline.min(now.saturating_add(self.longest_sleep));
            net::wait_until([&mut self.network], wake);
        }
    }

    fn understand(&mut self, length: usize) -> Heard {
        let mac = self.network.mac();
        let Some(frame) = self.frame.get_mut(..length) else { return Heard::Other };
        if packet::answer(frame, self.own, mac) {
            let _ = self.network.write(frame);
            return Heard::Other;
        }
        packet::read(frame, self.own).unwrap_or(Heard::Other)
    }
}
