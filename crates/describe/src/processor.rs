//! Which of the features that the kernel needs the CPUs have, as far as Linux tells.

use std::collections::BTreeSet;

use palisade_abi::needs::Feature;

use crate::tree::Tree;

/// The features of which something is known, and whether every CPU has them.
pub(crate) fn features(tree: &Tree<'_>) -> Vec<(Feature, bool)> {
    let text = tree.text("proc/cpuinfo", "the CPUs").unwrap_or_default();
    let Some(flags) = common_words(&text, "flags") else { return Vec::new() };
    let vtx_flags = common_words(&text, "vmx flags");
    let has_vtx = flags.contains("vmx");
    let is_known = |feature| match feature {
        Feature::NoExecute => Some(flags.contains("nx")),
        Feature::Xsave => Some(flags.contains("xsave")),
        Feature::Svm => Some(flags.contains("svm")),
        Feature::Vtx => Some(has_vtx),
        Feature::NestedPaging => flags.contains("svm").then(|| flags.contains("npt")),
        Feature::ExtendedTables => has_vtx.then(|| flags.contains("ept")),
        // Linux 5.6 and later have these flags.
        Feature::PreemptionTimer => Some(vtx_flags.as_ref()?.contains("preemption_timer")),
        Feature::LargeExtendedPages => {
            let offered = has_vtx.then(|| tree.word(CAPABILITIES, EPT_AND_VPID))?;
            offered.map(|offered| offered & LARGE_PAGES != 0)
        }
    };
    Feature::ALL.into_iter().filter_map(|feature| Some((feature, is_known(feature)?))).collect()
}

/// The words that all lines with this name have in common, or `None` if there is no such line.
fn common_words<'a>(text: &'a str, name: &str) -> Option<BTreeSet<&'a str>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let lists = lines.filter(|(found, _)| found.trim() == name).map(|(_, words)| words.split_whitespace());
    lists.map(BTreeSet::from_iter).reduce(|common, next| &common & &next)
}

/// The first CPU's model-specific registers by number: with the driver `msr`, for root.
const CAPABILITIES: &str = "dev/cpu/0/msr";
/// What extended page tables can do (Intel SDM volume 3, appendix A.10).
const EPT_AND_VPID: u64 = 0x48c;
const LARGE_PAGES: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_one_cpu_lacks_is_not_the_machine_s() {
        let text = "processor : 0\nflags\t\t: svm nx xsave\n\nprocessor : 1\nflags\t\t: nx svm\n";
        assert_eq!(common_words(text, "flags"), Some(BTreeSet::from(["nx", "svm"])));
        assert_eq!(common_words(text, "vmx flags"), None);
    }
}
