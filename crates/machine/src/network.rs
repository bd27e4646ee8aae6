//! The network card of a machine, and what its wire leads to.

use std::fmt;

use crate::UserNetwork;

/// A network card and its wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Where the card is found.
    pub address: PciAddress,
    /// Its MAC address.
    pub mac: MacAddress,
    /// Where its wire leads.
    pub wire: Wire,
}

/// A function on the first bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciAddress {
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

/// Where a wire leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// Into the emulator, which plays the rest of the network and needs no right for it.
    User(UserNetwork),
    /// To a tap device of this computer that somebody has made and that this user may use.
    Tap(String),
}

impl Network {
    /// The arguments of the emulator.
    pub(crate) fn arguments(&self) -> [String; 4] {
        let Self { address, mac, wire } = self;
        // A card without the legacy interface and without a boot ROM, whose accesses to memory an IOMMU could restrict.
        let device = format!(
            "virtio-net-pci,netdev={WIRE},mac={mac},addr={address},disable-legacy=on,iommu_platform=on,romfile="
        );
        ["-netdev".into(), wire.to_string(), "-device".into(), device]
    }
}

impl MacAddress {
    /// What QEMU gives its first card; good where no other machine can be met.
    pub const ALONE: Self = Self([0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);

    /// An address for the machine with this name: always the same, and most likely another one for another name. It is
    /// locally administered.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        // FNV-1a, 64 bits.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        let [a, b, c, d, ..] = (hash ^ (hash >> 32)).to_le_bytes();
        Self([0x52, 0x54, a, b, c, d])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}.{:#x}", self.device, self.function)
    }
}

impl fmt::Display for Wire {
    /// The value of `-netdev`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(network) => write!(f, "user,id={WIRE},{}", network.options()),
            // A comma ends a value; two of them are one.
            Self::Tap(name) => {
                write!(f, "tap,id={WIRE},ifname={},script=no,downscript=no", name.replace(',', ",,"))
            }
        }
    }
}

/// What the wire is called among the emulator's arguments.
const WIRE: &str = "net0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_is_where_the_system_expects_it() {
        let network = Network {
            address: PciAddress { device: 3, function: 0 },
            mac: MacAddress::ALONE,
            wire: Wire::Tap("tap,0".into()),
        };
        let [_, wire, _, card] = network.arguments();
        assert_eq!(wire, "tap,id=net0,ifname=tap,,0,script=no,downscript=no");
        assert!(card.contains("netdev=net0,mac=52:54:00:12:34:56,addr=0x3.0x0,"), "{card}");
    }

    #[test]
    fn names_give_stable_and_different_local_addresses() {
        let [one, two] = ["one", "two"].map(MacAddress::of_name);
        assert_ne!(one, two);
        assert_eq!(one, MacAddress::of_name("one"));
        // Bit 1 of the first byte says locally administered, bit 0 would say multicast.
        assert_eq!(one.0[0] & 0b11, 0b10);
    }
}
