//! Machines that lack something. What their files say of them, `check` says too, and the kernel at boot, in the same words.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Place, System};

#[test]
fn what_a_cpu_of_amd_s_kind_lacks_is_said_by_check_and_by_the_kernel_in_the_same_words() {
    let machine = include_str!("../../machines/qemu-q35.toml");
    for (key, flag) in [("nested_paging", "npt"), ("xsave", "xsave"), ("no_execute", "nx"), ("svm", "svm")] {
        let emulator = format!("#!/bin/bash\nexec qemu-system-x86_64 \"$@\" -cpu max,-{flag}\n");
        assert_same_words(machine, &[key], &emulator, Place::Machine);
    }
}

#[test]
fn what_a_cpu_of_intel_s_kind_lacks_is_said_by_check_and_by_the_kernel_in_the_same_words() {
    let emulator = include_str!("bochs-penryn");
    let lacks = ["preemption_timer", "extended_page_tables", "large_extended_pages"];
    assert_same_words(include_str!("../../machines/bochs.toml"), &lacks, emulator, Place::IntelMachine);
}

#[test]
fn a_cpu_that_the_machine_does_not_have_is_missed_by_check_and_by_the_kernel_in_the_same_words() {
    let text = "[subject.hello]\nunikernel = \"hello\"\n[subject.other]\nunikernel = \"hello\"\ncpu = 1\n";
    let system = System::described(text);
    let said = said_by_check(&system.description());
    assert!(said.iter().any(|message| message == "there is no CPU 1"), "{said:?}");
    let emulator = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-with-one-cpu");
    let run = system.argument("--smp").argument("2").argument("--emulator").argument(emulator).boot();
    run.assert_exit(123);
    let said = |line: &String| line.starts_with("kernel refused: there is no CPU 1: ");
    assert!(run.kernel_lines().iter().any(said), "{run}");
}

#[test]
fn an_iommu_that_is_missing_or_lacks_something_is_refused_by_the_kernel() {
    // `machine describe` leaves out units that lack something, in these words.
    for (machine, device, instead, refusal) in [
        ("qemu-q35", "amd-iommu", "pci-testdev", "the IOMMU at 0xfed80000 is missing"),
        ("qemu-q35-vtd", "intel-iommu", "pci-testdev", "the IOMMU at 0xfed90000 is missing"),
        (
            "qemu-q35-vtd",
            "intel-iommu",
            "intel-iommu,intremap=on,aw-bits=39",
            "the IOMMU at 0xfed90000 has no addresses of 48 bits",
        ),
        (
            "qemu-q35-vtd",
            "intel-iommu",
            "intel-iommu,intremap=off,aw-bits=48",
            "the IOMMU at 0xfed90000 has no interrupt remapping",
        ),
    ] {
        let system =
            System::described(&format!("machine = \"{machine}\"\n[subject.hello]\nunikernel = \"hello\"\n"));
        let text = format!("#!/bin/bash\nexec qemu-system-x86_64 \"${{@/#{device},*/{instead}}}\"\n");
        let emulator = script(&system, &text);
        let run = system.argument("--emulator").argument(emulator).boot();
        run.assert_exit(123);
        let refusal = format!("kernel refused: {refusal}");
        assert!(run.kernel_lines().contains(&refusal), "no {refusal:?}; {run}");
    }
}

/// Asserts that the kernel refuses the machine that `emulator` plays, and that this is said, too, when a system is checked for a
/// machine whose file denies it these features.
#[track_caller]
fn assert_same_words(machine: &str, lacks: &[&str], emulator: &str, place: Place) {
    let subject = "[subject.hello]\nunikernel = \"hello\"\n";
    let mut system = System::described(subject).at(place);
    let script = script(&system, emulator);
    let said = said_by_check(&lacking(&system, machine, lacks, subject));
    system = system.argument("--emulator").argument(script);
    let run = system.boot();
    run.assert_exit(123);
    let lines = run.kernel_lines();
    let refusal = lines.iter().find_map(|line| line.strip_prefix("kernel refused: ")).expect("it is refused");
    assert!(said.iter().any(|message| message == refusal), "{refusal:?} is not among {said:#?}");
}

/// An emulator that is this script. Gives where.
fn script(system: &System, text: &str) -> PathBuf {
    let script = system.directory.path().join("emulator");
    fs::write(&script, text).expect("a script can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    script
}

/// Describes a subject on such a machine. Gives where.
fn lacking(system: &System, machine: &str, lacks: &[&str], subject: &str) -> PathBuf {
    let mut machine = machine.to_owned();
    for key in lacks {
        assert!(machine.contains(&format!("\n{key} = true\n")), "the machine has {key}");
        machine = machine.replace(&format!("\n{key} = true\n"), &format!("\n{key} = false\n"));
    }
    let directory = system.directory.path();
    fs::write(directory.join("lacking.toml"), machine).expect("a machine file can be written");
    let description = directory.join("lacking-system.toml");
    fs::write(&description, format!("machine = \"lacking.toml\"\n{subject}"))
        .expect("a description can be written");
    description
}

/// The messages of `check`.
fn said_by_check(description: &Path) -> Vec<String> {
    let checked = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["check", "--json"])
        .arg(description)
        .output()
        .expect("the command starts");
    assert_eq!(checked.status.code(), Some(125), "{checked:?}");
    let error: Value = serde_json::from_slice(&checked.stdout).expect("it is JSON");
    let problems = error["problems"].as_array().expect("there are problems");
    problems.iter().filter_map(|problem| problem["message"].as_str().map(str::to_owned)).collect()
}
