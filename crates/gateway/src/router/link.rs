//! The gateway's place in the network: its own addresses, and who has which of the others.
//!
//! An address belongs to one port of the switch: to that which was given it, else to the first that uses it. So no unikernel
//! can take another's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{ArpOperation, EthernetAddress};

use super::emit::{self, Buffer, Ends};
use crate::setup::{Port, Subnet};

/// Who is where.
#[derive(Debug)]
pub(super) struct Link {
    mac: EthernetAddress,
    ipv4: Subnet<Ipv4Addr>,
    ipv6: Option<Subnet<Ipv6Addr>>,
    link_local: Ipv6Addr,
    /// Addresses that were given to ports.
    given: HashMap<IpAddr, usize>,
    neighbours: HashMap<IpAddr, Neighbour>,
    /// How many addresses ports have chosen.
    chosen: Vec<usize>,
    /// Addresses that somebody waits for.
    wanted: HashMap<IpAddr, Want>,
}

#[derive(Debug, Clone, Copy)]
struct Neighbour {
    /// `None` since the port's unikernel began anew, which may have another one.
    mac: Option<EthernetAddress>,
    port: usize,
}

#[derive(Debug, Clone, Copy)]
struct Want {
    next: Instant,
    until: Instant,
}

/// What is to be said of a sender's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is known.
    Known,
    /// Frames for it can be sent from now on.
    New,
    /// It is not the sender's to use.
    Foreign,
}

impl Link {
    /// A link on which the gateway has `mac` and the addresses of the two networks.
    pub(super) fn new(
        mac: [u8; 6],
        ipv4: Subnet<Ipv4Addr>,
        ipv6: Option<Subnet<Ipv6Addr>>,
        ports: &[Port],
    ) -> Self {
        let mut given = HashMap::new();
        for (number, port) in ports.iter().enumerate() {
            for address in port.addresses.iter().copied().chain(port.lease.map(IpAddr::V4)) {
                given.entry(address).or_insert(number);
            }
        }
        Self {
            mac: EthernetAddress(mac),
            ipv4,
            ipv6,
            link_local: link_local(mac),
            given,
            neighbours: HashMap::new(),
            chosen: vec![0; ports.len()],
            wanted: HashMap::new(),
        }
    }

    /// Whether the gateway has the address.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => [self.ipv4.router, self.ipv4.name_server].contains(&address),
            IpAddr::V6(address) => {
                let ipv6 = self.ipv6.is_some_and(|ipv6| [ipv6.router, ipv6.name_server].contains(&address));
                ipv6 || address == self.link_local
            }
        }
    }

    /// Whether the address is one of those that its unikernels can have.
    pub(super) fn is_near(&self, address: IpAddr) -> bool {
        let in_subnet = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4.prefix.min(32))).unwrap_or(0);
                let differs = |other: Ipv4Addr| (address.to_bits() ^ other.to_bits()) & mask != 0;
                let host = address.to_bits() & !mask;
                !differs(self.ipv4.router) && (mask == u32::MAX || host != 0 && host != !mask)
            }
            IpAddr::V6(address) => {
                let same = |network: Subnet<Ipv6Addr>| {
                    let mask = u128::MAX.checked_shl(128 - u32::from(network.prefix.min(128))).unwrap_or(0);
                    (address.to_bits() ^ network.router.to_bits()) & mask == 0
                };
                address.is_unicast_link_local() || self.ipv6.is_some_and(same)
            }
        };
        in_subnet && !self.is_own(address)
    }

    /// The address that the router has for those with addresses of this kind.
    pub(super) fn router(&self, of: IpAddr) -> IpAddr {
        match (of, self.ipv6) {
            (IpAddr::V4(_), _) => self.ipv4.router.into(),
            (IpAddr::V6(of), Some(ipv6)) if !of.is_unicast_link_local() => ipv6.router.into(),
            (IpAddr::V6(_), _) => self.link_local.into(),
        }
    }

    pub(super) fn ipv4(&self) -> Subnet<Ipv4Addr> {
        self.ipv4
    }

    pub(super) fn ipv6(&self) -> Option<Subnet<Ipv6Addr>> {
        self.ipv6
    }

    /// Notes that the port `port` has sent something with these addresses.
    pub(super) fn hear(&mut self, address: IpAddr, mac: EthernetAddress, port: usize) -> Heard {
        if let Some(known) = self.neighbours.get_mut(&address) {
            if known.port != port {
                return Heard::Foreign;
            }
            if known.mac.replace(mac) == Some(mac) {
                return Heard::Known;
            }
            self.wanted.remove(&address);
            return Heard::New;
        }
        if !self.is_near(address) || self.given.get(&address).is_some_and(|owner| *owner != port) {
            return Heard::Foreign;
        }
        if !self.given.contains_key(&address) {
            match self.chosen.get_mut(port) {
                Some(chosen) if *chosen < MOST_CHOSEN => *chosen += 1,
                _ => return Heard::Foreign,
            }
        }
        self.neighbours.insert(address, Neighbour { mac: Some(mac), port });
        self.wanted.remove(&address);
        Heard::New
    }

    /// The unikernel of the port `port` has begun anew. Its addresses stay its own, but where it is has to be heard once more.
    pub(super) fn forget(&mut self, port: usize) {
        self.neighbours.values_mut().filter(|known| known.port == port).for_each(|known| known.mac = None);
    }

    /// The ends of a frame to the neighbour with this address, if he was heard.
    pub(super) fn to(&self, address: IpAddr) -> Option<Ends> {
        let mac = self.neighbours.get(&address)?.mac?;
        Some(self.back_to(mac))
    }

    /// The ends of a frame to this MAC address.
    pub(super) fn back_to(&self, mac: EthernetAddress) -> Ends {
        Ends { source: self.mac, destination: mac }
    }

    /// Asks for a neighbour from now on, for some seconds.
    pub(super) fn want(&mut self, address: IpAddr, now: Instant) {
        let until = now + ASKING;
        self.wanted.entry(address).or_insert(Want { next: now, until }).until = until;
    }

    /// When somebody is to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.values().map(|want| want.next).min()
    }

    /// Writes the next question for a neighbour, if it is time for one.
    pub(super) fn ask(&mut self, buffer: &mut Buffer, now: Instant) -> Option<usize> {
        self.wanted.retain(|_, want| want.until > now);
        let (address, want) = self.wanted.iter_mut().find(|(_, want)| want.next <= now)?;
        want.next = now + ASK_AGAIN;
        match *address {
            IpAddr::V4(target) => {
                let ends = Ends { source: self.mac, destination: EthernetAddress::BROADCAST };
                emit::arp(buffer, ends, ArpOperation::Request, self.ipv4.router, target)
            }
            IpAddr::V6(target) => {
                let from = match self.ipv6 {
                    Some(ipv6) if !target.is_unicast_link_local() => ipv6.router,
                    _ => self.link_local,
                };
                emit::solicitation(buffer, self.mac, from, target)
            }
        }
    }
}

/// The link-local address that belongs to a MAC address (RFC 4291, appendix A).
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Most addresses that a unikernel takes for itself, besides those that it was given.
const MOST_CHOSEN: usize = 8;
/// How long, and how often, an address is asked for.
const ASKING: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_port_that_was_given_it_or_used_it_first() {
        let ipv4 = Subnet {
            prefix: 24,
            router: Ipv4Addr::new(10, 0, 2, 2),
            name_server: Ipv4Addr::new(10, 0, 2, 3),
        };
        let mut link = Link::new([0x52, 0x55, 10, 0, 2, 2], ipv4, None, &[]);
        link.given.insert(address(15), 1);
        link.chosen = vec![0, 0];
        let [one, other] = [1, 2].map(|last| EthernetAddress([2, 0, 0, 0, 0, last]));
        assert_eq!(link.hear(address(15), one, 0), Heard::Foreign);
        assert_eq!(link.hear(address(15), other, 1), Heard::New);
        assert_eq!(link.hear(address(16), one, 0), Heard::New);
        assert_eq!(link.hear(address(16), one, 0), Heard::Known);
        assert_eq!(link.hear(address(16), other, 1), Heard::Foreign);
        assert_eq!(link.hear(address(16), other, 0), Heard::New, "it was restarted with another MAC address");
        link.forget(0);
        assert!(link.to(address(16)).is_none() && link.to(address(15)).is_some());
        assert_eq!(link.hear(address(16), other, 1), Heard::Foreign, "it stays the port's own");
        assert_eq!(link.hear(address(16), one, 0), Heard::New);
        for last in [0, 2, 3, 255] {
            assert_eq!(link.hear(address(last), one, 0), Heard::Foreign, "nobody's, or the gateway's own");
        }
        assert_eq!(link.hear(Ipv4Addr::new(10, 0, 3, 1).into(), one, 0), Heard::Foreign);
        let taken = (20..40).filter(|last| link.hear(address(*last), one, 0) == Heard::New).count();
        assert_eq!(taken, MOST_CHOSEN - 1);
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 2, last).into()
    }
}
