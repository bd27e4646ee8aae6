//! Rules on plans: the allocator keeps them, so the breaking plans are good ones that were damaged.

use crate::plan::{Backing, Plan, Rights};
use crate::problem::Collector;
use crate::rules::check_plan;
use crate::testing::{assert_passes, hello_with, plan};

fn good() -> Plan {
    assert_passes(plan(&hello_with(""))).plan
}

/// The broken rules of a plan.
fn broken(plan: &Plan) -> Vec<(&'static str, String)> {
    let problems = Collector::default();
    check_plan(plan, &problems);
    problems
        .into_problems()
        .into_iter()
        .map(|p| (p.rule().id, format!("{p}: {}", p.advice().unwrap())))
        .collect()
}

#[test]
fn an_allocated_plan_keeps_every_rule() {
    assert_eq!(broken(&good()), []);
}

#[test]
fn regions_of_a_subject_that_overlap_are_found() {
    let mut plan = good();
    let status = plan.subjects[3].regions.iter_mut().find(|region| region.name == "status").unwrap();
    status.size += 0x1000;
    let found = broken(&plan);
    assert!(found.iter().any(|(id, text)| *id == "regions-disjoint" && text.contains("status")), "{found:?}");
}

#[test]
fn volatile_ranges_that_overlap_are_found() {
    let mut plan = good();
    plan.volatile[0].size += 0x100_0000;
    let found = broken(&plan);
    assert!(
        found.iter().any(|(id, text)| *id == "volatile-disjoint" && text.contains("overlap")),
        "{found:?}"
    );
}

#[test]
fn volatile_memory_that_the_machine_does_not_have_is_found() {
    let mut plan = good();
    plan.volatile[0].start = 0;
    let found = broken(&plan);
    assert!(found.iter().any(|(id, text)| *id == "volatile-disjoint" && text.contains("0x0")), "{found:?}");
}

#[test]
fn memory_with_two_writers_is_found() {
    let mut plan = good();
    let time_info = plan.subjects[3].regions.iter_mut().find(|region| region.name == "time_info").unwrap();
    time_info.rights = Rights::ReadWrite;
    let found = broken(&plan);
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == "one-writer" && found[0].1.contains("`time` writes it as well"), "{found:?}");
}

#[test]
fn a_region_of_kernel_memory_is_found() {
    let mut plan = good();
    let stack = plan.cpus[0].stack;
    let status = plan.subjects[3].regions.iter_mut().find(|region| region.name == "status").unwrap();
    status.backing = Backing::Volatile(stack);
    assert!(broken(&plan).iter().any(|(id, _)| *id == "one-writer"));
}
