//! Machine files that the command writes.

use std::fs;

use crate::run::{Done, done, palisade};

#[allow(dead_code, unreachable_pub)]
#[path = "../../../describe/tests/common/mod.rs"]
mod recorded;

use recorded::Recorded;

#[test]
fn check_accepts_the_description_of_a_machine() {
    let tree = Recorded::q35();
    let described = done(palisade(&["machine", "describe", "--root"]).arg(tree.path()));
    described.assert_exit(0);
    assert_eq!(described.stderr, "");
    // Without an IOMMU; with each kind, from a real table.
    for table in [None, Some(("IVRS", recorded::QEMU_IVRS)), Some(("DMAR", recorded::QEMU_DMAR))] {
        if let Some((name, body)) = table {
            tree.table(name, body);
        }
        let described = done(palisade(&["machine", "describe", "--root"]).arg(tree.path()));
        described.assert_exit(0);
        assert_eq!(described.stderr, "");
        let checked = check(&described.stdout, "unikernel = \"website\"\nsite = \".\"");
        let is_confined = !checked.assert_exit(0).stderr.contains("dma-unconfined");
        assert_eq!(is_confined, table.is_some(), "{}", checked.stderr);
    }
    for system in ["unikernel = \"hello\"", "unikernel = \"website\"\nsite = \".\""] {
        check(&described.stdout, system).assert_exit(0);
    }
}

#[test]
fn what_is_left_out_of_a_description_is_said() {
    let tree = Recorded::q35();
    tree.device("0000:00:03.0", (0x1af4, 0x1041), &[(1, 0xfebf_e000, 0x1000, 0x200)], None);
    let described = done(palisade(&["machine", "describe", "--root"]).arg(tree.path()));
    described.assert_exit(0).assert_says(&["the network card at 0000:00:03.0 is left out", "MSI-X"]);
    check(&described.stdout, "unikernel = \"hello\"").assert_exit(0);
    let described = done(palisade(&["machine", "describe", "--json", "--root"]).arg(tree.path()));
    let object = &described.assert_exit(0).objects()[0];
    assert_eq!(object["event"], "machine");
    assert_eq!(object["remarks"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_a_machine_file_needs_and_nobody_tells_is_said_at_once() {
    let tree = Recorded::q35();
    tree.remove("sys/firmware");
    tree.remove("proc/iomem");
    let described = done(palisade(&["machine", "describe", "--root"]).arg(tree.path()));
    described.assert_exit(126).assert_says(&[
        "the CPUs",
        "how to power off",
        "the memory",
        "not in a container",
    ]);
    assert_eq!(described.stdout, "");
}

/// Wherever the tests run: there is a machine file that `check` accepts, or the files that do not tell enough are named.
#[test]
fn this_computer_is_described_or_it_is_said_what_is_missing() {
    let described = done(&mut palisade(&["machine", "describe"]));
    if described.exit == Some(0) {
        let checked = check(&described.stdout, "unikernel = \"hello\"");
        assert!(checked.exit == Some(0) || checked.stderr.contains("cpu-features"), "{}", checked.stderr);
    } else {
        described.assert_exit(126).assert_says(&["this computer does not show everything", "/"]);
        let named = ["/sys/firmware/", "/proc/iomem"].iter().any(|file| described.stderr.contains(file));
        assert!(named, "{}", described.stderr);
    }
}

/// Checks a system of one subject for a machine.
fn check(machine: &str, subject: &str) -> Done {
    let directory = tempfile::tempdir().expect("there is room for a description");
    fs::write(directory.path().join("mine.toml"), machine).expect("there is room for a machine file");
    let path = directory.path().join("system.toml");
    fs::write(&path, format!("machine = \"mine.toml\"\n[subject.only]\n{subject}\n")).expect("there is room");
    done(palisade(&["check"]).arg(&path).env("XDG_CONFIG_HOME", directory.path()))
}
