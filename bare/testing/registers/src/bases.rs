//! Registers that compiled code leaves alone, so that they can keep a pattern all the time: the base addresses of FS and GS, the one
//! that `swapgs` exchanges, and CR2.

use core::arch::asm;

/// What the four registers contain.
pub(crate) struct Bases([u64; 4]);

/// Their names.
const NAMES: [&str; 4] = ["FS base", "GS base", "kernel GS base", "CR2"];
const MSRS: [u32; 3] = [0xc000_0100, 0xc000_0101, 0xc000_0102];

impl Bases {
    /// Fills all of them with a pattern made from `seed`.
    pub(crate) fn fill(seed: u64) -> Self {
        let pattern = |at: u64| (seed.wrapping_mul(4) + at).wrapping_mul(0x9_e377_9b97) & 0x7fff_ffff_ffff;
        let bases = [pattern(0), pattern(1), pattern(2), pattern(3)];
        for (number, base) in MSRS.into_iter().zip(bases) {
            // SAFETY: the subject may write these registers; the program has no use for the addresses, which are canonical.
            unsafe {
                asm!("wrmsr", in("ecx") number, in("eax") base as u32, in("edx") (base >> 32) as u32,
                    options(nostack, preserves_flags));
            }
        }
        // SAFETY: the register means something only to the handler of a page fault.
        unsafe { asm!("mov cr2, {}", in(reg) bases[3], options(nostack, preserves_flags)) };
        Self(bases)
    }

    /// The first one that contains something else now.
    pub(crate) fn changed(&self) -> Option<&'static str> {
        let mut now = [0; 4];
        for (number, base) in MSRS.into_iter().zip(&mut now) {
            let (low, high): (u32, u32);
            // SAFETY: the subject may read these registers.
            unsafe {
                asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nostack, preserves_flags));
            }
            *base = u64::from(high) << 32 | u64::from(low);
        }
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, cr2", out(reg) now[3], options(nostack, preserves_flags)) };
        (0..4).find(|at| self.0[*at] != now[*at]).map(|at| NAMES[at])
    }
}
