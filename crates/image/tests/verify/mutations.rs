//! Every way in which the tests damage an image, and the rules that find it.

mod devices;
mod file;
mod iommu;
mod kernel;
mod machine;
mod subjects;
mod tables;
mod two_cpus;

use std::collections::BTreeSet;

use palisade_image::verify::{Expected, verify};
use palisade_policy::plan::IommuKind;

use crate::damage::Damage;
use crate::system::{self, Sample};

/// A way to damage an image.
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    /// The rule that is there to find it.
    pub(crate) rule: &'static str,
    /// The other rules that it breaks too.
    pub(crate) also: &'static [&'static str],
    /// The system whose image is damaged.
    pub(crate) sample: Sample,
    pub(crate) damage: fn(&mut Damage),
}

/// A mutation as one line of a table.
const fn breaks(
    rule: &'static str,
    also: &'static [&'static str],
    name: &'static str,
    damage: fn(&mut Damage),
) -> Mutation {
    Mutation { name, rule, also, sample: Sample::Plain, damage }
}

/// The same for an image whose machine has an IOMMU.
const fn breaks_behind(
    iommu: IommuKind,
    rule: &'static str,
    also: &'static [&'static str],
    name: &'static str,
    damage: fn(&mut Damage),
) -> Mutation {
    Mutation { sample: Sample::Behind(iommu), ..breaks(rule, also, name, damage) }
}

/// The same for an image for two CPUs.
const fn breaks_on_two_cpus(
    rule: &'static str,
    also: &'static [&'static str],
    name: &'static str,
    damage: fn(&mut Damage),
) -> Mutation {
    Mutation { sample: Sample::TwoCpus, ..breaks(rule, also, name, damage) }
}

/// All of them.
pub(crate) fn all() -> Vec<&'static Mutation> {
    [
        devices::MUTATIONS,
        file::MUTATIONS,
        iommu::MUTATIONS,
        tables::MUTATIONS,
        kernel::MUTATIONS,
        machine::MUTATIONS,
        subjects::MUTATIONS,
        two_cpus::MUTATIONS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn all_damage_is_found_by_exactly_the_rules_it_breaks() {
    let mut wrong = Vec::new();
    for mutation in all() {
        let mut damaged = Damage::new(mutation.sample);
        (mutation.damage)(&mut damaged);
        let good = system::image_of(mutation.sample);
        assert!(damaged.file != good, "{}: nothing is damaged", mutation.name);
        let findings = verify(&damaged.file, &Expected { kernel: Some(system::kernel()) }).findings;
        let found: BTreeSet<&str> = findings.iter().map(|f| f.rule.id).collect();
        let expected: BTreeSet<&str> = mutation.also.iter().copied().chain([mutation.rule]).collect();
        if found != expected {
            wrong.push(format!("{}: expected {expected:?}, found {findings:#?}", mutation.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<&str> = all().iter().map(|m| m.name).collect();
    assert_eq!(names.len(), all().len());
}
