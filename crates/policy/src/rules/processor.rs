//! The rule for the features of the machine's CPUs.

use palisade_abi::needs::{CPU_HAS_NO, Feature, NO_EXTENSION};

use super::{Check, Rule};
use crate::machine::MachineDescription;
use crate::problem::{Collector, Problem};
use crate::source::Located;
use crate::system::System;

pub(crate) static FEATURES: Rule = Rule {
    id: "cpu-features",
    specification: "The machine's CPUs have every feature that the kernel needs and that the machine's file says something about.",
    check: Check::System(check_features),
};

fn check_features(system: &System, problems: &Collector) {
    let Some(machine) = &system.machine else { return };
    let machine = &machine.value;
    if let (Some(svm), Some(vtx)) = (machine.feature(Feature::Svm), machine.feature(Feature::Vtx))
        && !svm.value
        && !vtx.value
    {
        problems.add(lack(NO_EXTENSION.to_owned(), vtx));
    }
    for feature in EVERYWHERE.iter().chain(of_extension(machine)) {
        if let Some(known) = machine.feature(*feature).filter(|known| !known.value) {
            problems.add(lack(format!("{CPU_HAS_NO}{}", feature.words()), known));
        }
    }
}

/// What the kernel needs of the extension that it would use: AMD's, if a CPU had both.
fn of_extension(machine: &MachineDescription) -> &'static [Feature] {
    let has = |feature| machine.feature(feature).is_some_and(|known| known.value);
    match (has(Feature::Svm), has(Feature::Vtx)) {
        (true, _) => &[Feature::NestedPaging],
        (false, true) => &[Feature::ExtendedTables, Feature::LargeExtendedPages, Feature::PreemptionTimer],
        (false, false) => &[],
    }
}

fn lack(message: String, known: &Located<bool>) -> Problem {
    Problem::error(&FEATURES, message)
        .at(&known.place, "so the machine's file says")
        .help("the kernel refuses this machine; look for a setting of the firmware, or take another machine")
}

const EVERYWHERE: [Feature; 2] = [Feature::NoExecute, Feature::Xsave];
