//! Bitmaps that say which I/O ports and MSRs a subject reaches without the kernel.
//!
//! In all of them a set bit means "stops the subject". Everything is set except what the plan grants. The AMD and the Intel
//! maps grant the same.

use palisade_abi::layout::PAGE;

/// MSRs every subject may read and write: the base addresses of FS and GS, and the one `swapgs` exchanges. They are part of
/// the register state that each subject has for itself.
pub(crate) const SEGMENT_BASE_MSRS: [u32; 3] = [0xc000_0100, 0xc000_0101, 0xc000_0102];

/// AMD's I/O permission map: a bit for each port, and a third page for accesses that run past port 65535 (AMD manual,
/// volume 2, 15.10.1).
pub(crate) fn amd_ports(ports: &[(u16, u16)]) -> Vec<u8> {
    ports_open(ports, vec![0xff; 3 * PAGE as usize])
}

/// Intel's I/O bitmaps A (ports 0..=7fff) and B (8000..=ffff), which lie one behind the other here (Intel manual, volume 3,
/// "I/O-bitmap addresses").
pub(crate) fn intel_ports(ports: &[(u16, u16)]) -> Vec<u8> {
    ports_open(ports, vec![0xff; 2 * PAGE as usize])
}

/// AMD's MSR permission map: two bits for each MSR, read then write, for three ranges of MSRs (AMD manual, volume 2,
/// 15.11).
pub(crate) fn amd_msrs(msrs: &[u32]) -> Vec<u8> {
    let mut map = vec![0xff; 2 * PAGE as usize];
    for msr in msrs.iter().chain(&SEGMENT_BASE_MSRS) {
        let range = AMD_RANGES.iter().position(|first| (*first..first + RANGE).contains(msr));
        if let Some(range) = range {
            let bit = range * AMD_RANGE_BYTES * 8 + 2 * (msr % RANGE) as usize;
            clear(&mut map, bit);
            clear(&mut map, bit + 1);
        }
    }
    map
}

/// Intel's MSR bitmaps: reads of low and high MSRs, then writes of low and high MSRs (Intel manual, volume 3, "MSR-bitmap
/// address").
pub(crate) fn intel_msrs(msrs: &[u32]) -> Vec<u8> {
    let mut map = vec![0xff; PAGE as usize];
    for msr in msrs.iter().chain(&SEGMENT_BASE_MSRS) {
        let range = INTEL_RANGES.iter().position(|first| (*first..first + RANGE).contains(msr));
        if let Some(range) = range {
            let bit = range * INTEL_RANGE_BYTES * 8 + (msr % RANGE) as usize;
            clear(&mut map, bit);
            clear(&mut map, bit + INTEL_WRITES * 8);
        }
    }
    map
}

/// Whether both vendors' maps can grant this MSR.
pub(crate) fn can_grant(msr: u32) -> bool {
    INTEL_RANGES.iter().any(|first| (*first..first + RANGE).contains(&msr))
}

fn ports_open(ports: &[(u16, u16)], mut map: Vec<u8>) -> Vec<u8> {
    for (first, count) in ports {
        let first = usize::from(*first);
        for port in first..(first + usize::from(*count)).min(PORTS) {
            clear(&mut map, port);
        }
    }
    map
}

fn clear(map: &mut [u8], bit: usize) {
    map[bit / 8] &= !(1 << (bit % 8));
}

const PORTS: usize = 0x1_0000;
/// MSRs in each range of a map.
const RANGE: u32 = 0x2000;
const AMD_RANGES: [u32; 3] = [0, 0xc000_0000, 0xc001_0000];
const AMD_RANGE_BYTES: usize = 0x800;
const INTEL_RANGES: [u32; 2] = [0, 0xc000_0000];
const INTEL_RANGE_BYTES: usize = 0x400;
/// Where the bits for writes begin.
const INTEL_WRITES: usize = 0x800;

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(map: &[u8], bit: usize) -> bool {
        map[bit / 8] >> (bit % 8) & 1 != 0
    }

    #[test]
    fn exactly_the_granted_ports_are_open() {
        let grants = [(0x3f8, 8), (0x70, 2), (0x7fff, 2), (0xffff, 4), (0x80, 0)];
        let granted = |port: usize| matches!(port, 0x3f8..=0x3ff | 0x70 | 0x71 | 0x7fff | 0x8000 | 0xffff);
        let (amd, intel) = (amd_ports(&grants), intel_ports(&grants));
        assert_eq!((amd.len(), intel.len()), (0x3000, 0x2000));
        for port in 0..=0xffff {
            assert_eq!(bit(&amd, port), !granted(port), "{port:#x}");
            assert_eq!(bit(&intel, port), !granted(port), "{port:#x}");
        }
        assert!(amd[0x2000..].iter().all(|b| *b == 0xff), "past the last port");
    }

    #[test]
    fn exactly_the_granted_msrs_are_open_for_reading_and_writing() {
        let grants = [0x10, 0x1fff, 0xc000_0000, 0xc000_1fff, 0xc001_0015];
        let granted = |msr: u32| grants.contains(&msr) || (0xc000_0100..=0xc000_0102).contains(&msr);
        let (amd, intel) = (amd_msrs(&grants), intel_msrs(&grants));
        assert_eq!((amd.len(), intel.len()), (0x2000, 0x1000));
        for (number, first) in [(0, 0), (1, 0xc000_0000), (2, 0xc001_0000)] {
            for msr in first..first + 0x2000_u32 {
                let offset = (msr - first) as usize;
                let amd_bit = number * 0x4000 + 2 * offset;
                assert_eq!(bit(&amd, amd_bit), !granted(msr), "read {msr:#x}");
                assert_eq!(bit(&amd, amd_bit + 1), !granted(msr), "write {msr:#x}");
                if number < 2 {
                    assert_eq!(bit(&intel, number * 0x2000 + offset), !granted(msr), "read {msr:#x}");
                    assert_eq!(
                        bit(&intel, 0x4000 + number * 0x2000 + offset),
                        !granted(msr),
                        "write {msr:#x}"
                    );
                }
            }
        }
        assert!(amd[0x1800..].iter().all(|b| *b == 0xff), "reserved");
    }

    #[test]
    fn only_msrs_that_both_vendors_can_pass_through_can_be_granted() {
        assert!(can_grant(0) && can_grant(0x1fff) && can_grant(0xc000_1fff));
        assert!(
            !can_grant(0x2000) && !can_grant(0xbfff_ffff) && !can_grant(0xc001_0000) && !can_grant(u32::MAX)
        );
    }
}
