use palisade_abi::needs::{CPU_HAS_NO, Feature, NO_EXTENSION};

use super::machine::{MachineFile, OWN};
use crate::testing::{assert_breaks, assert_passes};
use crate::{Planned, Problems};

/// A system on a machine whose file says this about its CPUs, from line 6 on.
fn on(test: &str, features: &str) -> Result<Planned, Problems> {
    MachineFile::new(test, &format!("{OWN}[processor]\n{features}")).plan()
}

/// What is said of such a machine.
fn said(test: &str, features: &str) -> Vec<String> {
    let problems = on(test, features).expect_err("something is missing");
    problems.iter().map(|problem| problem.message().to_owned()).collect()
}

#[test]
fn every_feature_that_the_kernel_needs_and_the_file_denies_is_named() {
    for feature in Feature::ALL {
        let extension = match feature {
            Feature::NestedPaging => "svm = true\n",
            Feature::ExtendedTables | Feature::LargeExtendedPages | Feature::PreemptionTimer => {
                "svm = false\nvtx = true\n"
            }
            Feature::Svm => "vtx = false\n",
            Feature::Vtx => "svm = false\n",
            Feature::NoExecute | Feature::Xsave => "",
        };
        let sentence = match feature {
            Feature::Svm | Feature::Vtx => NO_EXTENSION.to_owned(),
            _ => format!("{CPU_HAS_NO}{}", feature.words()),
        };
        assert_eq!(said(feature.key(), &format!("{extension}{} = false\n", feature.key())), [sentence]);
    }
    assert_breaks(on("place", "svm = true\nnested_paging = false\n"), "cpu-features", 8, "firmware");
}

#[test]
fn features_of_the_other_vendor_and_features_that_nobody_knows_are_not_asked_for() {
    for features in
        ["", "svm = true\nextended_page_tables = false\n", "vtx = true\nsvm = false\nnested_paging = false\n"]
    {
        assert_passes(on("enough", features));
    }
}

#[test]
fn a_feature_that_the_kernel_does_not_know_is_refused() {
    assert_breaks(on("unknown", "sgx = true\n"), "unknown-key", 7, "svm");
}
