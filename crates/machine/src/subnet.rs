//! Networks of either family, as numbers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address of either family.
pub(crate) trait Address: Copy + Eq + fmt::Display {
    /// Bits of an address.
    const BITS: u8;
    /// The prefixes with which the emulator takes a network: fewest bits, most bits.
    const PREFIXES: (u8, u8);
    /// Whether the last address of a network means everybody in it.
    const HAS_BROADCAST: bool;

    /// Its number.
    fn number(self) -> u128;

    /// The address of a number, of which only the lowest [`Address::BITS`] count.
    fn of_number(number: u128) -> Self;
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet<A> {
    first: A,
    prefix: u8,
}

impl<A: Address> Subnet<A> {
    /// The network of an address. A prefix longer than an address is the whole address.
    pub(crate) fn of(address: A, prefix: u8) -> Self {
        let prefix = prefix.min(A::BITS);
        Self { first: A::of_number(address.number() & !hosts::<A>(prefix)), prefix }
    }

    /// Its first address, which names it.
    pub(crate) const fn first(&self) -> A {
        self.first
    }

    /// Bits that all its addresses share.
    pub(crate) const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The address with this number in it, if somebody could have it.
    pub(crate) fn host(&self, number: u128) -> Option<A> {
        let last = hosts::<A>(self.prefix);
        let beyond = if A::HAS_BROADCAST { last } else { last.checked_add(1)? };
        (1..beyond).contains(&number).then(|| A::of_number(self.first.number() | number))
    }

    /// Whether the address is in it and somebody could have it.
    pub(crate) fn is_host(&self, address: A) -> bool {
        Self::of(address, self.prefix) == *self
            && self.host(address.number() & hosts::<A>(self.prefix)).is_some()
    }
}

impl Subnet<Ipv4Addr> {
    /// The network that QEMU has if it is told nothing.
    pub(crate) const fn default_ipv4() -> Self {
        Self { first: Ipv4Addr::new(10, 0, 2, 0), prefix: 24 }
    }
}

impl<A: Address> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    // QEMU's net/slirp.c: at least 4 bits; beyond 30 there is nobody but the network.
    const PREFIXES: (u8, u8) = (4, 30);
    const HAS_BROADCAST: bool = true;

    fn number(self) -> u128 {
        u128::from(self.to_bits())
    }

    fn of_number(number: u128) -> Self {
        let [.., a, b, c, d] = number.to_be_bytes();
        Self::new(a, b, c, d)
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    // QEMU's net/slirp.c: at most 126 bits. No network of the Internet has fewer than 8.
    const PREFIXES: (u8, u8) = (8, 126);
    const HAS_BROADCAST: bool = false;

    fn number(self) -> u128 {
        self.to_bits()
    }

    fn of_number(number: u128) -> Self {
        Self::from_bits(number)
    }
}

/// A mask of the bits behind a prefix.
const fn hosts<A: Address>(prefix: u8) -> u128 {
    let bits = A::BITS.saturating_sub(prefix);
    // No shift by the whole width.
    if bits == 128 { u128::MAX } else { (1 << bits) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_begins_where_its_prefix_ends() {
        let subnet = Subnet::of(Ipv4Addr::new(192, 168, 254, 10), 24);
        assert_eq!(subnet.to_string(), "192.168.254.0/24");
        let subnet = Subnet::of("fd00:1::10".parse::<Ipv6Addr>().expect("an address"), 64);
        assert_eq!(subnet.to_string(), "fd00:1::/64");
    }

    #[test]
    fn the_first_and_last_addresses_belong_to_nobody() {
        let subnet = Subnet::of(Ipv4Addr::new(10, 0, 0, 5), 29);
        let hosts: Vec<_> = (0..10).filter_map(|number| subnet.host(number)).collect();
        assert_eq!(hosts, [1, 2, 3, 4, 5, 6].map(|last| Ipv4Addr::new(10, 0, 0, last)));
        assert!(!subnet.is_host(Ipv4Addr::new(10, 0, 0, 7)) && !subnet.is_host(Ipv4Addr::new(10, 0, 0, 9)));
    }

    #[test]
    fn the_extreme_prefixes_have_networks() {
        for prefix in [0, 1, 31, 32, 33, 255] {
            let subnet = Subnet::of(Ipv4Addr::new(10, 0, 0, 5), prefix);
            assert_eq!(subnet, Subnet::of(subnet.first(), prefix));
        }
        for prefix in [0, 127, 128, 255] {
            let subnet = Subnet::of(Ipv6Addr::LOCALHOST, prefix);
            assert_eq!(subnet, Subnet::of(subnet.first(), prefix));
        }
    }
}
