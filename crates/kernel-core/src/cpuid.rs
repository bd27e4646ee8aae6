//! What a subject learns from CPUID: the hardware's answer AND the plan's, and nothing for a leaf the plan does not name.

use palisade_abi::plan::CpuidLeaf;

/// The answer for EAX = `leaf`, ECX = `subleaf`: EAX, EBX, ECX, EDX.
///
/// `hardware` executes CPUID and is called only for leaves that the plan names.
pub fn answer(
    leaves: &[CpuidLeaf],
    leaf: u32,
    subleaf: u32,
    hardware: impl Fn(u32, u32) -> [u32; 4],
) -> [u32; 4] {
    let wanted =
        |l: &&CpuidLeaf| l.leaf == leaf && (l.subleaf == subleaf || l.subleaf == CpuidLeaf::ANY_SUBLEAF);
    let Some(allowed) = leaves.iter().find(wanted) else {
        return [0; 4];
    };
    let mut registers = hardware(leaf, subleaf);
    for (register, (mask, fixed)) in registers.iter_mut().zip(allowed.mask.iter().zip(&allowed.fixed)) {
        *register = *register & mask | fixed;
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAVES: [CpuidLeaf; 2] = [
        CpuidLeaf { leaf: 0, subleaf: CpuidLeaf::ANY_SUBLEAF, mask: [0, !0, !0, !0], fixed: [13, 0, 0, 0] },
        CpuidLeaf { leaf: 7, subleaf: 0, mask: [0, 0x20, 0, 0], fixed: [0; 4] },
    ];

    #[test]
    fn a_named_leaf_shows_only_what_its_mask_lets_through() {
        assert_eq!(answer(&LEAVES, 7, 0, |_, _| [!0; 4]), [0, 0x20, 0, 0]);
        assert_eq!(answer(&LEAVES, 0, 9, |_, _| [99, 1, 2, 3]), [13, 1, 2, 3]);
    }

    #[test]
    fn a_leaf_without_a_record_reads_as_zero_and_does_not_reach_the_hardware() {
        assert_eq!(answer(&LEAVES, 7, 1, |_, _| unreachable!("not asked")), [0; 4]);
        assert_eq!(answer(&LEAVES, 0x4000_0000, 0, |_, _| unreachable!("not asked")), [0; 4]);
    }
}
