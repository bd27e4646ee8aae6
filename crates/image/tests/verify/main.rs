//! The verifier against good, damaged and arbitrary images.

mod damage;
mod hardware;
mod hostile;
mod mutations;
mod system;

use palisade_image::verify::{Expected, RULES, verify};
use palisade_policy::plan::IommuKind;

use crate::damage::{Damage, NO_EXECUTE, Tree, WRITE};
use crate::system::Sample;

#[test]
fn a_packed_image_satisfies_every_rule() {
    let verdict = verify(system::image(), &Expected { kernel: Some(system::kernel()) });
    assert!(verdict.is_good(), "{:#?}", verdict.findings);
}

#[test]
fn an_image_for_a_machine_with_an_iommu_satisfies_every_rule_and_leaves_nothing_to_be_said() {
    for kind in [IommuKind::Amd, IommuKind::Intel] {
        let image = system::image_of(Sample::Behind(kind));
        let verdict = verify(image, &Expected { kernel: Some(system::kernel()) });
        assert!(verdict.is_good() && verdict.notes.is_empty(), "{kind:?}: {:#?}", verdict.findings);
    }
}

#[test]
fn an_image_for_two_cpus_satisfies_every_rule() {
    let verdict = verify(system::image_of(Sample::TwoCpus), &Expected { kernel: Some(system::kernel()) });
    assert!(verdict.is_good(), "{:#?}", verdict.findings);
}

#[test]
fn what_one_cpu_executes_none_writes_whoevers_kernel_it_is() {
    let mut damaged = Damage::new(Sample::TwoCpus);
    damaged.entry(Tree::KernelOn(1), 0x10_2000, 1, |e| e | WRITE);
    damaged.entry(Tree::Kernel, 0x10_2000, 1, |e| e & !NO_EXECUTE);
    let findings = verify(&damaged.file, &Expected::default()).findings;
    assert_eq!(findings.iter().map(|f| f.rule.id).collect::<Vec<_>>(), ["kernel-segments"]);
}

#[test]
fn a_good_image_says_what_its_device_could_do() {
    let notes = verify(system::image(), &Expected::default()).notes;
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(
        note.contains("once nic has started device 00:03.0 (1af4:1041), it can read and write all memory")
    );
}

#[test]
fn the_facts_describe_the_image() {
    let facts = verify(system::image(), &Expected::default()).facts;
    assert_eq!(facts.system, "sample");
    assert_eq!(facts.subjects, ["time", "log", "supervisor", "nic", "hello"]);
    let ram_pages = system::RAM_SIZE / 4096 * 5;
    assert!(facts.subject_pages > ram_pages && facts.subject_pages < ram_pages + 500);
    // The channel, the time page, the status page.
    assert_eq!(facts.shared_pages, system::CHANNEL_SIZE / 4096 + 2);
    assert!(facts.table_pages > 20);
    assert_eq!(facts.kernel_sha256, Some(system::packed().kernel_sha256));
}

#[test]
fn another_kernel_passes_only_where_none_is_expected() {
    let mut kernel = system::kernel().to_vec();
    let last = kernel.len() - 1;
    kernel[last] ^= 1;
    let image = palisade_image::pack(&system::plan(), &kernel).expect("the plan can be packed").bytes;
    assert!(verify(&image, &Expected::default()).is_good());
    let findings = verify(&image, &Expected { kernel: Some(system::kernel()) }).findings;
    assert_eq!(findings.iter().map(|f| f.rule.id).collect::<Vec<_>>(), ["kernel-bytes-known"]);
}

#[test]
fn every_rule_is_broken_by_some_damage() {
    let broken = mutations::all();
    for rule in RULES {
        assert!(broken.iter().any(|m| m.rule == rule.id), "no damage breaks {}", rule.id);
    }
}
