//! What subjects see of CPUID.
//!
//! A leaf or bit that is not named here reads as zero. Named are the features that code in ring 0 can use with nothing but
//! instructions: a subject has no control registers to switch a feature on with, and hardly an MSR. So there is no paging
//! feature, no `syscall`, no FSGSBASE or SMAP (the bits of CR4 are not the subject's), no local APIC, no MONITOR, no
//! virtualisation, and no AVX-512 (its state is not among what the kernel switches). Nothing tells CPUs apart.

use std::collections::BTreeMap;

use palisade_abi::plan::CpuidLeaf;
use palisade_policy::plan::Plan;

/// The leaves of all subjects. Subjects that see the same have the same records.
pub(crate) struct Leaves {
    /// All records.
    pub(crate) leaves: Vec<CpuidLeaf>,
    /// For each subject its first record and their number.
    subjects: Vec<(u16, u16)>,
}

impl Leaves {
    /// The leaves of the subjects of `plan`.
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut all = Vec::new();
        let mut known = BTreeMap::new();
        let subjects = plan.subjects.iter().map(|subject| {
            *known.entry(subject.xcr0).or_insert_with(|| {
                let first = all.len() as u16;
                all.extend(leaves(subject.xcr0));
                (first, all.len() as u16 - first)
            })
        });
        Self { subjects: subjects.collect(), leaves: all }
    }

    /// First record of a subject, and their number.
    pub(crate) fn of_subject(&self, id: usize) -> (u16, u16) {
        self.subjects.get(id).copied().unwrap_or_default()
    }
}

/// The leaves a subject may see that can use the extended state `xcr0`.
fn leaves(xcr0: u64) -> Vec<CpuidLeaf> {
    let avx = xcr0 & XCR0_AVX != 0;
    let with_avx = |bits: u32| if avx { bits } else { 0 };
    let state_size = if avx { AVX_OFFSET + AVX_SIZE } else { AVX_OFFSET };
    let mut leaves = vec![
        with_fixed(0, ANY, [0, ALL, ALL, ALL], [MAX_BASIC, 0, 0, 0]),
        masked(1, ANY, [ALL, CLFLUSH_LINE, LEAF_1_ECX | with_avx(LEAF_1_ECX_AVX), LEAF_1_EDX]),
        masked(
            7,
            0,
            [0, LEAF_7_EBX | with_avx(LEAF_7_EBX_AVX), LEAF_7_ECX | with_avx(LEAF_7_ECX_AVX), LEAF_7_EDX],
        ),
        with_fixed(0xd, 0, [xcr0 as u32, 0, 0, 0], [0, state_size, state_size, 0]),
        with_fixed(0xd, 1, [XSAVEOPT | XSAVEC, 0, 0, 0], [0, state_size, 0, 0]),
        with_fixed(EXTENDED, ANY, [0, ALL, ALL, ALL], [MAX_EXTENDED, 0, 0, 0]),
        masked(EXTENDED + 1, ANY, [ALL, 0, EXTENDED_1_ECX, EXTENDED_1_EDX]),
        masked(EXTENDED + 7, ANY, [0, 0, 0, INVARIANT_TSC]),
        masked(EXTENDED + 8, ANY, [ADDRESS_SIZES, 0, 0, 0]),
    ];
    leaves.extend(BRAND_STRING.map(|leaf| masked(leaf, ANY, [ALL; 4])));
    if avx {
        leaves.push(masked(0xd, 2, [ALL, ALL, 0, 0]));
    }
    leaves.sort_unstable_by_key(|l| (l.leaf, l.subleaf));
    leaves
}

/// A leaf of which the subject sees the hardware's bits in `mask`.
fn masked(leaf: u32, subleaf: u32, mask: [u32; 4]) -> CpuidLeaf {
    with_fixed(leaf, subleaf, mask, [0; 4])
}

/// The same with bits that are set whatever the hardware says.
fn with_fixed(leaf: u32, subleaf: u32, mask: [u32; 4], fixed: [u32; 4]) -> CpuidLeaf {
    CpuidLeaf { leaf, subleaf, mask, fixed }
}

const ANY: u32 = CpuidLeaf::ANY_SUBLEAF;
const ALL: u32 = u32::MAX;
const MAX_BASIC: u32 = 0xd;
const EXTENDED: u32 = 0x8000_0000;
const MAX_EXTENDED: u32 = EXTENDED + 8;
const BRAND_STRING: [u32; 3] = [EXTENDED + 2, EXTENDED + 3, EXTENDED + 4];

/// XCR0: the upper halves of the YMM registers.
const XCR0_AVX: u64 = 1 << 2;
/// Where they lie in an XSAVE area: behind x87 and SSE state and the header. The area without them ends there.
const AVX_OFFSET: u32 = 576;
const AVX_SIZE: u32 = 256;

const fn bits<const N: usize>(numbers: [u32; N]) -> u32 {
    let mut set = 0;
    let mut at = 0;
    while at < N {
        set |= 1 << numbers[at];
        at += 1;
    }
    set
}

/// Leaf 1, EBX: the line size of `clflush` only. APIC identifier and number of CPUs are hidden.
const CLFLUSH_LINE: u32 = 0xff00;
/// SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, XSAVE, OSXSAVE, RDRAND.
const LEAF_1_ECX: u32 = bits([0, 1, 9, 13, 19, 20, 22, 23, 25, 26, 27, 30]);
/// FMA, AVX, F16C.
const LEAF_1_ECX_AVX: u32 = bits([12, 28, 29]);
/// FPU, TSC, CMPXCHG8B, CMOV, CLFLUSH, MMX, FXSAVE, SSE, SSE2.
const LEAF_1_EDX: u32 = bits([0, 4, 8, 15, 19, 23, 24, 25, 26]);
/// BMI1, BMI2, ERMS, RDSEED, ADX, CLFLUSHOPT, CLWB, SHA.
const LEAF_7_EBX: u32 = bits([3, 8, 9, 18, 19, 23, 24, 29]);
/// AVX2.
const LEAF_7_EBX_AVX: u32 = bits([5]);
/// GFNI.
const LEAF_7_ECX: u32 = bits([8]);
/// VAES, VPCLMULQDQ.
const LEAF_7_ECX_AVX: u32 = bits([9, 10]);
/// Fast short REP MOVSB.
const LEAF_7_EDX: u32 = bits([4]);
/// Leaf 0xd, subleaf 1. XSAVES needs an MSR and supervisor state.
const XSAVEOPT: u32 = 1 << 0;
const XSAVEC: u32 = 1 << 1;
/// LAHF, LZCNT, SSE4A, PREFETCHW.
const EXTENDED_1_ECX: u32 = bits([0, 5, 6, 8]);
/// What AMD repeats of leaf 1 (FPU, TSC, CMPXCHG8B, CMOV, MMX, FXSAVE); no-execute pages and long mode, which the subject is in.
const EXTENDED_1_EDX: u32 = bits([0, 4, 8, 15, 20, 23, 24, 29]);
const INVARIANT_TSC: u32 = 1 << 8;
/// Physical and linear address bits.
const ADDRESS_SIZES: u32 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(leaves: &[CpuidLeaf], leaf: u32, subleaf: u32) -> CpuidLeaf {
        *leaves.iter().find(|l| l.leaf == leaf && (l.subleaf == subleaf || l.subleaf == ANY)).unwrap()
    }

    /// What a subject would read on a processor that has everything.
    fn seen(leaves: &[CpuidLeaf], number: u32, subleaf: u32) -> [u32; 4] {
        let l = leaf(leaves, number, subleaf);
        std::array::from_fn(|i| l.mask[i] | l.fixed[i])
    }

    #[test]
    fn nothing_a_subject_cannot_use_is_announced() {
        let leaves = leaves(7);
        let [_, ebx, ecx, edx] = seen(&leaves, 1, 0);
        let hidden_ecx = [3, 5, 6, 17, 18, 21, 24, 31]; // MONITOR VMX SMX PCID DCA x2APIC TSC-deadline hypervisor
        let hidden_edx = [3, 5, 6, 7, 9, 11, 12, 13, 14, 16, 17, 28]; // PSE MSR PAE MCE APIC SEP MTRR PGE MCA PAT PSE36 HTT
        assert!(hidden_ecx.iter().all(|bit| ecx >> bit & 1 == 0));
        assert!(hidden_edx.iter().all(|bit| edx >> bit & 1 == 0));
        assert_eq!(ebx >> 16, 0, "APIC identifier and CPU count");
        let [_, ebx, ecx, _] = seen(&leaves, 7, 0);
        let hidden_ebx = [0, 7, 10, 16, 17, 20, 21, 26, 27, 28, 30, 31]; // FSGSBASE SMEP INVPCID AVX-512 SMAP
        assert!(hidden_ebx.iter().all(|bit| ebx >> bit & 1 == 0));
        assert!([2, 3, 16, 22].iter().all(|bit| ecx >> bit & 1 == 0), "UMIP PKU LA57 RDPID");
        let [_, _, ecx, edx] = seen(&leaves, 0x8000_0001, 0);
        assert!(ecx >> 2 & 1 == 0, "SVM");
        assert!(edx >> 11 & 1 == 0 && edx >> 27 & 1 == 0, "SYSCALL, RDTSCP");
    }

    #[test]
    fn avx_and_what_depends_on_it_need_its_state() {
        let (with, without) = (leaves(7), leaves(3));
        assert!(seen(&with, 1, 0)[2] >> 28 & 1 == 1 && seen(&without, 1, 0)[2] & bits([12, 28, 29]) == 0);
        assert!(seen(&with, 7, 0)[1] >> 5 & 1 == 1 && seen(&without, 7, 0)[1] >> 5 & 1 == 0);
        assert_eq!(seen(&without, 7, 0)[2] & bits([9, 10]), 0);
        assert_eq!((seen(&with, 0xd, 0)[0], seen(&without, 0xd, 0)[0]), (7, 3));
        assert_eq!((seen(&with, 0xd, 0)[1], seen(&without, 0xd, 0)[1]), (832, 576));
        assert!(!without.iter().any(|l| (l.leaf, l.subleaf) == (0xd, 2)));
    }

    #[test]
    fn the_highest_leaf_announced_is_a_leaf_that_exists() {
        let leaves = leaves(3);
        assert_eq!(leaf(&leaves, 0, 0).fixed[0], 0xd);
        assert_eq!(leaf(&leaves, 0x8000_0000, 0).fixed[0], 0x8000_0008);
        leaf(&leaves, 0xd, 0);
        leaf(&leaves, 0x8000_0008, 0);
    }

    #[test]
    fn every_leaf_is_there_once() {
        let leaves = leaves(7);
        assert!(leaves.windows(2).all(|w| (w[0].leaf, w[0].subleaf) < (w[1].leaf, w[1].subleaf)));
    }
}
