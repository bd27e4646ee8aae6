//! A clock that ticks at 1 GHz, on a CPU without x2APIC: QEMU's deterministic mode is such a machine.

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
    let khz =
        number_between(&run.kernel_lines(), "time-stamp counter ", " kHz").unwrap_or_else(|| panic!("{run}"));
    assert!(khz.abs_diff(1_000_000) < 100, "measured to a ten-thousandth; {run}");
    run.assert_in_order("timed", &["woke too early 0 times"]);
    run.assert_in_order("heartbeat", &["beat 10 of 10", "longest time between two beats: 2"]);
    run.assert_in_order("legacy", &["legacy: clock moved by 50 ms in ", "legacy: ends"]);
    // Unless it was measured as a few millionths faster, subjects see a clock that ticks twice as fast as the real one.
    let times = if khz > 1_000_000 { 1 } else { 2 };
    let shown = number_between(&run.lines("timed"), "TSC frequency ", " Hz");
    assert_eq!(shown, Some(khz * 1000 * times), "{run}");
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

/// The first number between these two texts in one of the lines.
fn number_between(lines: &[String], before: &str, after: &str) -> Option<u64> {
    let number = |line: &String| line.split_once(before)?.1.split_once(after)?.0.parse().ok();
    lines.iter().find_map(number)
}

const EMULATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-deterministic");
