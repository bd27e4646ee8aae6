//! Intel's processors of other generations than the one that the other stories are told on.

use crate::harness::{Place, System};

#[test]
fn a_processor_without_pages_of_1_gib_and_without_x2apic_runs_the_same_systems() {
    let run = System::described(
        r#"
        [subject.registers]
        unikernel = "testing/registers"
        bootparams = "1 300"
        [subject.timed]
        unikernel = "testing/timed"
        [subject.sender]
        unikernel = "testing/interrupts"
        bootparams = "send 25"
        [subject.receiver]
        unikernel = "testing/interrupts"
        bootparams = "receive 64 25"
        [[event]]
        from = "sender:poke"
        to = "receiver:poked"
        arrival = "inject:64"
        "#,
    )
    .at(Place::IntelMachine)
    .argument("--emulator")
    .argument(SANDY_BRIDGE)
    .boot();
    run.assert_exit(0);
    run.assert_in_order("registers", &["patterns held through "]);
    run.assert_in_order("timed", &["woke too early 0 times"]);
    run.assert_in_order("receiver", &["received 25 interrupts at vector 64"]);
}

#[test]
fn a_processor_with_less_of_vt_x_than_the_kernel_needs_is_refused_with_what_is_missing() {
    let run = System::from_file("systems/hello.toml")
        .at(Place::IntelMachine)
        .argument("--emulator")
        .argument(PENRYN)
        .boot();
    run.assert_exit(123);
    let refusal = "kernel refused: the CPU has no preemption timer (VT-x)";
    assert!(run.kernel_lines().iter().any(|line| line == refusal), "{run}");
}

const SANDY_BRIDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/bochs-sandy-bridge");
const PENRYN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/bochs-penryn");
