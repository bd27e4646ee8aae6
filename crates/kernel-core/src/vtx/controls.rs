//! Which controls the kernel runs subjects with, from what the processor offers (Intel SDM volume 3, appendix A).

use palisade_abi::needs::Feature;

/// VT-x as this processor has it, and as the kernel uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// First word of every control structure.
    pub revision: u32,
    /// Pin-based controls.
    pub pin: u32,
    /// Primary processor-based controls, without [`INTERRUPT_WINDOW`].
    pub primary: u32,
    /// Secondary processor-based controls.
    pub secondary: u32,
    /// VM-exit controls.
    pub exit: u32,
    /// VM-entry controls.
    pub entry: u32,
    /// What CR0 has to be.
    pub cr0: FixedBits,
    /// What CR4 has to be.
    pub cr4: FixedBits,
    /// The preemption timer counts once in 2 to the power of this many TSC ticks.
    timer_shift: u32,
}

/// Bits of a control register that cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedBits {
    ones: u64,
    possible: u64,
}

impl FixedBits {
    /// The permitted value that is nearest to `value`.
    #[must_use]
    pub const fn apply(self, value: u64) -> u64 {
        (value | self.ones) & self.possible
    }
}

impl Extension {
    /// Chooses from what the model-specific registers say, or names the first thing that the kernel needs and the
    /// processor does not have.
    ///
    /// `read` reads such a register. It is called only for registers that exist if CPUID announces the extension.
    ///
    /// # Errors
    /// See above.
    pub fn examine(read: impl Fn(u32) -> u64) -> Result<Self, &'static str> {
        let permission = read(FEATURE_CONTROL);
        if permission & FEATURE_LOCKED != 0 && permission & FEATURE_VTX == 0 {
            return Err("VT-x: the firmware has disabled it");
        }
        let basic = read(BASIC);
        if basic & BASIC_TRUE_CONTROLS == 0 {
            return Err("VT-x with controls that can all be chosen");
        }
        let pin = choose(read(TRUE_PIN), &PIN)?;
        let primary = choose(read(TRUE_PRIMARY), &PRIMARY)? & !INTERRUPT_WINDOW;
        let offered = read(SECONDARY_CONTROLS);
        let mut secondary = choose(offered, &SECONDARY)?;
        let paging = read(EPT_AND_VPID);
        for (bit, name) in PAGING {
            if paging & bit == 0 {
                return Err(name);
            }
        }
        if offered >> 32 & u64::from(VPID) != 0 && paging & INVALIDATE_VPID == INVALIDATE_VPID {
            secondary |= VPID;
        }
        secondary |= (offered >> 32) as u32 & ENCLS;
        Ok(Self {
            revision: basic as u32 & 0x7fff_ffff,
            pin,
            primary,
            secondary,
            exit: choose(read(TRUE_EXIT), &EXIT)?,
            entry: choose(read(TRUE_ENTRY), &ENTRY)?,
            cr0: FixedBits { ones: read(CR0_ONES), possible: read(CR0_POSSIBLE) },
            cr4: FixedBits { ones: read(CR4_ONES), possible: read(CR4_POSSIBLE) },
            timer_shift: read(MISCELLANEOUS) as u32 & 0x1f,
        })
    }

    /// What the preemption timer counts down from for a run of `ticks` TSC ticks. A run is never shorter than that, unless
    /// the timer cannot count so far.
    #[must_use]
    pub const fn timer_value(&self, ticks: u64) -> u32 {
        let value = ticks.div_ceil(1 << self.timer_shift);
        if value > u32::MAX as u64 { u32::MAX } else { value as u32 }
    }

    /// Whether the processor has enclaves (SGX), whose privileged instruction a subject must not execute.
    #[must_use]
    pub const fn has_enclaves(&self) -> bool {
        self.secondary & ENCLS != 0
    }

    /// Whether the processor keeps the translations of different subjects apart, so that they outlive an exit.
    #[must_use]
    pub const fn tags_translations(&self) -> bool {
        self.secondary & VPID != 0
    }
}

/// The value of the register [`FEATURE_CONTROL`] that permits the extension, if it is not permitted and locked already.
#[must_use]
pub const fn permission(present: u64) -> Option<u64> {
    if present & FEATURE_LOCKED == 0 { Some(present | FEATURE_LOCKED | FEATURE_VTX) } else { None }
}

/// The wanted controls and those the processor insists on. A capability has the latter in its low half and everything
/// that can be set in its high half.
fn choose(capability: u64, wanted: &[(u32, &'static str)]) -> Result<u32, &'static str> {
    let mut controls = capability as u32;
    for (control, name) in wanted {
        if capability >> 32 & u64::from(*control) == 0 {
            return Err(name);
        }
        controls |= control;
    }
    Ok(controls)
}

/// Primary control: exit as soon as the subject can take an interrupt. Set only while one waits.
pub const INTERRUPT_WINDOW: u32 = 1 << 2;
/// Register with the firmware's permission to use the extension.
pub const FEATURE_CONTROL: u32 = 0x3a;

const PIN: [(u32, &str); 3] = [
    (1 << 0, "external-interrupt exiting (VT-x)"),
    (1 << 3, "NMI exiting (VT-x)"),
    (1 << 6, Feature::PreemptionTimer.words()),
];

const PRIMARY: [(u32, &str); 12] = [
    (INTERRUPT_WINDOW, "interrupt-window exiting (VT-x)"),
    (1 << 7, "HLT exiting (VT-x)"),
    (1 << 10, "MWAIT exiting (VT-x)"),
    (1 << 11, "RDPMC exiting (VT-x)"),
    (1 << 15, "CR3-load exiting (VT-x)"),
    // The priority that a subject writes to CR8 would keep the kernel's own interrupts away.
    (1 << 19, "CR8-load exiting (VT-x)"),
    (1 << 23, "MOV-DR exiting (VT-x)"),
    (1 << 25, "I/O bitmaps (VT-x)"),
    (1 << 28, "MSR bitmaps (VT-x)"),
    (1 << 29, "MONITOR exiting (VT-x)"),
    (1 << 30, "PAUSE exiting (VT-x)"),
    (1 << 31, "secondary controls (VT-x)"),
];

const SECONDARY: [(u32, &str); 2] =
    [(1 << 1, Feature::ExtendedTables.words()), (1 << 6, "WBINVD exiting (VT-x)")];
const VPID: u32 = 1 << 5;
/// Secondary control: exit on `encls`, as a bitmap says.
const ENCLS: u32 = 1 << 15;

const EXIT: [(u32, &str); 4] = [
    (1 << 9, "64-bit host (VT-x)"),
    (1 << 15, "acknowledging interrupts on exit (VT-x)"),
    (1 << 19, "loading PAT on exit (VT-x)"),
    (1 << 21, "loading EFER on exit (VT-x)"),
];

const ENTRY: [(u32, &str); 4] = [
    (1 << 2, "loading debug controls on entry (VT-x)"),
    (1 << 9, "64-bit guests (VT-x)"),
    (1 << 14, "loading PAT on entry (VT-x)"),
    (1 << 15, "loading EFER on entry (VT-x)"),
];

const PAGING: [(u64, &str); 5] = [
    (1 << 6, "four levels of extended page tables (VT-x EPT)"),
    (1 << 14, "cached extended page tables (VT-x EPT)"),
    (1 << 16, Feature::LargeExtendedPages.words()),
    (1 << 20, "INVEPT (VT-x EPT)"),
    (1 << 26, "INVEPT of all contexts (VT-x EPT)"),
];
/// INVVPID exists, for a single context and for all.
const INVALIDATE_VPID: u64 = 1 << 32 | 1 << 41 | 1 << 42;

const FEATURE_LOCKED: u64 = 1 << 0;
/// Permits VT-x outside SMX operation.
const FEATURE_VTX: u64 = 1 << 2;
const BASIC: u32 = 0x480;
const BASIC_TRUE_CONTROLS: u64 = 1 << 55;
const MISCELLANEOUS: u32 = 0x485;
const CR0_ONES: u32 = 0x486;
const CR0_POSSIBLE: u32 = 0x487;
const CR4_ONES: u32 = 0x488;
const CR4_POSSIBLE: u32 = 0x489;
const SECONDARY_CONTROLS: u32 = 0x48b;
const EPT_AND_VPID: u32 = 0x48c;
const TRUE_PIN: u32 = 0x48d;
const TRUE_PRIMARY: u32 = 0x48e;
const TRUE_EXIT: u32 = 0x48f;
const TRUE_ENTRY: u32 = 0x490;

#[cfg(test)]
mod tests {
    use super::*;

    /// A processor that has everything and insists on nothing but bits 1, 2 and 4 of every control, with one register
    /// changed.
    fn processor(changed: u32, change: impl Fn(u64) -> u64) -> impl Fn(u32) -> u64 {
        move |register| {
            let value = match register {
                FEATURE_CONTROL => FEATURE_LOCKED | FEATURE_VTX,
                BASIC => BASIC_TRUE_CONTROLS | 0x8000_0012,
                TRUE_PIN | TRUE_PRIMARY | TRUE_EXIT | TRUE_ENTRY => 0xffff_ffff_0000_0016,
                SECONDARY_CONTROLS => 0xffff_ffff_0000_0000,
                EPT_AND_VPID => u64::MAX,
                MISCELLANEOUS => 0x2000_0005,
                CR0_ONES => 0x8000_0021,
                CR4_ONES => 0x2000,
                CR0_POSSIBLE => 0xffff_ffff,
                CR4_POSSIBLE => 0x37_27ff,
                _ => unreachable!("register {register:#x} is none of the extension's"),
            };
            if register == changed { change(value) } else { value }
        }
    }

    #[test]
    fn a_complete_processor_gets_what_the_kernel_wants_and_what_the_processor_insists_on() {
        let extension = Extension::examine(processor(0, |v| v)).unwrap();
        assert_eq!(extension.revision, 0x12);
        assert_eq!(extension.pin, 0x5f);
        assert_eq!(extension.primary, 0xf288_8c92, "no interrupt window");
        assert_eq!(extension.secondary, 0x8062);
        assert!(extension.tags_translations());
        assert_eq!(extension.exit, 0x0028_8216);
        assert_eq!(extension.entry, 0x0000_c216);
    }

    #[test]
    fn each_missing_control_is_named() {
        let tables: [(u32, &[(u32, &str)]); 5] = [
            (TRUE_PIN, &PIN),
            (TRUE_PRIMARY, &PRIMARY),
            (SECONDARY_CONTROLS, &SECONDARY),
            (TRUE_EXIT, &EXIT),
            (TRUE_ENTRY, &ENTRY),
        ];
        for (register, wanted) in tables {
            for (control, name) in wanted {
                let lacking = processor(register, |v| v & !(u64::from(*control) << 32));
                assert_eq!(Extension::examine(lacking), Err(*name));
            }
        }
        for (bit, name) in PAGING {
            assert_eq!(Extension::examine(processor(EPT_AND_VPID, |v| v & !bit)), Err(name));
        }
    }

    #[test]
    fn registers_that_a_processor_may_lack_are_read_only_if_it_has_them() {
        let nothing = |_| unreachable!("does not exist");
        assert!(Extension::examine(processor(BASIC, |v| v & !BASIC_TRUE_CONTROLS)).is_err());
        let old = |register| {
            if register >= TRUE_PIN { nothing(register) } else { processor(BASIC, |_| 0)(register) }
        };
        assert!(Extension::examine(old).is_err());
        let plain = |register| match register {
            SECONDARY_CONTROLS | EPT_AND_VPID => nothing(register),
            _ => processor(TRUE_PRIMARY, |v| v & !(1 << 63))(register),
        };
        assert_eq!(Extension::examine(plain), Err("secondary controls (VT-x)"));
        let flat = |register| match register {
            EPT_AND_VPID => nothing(register),
            _ => processor(SECONDARY_CONTROLS, |_| 0)(register),
        };
        assert_eq!(Extension::examine(flat), Err("extended page tables (VT-x EPT)"));
    }

    #[test]
    fn translations_are_tagged_only_if_they_can_be_invalidated_too() {
        for bit in [32, 41, 42] {
            let lacking = processor(EPT_AND_VPID, |v| v & !(1 << bit));
            assert!(!Extension::examine(lacking).unwrap().tags_translations());
        }
        let lacking = processor(SECONDARY_CONTROLS, |v| v & !(u64::from(VPID) << 32));
        assert!(!Extension::examine(lacking).unwrap().tags_translations());
    }

    #[test]
    fn enclaves_are_kept_from_subjects_where_the_processor_has_them() {
        assert!(Extension::examine(processor(0, |v| v)).unwrap().has_enclaves());
        let lacking = processor(SECONDARY_CONTROLS, |v| v & !(u64::from(ENCLS) << 32));
        assert!(!Extension::examine(lacking).unwrap().has_enclaves());
    }

    #[test]
    fn the_firmware_can_forbid_the_extension_and_the_kernel_permits_it_where_it_may() {
        let error = Extension::examine(processor(FEATURE_CONTROL, |_| FEATURE_LOCKED)).unwrap_err();
        assert_eq!(error, "VT-x: the firmware has disabled it");
        assert!(Extension::examine(processor(FEATURE_CONTROL, |_| 0)).is_ok());
        assert_eq!(permission(0x20), Some(0x25));
        assert_eq!(permission(5), None);
    }

    #[test]
    fn a_run_is_not_shorter_than_its_time_and_at_most_one_count_longer() {
        let extension = Extension::examine(processor(0, |v| v)).unwrap();
        for (ticks, value) in [(0, 0), (1, 1), (32, 1), (33, 2), (u64::MAX, u32::MAX)] {
            assert_eq!(extension.timer_value(ticks), value, "{ticks}");
        }
        let fast = Extension::examine(processor(MISCELLANEOUS, |_| 0)).unwrap();
        assert_eq!(fast.timer_value(1_000_001), 1_000_001);
    }

    #[test]
    fn control_registers_keep_to_the_fixed_bits() {
        let extension = Extension::examine(processor(0, |v| v)).unwrap();
        assert_eq!(extension.cr0.apply(0x8001_0033), 0x8001_0033);
        assert_eq!(extension.cr0.apply(0x1_0000_0000), 0x8000_0021);
        assert_eq!(extension.cr4.apply(0x8004_0620), 0x4_2620);
    }
}
