//! The processor's generator of random words: RDSEED, or RDRAND where that is all there is.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step, _rdseed64_step};

use palisade_unikernel_core::entropy::Source;

/// The processor's generator.
#[derive(Debug)]
pub(crate) struct HardwareRandom {
    rdseed: bool,
    rdrand: bool,
}

impl HardwareRandom {
    /// What CPUID says there is (Intel SDM volume 2, CPUID; AMD APM volume 3, E.3 and E.4).
    pub(crate) fn find() -> Self {
        let leaves = __cpuid(0).eax;
        let rdseed = leaves >= 7 && __cpuid_count(7, 0).ebx & RDSEED != 0;
        let rdrand = leaves >= 1 && __cpuid(1).ecx & RDRAND != 0;
        Self { rdseed, rdrand }
    }
}

impl Source for HardwareRandom {
    fn word(&mut self) -> Option<u64> {
        let seed = || {
            // SAFETY: called only where CPUID announces the instruction.
            (0..ATTEMPTS).find_map(|_| unsafe { rdseed() })
        };
        // RDSEED may be exhausted for a while where others use it too; what RDRAND gives is seeded from the same source.
        let random = || {
            // SAFETY: as above.
            (0..ATTEMPTS).find_map(|_| unsafe { rdrand() })
        };
        let word = if self.rdseed { seed() } else { None };
        word.or_else(|| if self.rdrand { random() } else { None })
    }
}

#[target_feature(enable = "rdseed")]
fn rdseed() -> Option<u64> {
    let mut word = 0;
    (_rdseed64_step(&mut word) == 1).then_some(word)
}

#[target_feature(enable = "rdrand")]
fn rdrand() -> Option<u64> {
    let mut word = 0;
    (_rdrand64_step(&mut word) == 1).then_some(word)
}

/// Leaf 7, EBX.
const RDSEED: u32 = 1 << 18;
/// Leaf 1, ECX.
const RDRAND: u32 = 1 << 30;

/// Intel's software guide says ten for RDRAND; more does no harm.
const ATTEMPTS: usize = 100;
