//! Addresses of network stations that nobody gave one.

/// A MAC address for the device `device` of the subject `subject`: the same at every start, and a different one for
/// (nearly) every other pair of names.
///
/// It is locally administered and unicast (IEEE 802, 8.2: the two lowest bits of the first byte are 1 and 0).
#[must_use]
pub fn derived_address(subject: &str, device: &str) -> [u8; 6] {
    address_from(subject.bytes().chain([0]).chain(device.bytes()))
}

/// A MAC address for the same behind the network card with the address `card`: another one behind every card, so that
/// machines with the same system can share a network.
#[must_use]
pub fn address_behind(card: [u8; 6], subject: &str, device: &str) -> [u8; 6] {
    address_from(card.into_iter().chain(subject.bytes()).chain([0]).chain(device.bytes()))
}

fn address_from(bytes: impl Iterator<Item = u8>) -> [u8; 6] {
    let hash = bytes.fold(FNV_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    [(a ^ g) & 0xfc | 0x02, b ^ h, c, d, e, f]
}

/// Parameters of the 64-bit FNV-1a hash (RFC 9923, 5).
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn addresses_are_stable_local_and_different() {
        let subjects = ["website", "echo", "a", "b"];
        let devices = ["service", "net0", "net1"];
        let mut seen = HashSet::new();
        for (subject, device) in subjects.iter().flat_map(|s| devices.map(|d| (*s, d))) {
            let address = derived_address(subject, device);
            assert_eq!(address, derived_address(subject, device));
            assert_eq!(address[0] & 3, 2);
            assert!(seen.insert(address), "{subject} {device}");
            for card in [[0; 6], [0x52, 0x54, 0, 0x12, 0x34, 0x56], [0x52, 0x54, 0, 0x12, 0x34, 0x57]] {
                let behind = address_behind(card, subject, device);
                assert_eq!(behind[0] & 3, 2);
                assert!(seen.insert(behind), "{subject} {device}");
            }
        }
        assert_ne!(derived_address("ab", "c"), derived_address("a", "bc"));
    }
}
