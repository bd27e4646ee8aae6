//! A network card and its driver, as far as the kernel has to do with them.

use std::fs;

use crate::harness::{Run, System};

#[test]
fn a_card_wakes_an_idle_machine() {
    let run = described("ping 10.0.2.15 10.0.2.2 50").boot();
    run.assert_exit(0);
    run.assert_in_order("host", &["50 of 50 pings answered", "lost 0 frames"]);
}

#[test]
fn a_card_behind_intel_s_iommu_wakes_an_idle_machine_of_two_cpus() {
    // The driver is on CPU 0. With this IOMMU the local APICs are in xAPIC mode, which the CPU would not choose by itself.
    let ping = "ping 10.0.2.15 10.0.2.2 50";
    let host = format!("[subject.host]\nunikernel = \"testing/net-peer\"\nbootparams = \"{ping}\"\ncpu = 1");
    let run = System::described(&format!("machine = \"qemu-q35-vtd\"\ncpus = 2\n{host}")).boot();
    run.assert_exit(0);
    run.assert_in_order("host", &["50 of 50 pings answered", "lost 0 frames"]);
}

#[test]
fn a_driver_that_waits_for_frames_leaves_the_cpu_halted() {
    let (run, share) = described("serve 10.0.2.15").boot_measured("host", "this is ");
    run.assert_exit(143);
    println!("the emulator uses {:.1} % of a CPU while the driver waits", share * 100.0);
    // A CPU that is not halted uses all of it.
    assert!(share < 0.5, "{share}; {run}");
}

#[test]
fn a_card_that_is_not_where_the_plan_says_is_refused_by_the_kernel() {
    let run = described("serve 10.0.2.15").argument("--emulator").argument(MOVED_CARD).boot();
    run.assert_exit(123);
    assert_eq!(refusals(&run), ["kernel refused: the device at 00:03.0 is missing"], "{run}");
}

#[test]
fn registers_at_addresses_of_another_device_are_refused_by_the_kernel() {
    // The firmware places registers downwards from 0xfec00000; those of the disk controller come first.
    let machine = include_str!("../../machines/qemu-q35.toml")
        .replace("size = \"1003 MiB\"", "size = \"1004 MiB\"")
        .replace("address = 0xfe00_0000, bits", "address = 0xfebf_c000, bits");
    let unikernel = "unikernel = \"testing/net-peer\"\nbootparams = \"serve 10.0.2.15\"";
    let system = System::described(&format!("machine = \"crowded.toml\"\n[subject.host]\n{unikernel}"));
    fs::write(system.directory.path().join("crowded.toml"), machine).expect("a machine file can be written");
    let run = system.boot();
    run.assert_exit(123);
    let expected =
        "kernel refused: the function at 00:1f.2 answers at addresses that the plan gives to a device";
    assert_eq!(refusals(&run), [expected], "{run}");
}

/// One unikernel on the network of the machine.
fn described(arguments: &str) -> System {
    System::described(&format!(
        "[subject.host]\nunikernel = \"testing/net-peer\"\nbootparams = \"{arguments}\""
    ))
}

fn refusals(run: &Run) -> Vec<String> {
    run.kernel_lines().into_iter().filter(|line| line.starts_with("kernel refused")).collect()
}

/// A wrapper around the emulator that puts the card into another slot.
const MOVED_CARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-with-moved-card");
