//! Every rule with a system that keeps it and one that breaks it. The breaking ones look at the rule, the line and the
//! help.

mod connections;
mod data;
mod devices;
mod iommu;
mod machine;
mod memory;
mod names;
mod network;
mod plans;
mod processor;
mod programs;
mod reading;
mod schedule;

use super::rules;

/// Two unikernels; what a test adds begins on line 5.
const PAIR: &str = "[subject.a]\nunikernel = \"hello\"\n[subject.b]\nunikernel = \"hello\"\n";

fn pair_and(text: &str) -> String {
    format!("{PAIR}{text}\n")
}

#[test]
fn every_rule_has_an_identifier_of_its_own_and_one_sentence() {
    let mut ids: Vec<&str> = rules().iter().map(|rule| rule.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules().len());
    for rule in rules() {
        assert!(rule.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{rule:?}");
        assert!(rule.specification.ends_with('.') && !rule.specification.contains('\n'), "{rule:?}");
    }
}
