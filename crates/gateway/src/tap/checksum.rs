//! The checksum of the internet's protocols (RFC 1071).

/// The sum of the words of `bytes`, not folded, in the order in which this computer reads words: the sum does not depend on
/// it (RFC 1071, 2 B). Only the last of several parts may have an odd length.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words.iter().fold(0, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)));
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    sum + u64::from(u32::from_ne_bytes(last))
}

/// The sum in 16 bits, as packets carry it that others complete.
pub(super) fn fold(sum: u64) -> [u8; 2] {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum as u16).to_ne_bytes()
}

/// The checksum, as headers carry it. It is never 0, which in UDP means that there is none (RFC 768).
pub(super) fn finish(sum: u64) -> [u8; 2] {
    match fold(sum).map(|byte| !byte) {
        [0, 0] => [0xff, 0xff],
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_adds_up() {
        // RFC 1071, 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), [0xdd, 0xf2]);
        assert_eq!(fold(sum(&bytes[..6]) + sum(&bytes[6..])), [0xdd, 0xf2]);
        assert_eq!(finish(sum(&bytes)), [0x22, 0x0d]);
    }

    #[test]
    fn whatever_is_summed_up_with_its_checksum_is_all_ones() {
        for length in 0..200_usize {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 37 + length) as u8 | 0x80).collect();
            let checksum = finish(sum(&bytes));
            assert_eq!(fold(sum(&checksum) + sum(&bytes)), [0xff, 0xff], "{length}");
        }
        assert_eq!(fold(sum(&vec![0xff; 65536])), [0xff, 0xff]);
    }
}
