//! Rules on plans: the allocator keeps them, so the breaking plans are good ones that were damaged.

use crate::plan::{Backing, Plan, Region, Rights};
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

/// A system with a driver, with `change` done to a region of it.
fn networked(region: &str, change: impl FnOnce(&mut Region)) -> Plan {
    let mut plan = assert_passes(plan("[subject.web]\nunikernel = \"website\"\n")).plan;
    assert_eq!(broken(&plan), []);
    change(plan.subjects[3].regions.iter_mut().find(|known| known.name == region).unwrap());
    plan
}

fn assert_finds(plan: &Plan, text: &str) {
    let found = broken(plan);
    assert!(found.iter().any(|(id, problem)| *id == "device-owners" && problem.contains(text)), "{found:?}");
}

#[test]
fn a_driver_that_could_write_its_interrupts_is_found() {
    let table = networked("device_bar4", |region| {
        (region.backing, region.size) = (Backing::Device(0xfe01_0000), 0x1000);
    });
    assert_finds(&table, "the device is at 0xfe010000");
}

#[test]
fn a_driver_that_could_move_its_device_is_found() {
    assert_finds(&networked("device_config", |region| region.rights = Rights::ReadWrite), "device_config");
}

#[test]
fn a_device_with_two_drivers_is_found() {
    let mut plan = networked("device_bar4", |_| ());
    let registers =
        plan.subjects[3].regions.iter().find(|region| region.name == "device_bar4").unwrap().clone();
    plan.subjects[0].regions.push(registers);
    assert_finds(&plan, "`device_bar4` of `time`");
}

#[test]
fn a_device_that_is_told_of_other_memory_than_its_driver_s_is_found() {
    let other = networked("dma", |region| region.backing = Backing::Volatile(0x10_0000));
    assert_finds(&other, "`net0` shares memory that `nic` does not have");
}
