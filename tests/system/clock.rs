//! Clocks that tick at or below 1 GHz, on a CPU without x2APIC: QEMU's deterministic mode is such a machine.

use crate::harness::System;

#[test]
fn time_passes_for_everybody_where_the_time_stamp_counter_is_slow() {
    let run = System::described(
        r#"
        [subject.timed]
        unikernel = "testing/timed"
        [subject.heartbeat]
        unikernel = "testing/heartbeat"
        bootparams = "20 10"
        [subject.legacy]
        unikernel = "testing/legacy-4"
        ram = "256 KiB"
        "#,
    )
    .argument("--emulator")
    .argument(EMULATOR)
    .boot();
    run.assert_exit(0);
    assert!(run.kernel_lines().iter().any(|line| line.contains("time-stamp counter 1000000 kHz")), "{run}");
    run.assert_in_order("timed", &["woke too early 0 times"]);
    run.assert_in_order("heartbeat", &["beat 10 of 10", "longest time between two beats: 2"]);
    run.assert_in_order("legacy", &["legacy: clock moved by 50 ms in ", "legacy: ends"]);
    // The clock that subjects see ticks twice as fast as the real one.
    run.assert_in_order("timed", &["Solo5: Clock source: Muen PV clock, TSC frequency 2000000000 Hz"]);
}

#[test]
fn a_system_runs_the_same_way_twice_where_the_machine_does() {
    let lines = || {
        let run = System::from_file("systems/hello.toml").argument("--emulator").argument(EMULATOR).boot();
        run.assert_exit(0);
        run.lines("hello")
    };
    assert_eq!(lines(), lines());
}

const EMULATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-deterministic");
