//! Figures from inside a machine.

use std::process::Command;

use serde_json::Value;

#[test]
fn frames_on_one_cpu_begin_and_end_when_the_plan_says_and_the_same_way_twice() {
    let measured = measure(&["--deterministic", "--frames", "30"]);
    assert_eq!(measured, measure(&["--deterministic", "--frames", "30"]));
    let frames: Vec<[u64; 4]> =
        measured.iter().filter(|object| object["event"] == "frame").map(frame).collect();
    assert_eq!(frames.len(), 30);
    for pair in frames.windows(2) {
        assert_eq!(pair[1][0] - pair[0][0], frames[1][0] - frames[0][0], "{frames:?}");
        assert_eq!(pair[1][1], pair[0][1], "{frames:?}");
    }
    for [_, length, late, seen] in &frames {
        // The kernel's way into a frame takes always as long, but for the instructions between two looks at the clock.
        assert!(late.abs_diff(frames[0][2]) <= LOOK, "{frames:?}");
        // And when the program last looked it was over, but for the same.
        assert!((late + seen).abs_diff(*length) <= LOOK, "{frames:?}");
    }
    let costs: Vec<&Value> = measured.iter().filter(|object| object["event"] == "cost").collect();
    let names: Vec<&str> = costs.iter().filter_map(|cost| cost["what"].as_str()).collect();
    assert_eq!(names, ["exit", "cpuid", "answer"]);
    assert!(
        costs.iter().all(|cost| cost["instructions"].as_u64().is_some_and(|count| count > 100)),
        "{costs:?}"
    );
}

#[test]
fn frames_of_two_cpus_are_measured_side_by_side() {
    measure_two_cpus("qemu");
}

#[test]
fn frames_of_two_cpus_are_measured_side_by_side_in_bochs() {
    measure_two_cpus("bochs");
}

#[track_caller]
fn measure_two_cpus(emulator: &str) {
    let measured = measure(&["--on", emulator, "--smp", "2", "--frames", "10"]);
    let starts = |cpu: u64| {
        let of_cpu = measured.iter().filter(move |object| object["cpu"] == cpu && object["event"] == "frame");
        of_cpu.map(frame).collect::<Vec<_>>()
    };
    let (zero, one) = (starts(0), starts(1));
    assert_eq!((zero.len(), one.len()), (10, 10));
    let major = one[0][1];
    // CPU 0's frame is the second half of the major frame, which is CPU 1's only one.
    for [start, ..] in zero {
        let apart = (start - major / 2).abs_diff(one[0][0]) % major;
        assert!(apart.min(major - apart) <= 2, "{start}, {one:?}");
    }
}

#[test]
fn the_deterministic_mode_is_for_one_cpu_of_qemu() {
    for arguments in [["--deterministic", "--smp", "2"], ["--deterministic", "--on", "bochs"]] {
        assert_eq!(command(&arguments).status.code(), Some(125), "{arguments:?}");
    }
}

#[track_caller]
fn measure(arguments: &[&str]) -> Vec<Value> {
    let done = command(arguments);
    let text = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&done.stderr));
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn command(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["--json", "measure", "schedule", "--for", "800"]).args(arguments);
    command.output().expect("the command starts")
}

/// Start, length, how late it began, and how long it was seen.
fn frame(object: &Value) -> [u64; 4] {
    ["start", "length", "late", "seen"].map(|key| object[key].as_u64().expect("it is a number"))
}

/// Ticks, eight for an instruction: less than an exit and back.
const LOOK: u64 = 6_000;
