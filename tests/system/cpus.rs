//! Several CPUs: events between them, their frames, and their common end. Functions that take a place are in the table of
//! [`crate::processors`].

use crate::harness::{Place, Run, System};

/// That the second one is not CPU 0 is said by the kernel in a crash's record, below.
pub(crate) fn the_example_for_two_cpus_prints_its_lines_and_the_system_powers_off(place: Place) {
    let run = System::from_file("systems/two-cpus.toml").at(place).boot();
    run.assert_exit(0);
    run.assert_in_order("near", &["Command line is: 'I am on CPU 0'"]);
    run.assert_in_order("far", &["Command line is: 'I am on CPU 1'"]);
    assert!(run.kernel_lines().iter().any(|line| line.contains("2 CPUs")), "{run}");
}

/// A hundred thousand, and a fifth of it in Bochs, which is slow.
pub(crate) fn balls_go_from_cpu_to_cpu_and_back_and_none_is_lost_or_doubled(place: Place) {
    play(share(place), Arrival::Wake, Company::Nobody, place, &[]);
}

/// As many. QEMU 10.0 with a thread for each CPU is no place for that: it notes a subject's interrupt at `vmrun` without the lock that
/// other CPUs hold when they interrupt this one, and ends now and then in a triple fault where the processor takes no interrupts.
pub(crate) fn balls_that_arrive_as_interrupts_are_neither_lost_nor_doubled(place: Place) {
    let arguments: &[&str] = if place == Place::Machine { &["--emulator", CPUS_IN_TURN] } else { &[] };
    play(share(place), Arrival::Interrupt, Company::Nobody, place, arguments);
}

#[test]
fn thirty_thousand_balls_arrive_without_x2apic_too() {
    play(30_000, Arrival::Wake, Company::Nobody, Place::Machine, &["--emulator", WITHOUT_X2APIC]);
}

/// Those that arrive while another partition has the CPU interrupt nobody, and are there when the frame begins.
#[test]
fn balls_for_a_partition_that_has_not_the_cpu_wait_for_its_frame() {
    play(300, Arrival::Wake, Company::AnotherPartition, Place::Machine, &[]);
}

#[test]
fn subjects_on_two_cpus_keep_their_frames_while_both_spin() {
    let run = System::described(&format!(
        r#"
        cpus = 2
        [subject.zero]
        unikernel = "testing/probe"
        bootparams = "100 0"
        [subject.one]
        unikernel = "testing/probe"
        bootparams = "100 0"
        cpu = 1
        [subject.spinner]
        unikernel = "testing/spinner"
        {}
        "#,
        frames(&[("own", 0, "zero"), ("spinning", 0, "spinner"), ("other", 1, "one")])
    ))
    .boot_until(|said| {
        ["[zero] frame ", "[one] frame "].iter().all(|line| said.matches(line).count() == 100)
    });
    let (zero, one) = (frames_of(&run, "zero"), frames_of(&run, "one"));
    let major = MAJOR_US as u64 * kilohertz(&run) / 1000;
    for (frames, length) in [(&zero, major / 3), (&one, major)] {
        for pair in frames.windows(2) {
            assert_eq!(
                (pair[1].start - pair[0].start) % major,
                0,
                "a frame that the plan does not have; {run}"
            );
        }
        assert!(frames.iter().all(|frame| frame.length.abs_diff(length) <= 1), "{run}");
    }
    // In step: CPU 1's major frames begin when CPU 0's do, and `own` comes after the system's frame. How late a frame really
    // begins is said by `measure`: under an emulator whose CPUs are threads of a loaded computer that is no matter for a test.
    let apart = (zero[0].start - major / 3).abs_diff(one[0].start) % major;
    assert!(apart <= 1 || major - apart <= 1, "{run}");
}

#[test]
fn a_subject_that_spins_on_one_cpu_does_not_keep_the_other_from_working() {
    let run = System::described(
        r#"
        cpus = 2
        [subject.spinner]
        unikernel = "testing/spinner"
        cpu = 1
        [subject.neighbour]
        unikernel = "testing/heartbeat"
        bootparams = "20 50"
        "#,
    )
    .boot_until(|said| said.contains("[spinner] spinning") && said.contains("[neighbour] beat 50 of 50"));
    run.assert_exit(143);
}

#[test]
fn a_flood_of_events_from_another_cpu_interrupts_the_partition_of_its_target_no_more_than_turns_do() {
    let run = System::described(
        r#"
        cpus = 2
        [subject.flooder]
        unikernel = "testing/event-flood"
        bootparams = "raise solo5_exit 30000"
        cpu = 1
        [subject.worker]
        unikernel = "testing/event-flood"
        bootparams = "work"
        [[channel]]
        name = "over"
        writer = "flooder:over"
        reader = "worker:over"
        size = "4 KiB"
        "#,
    )
    .seconds(LONG)
    .boot();
    run.assert_exit(0);
    let microseconds = |line: &String| line.strip_prefix("raised it for ")?.strip_suffix(" us")?.parse().ok();
    let flood: u64 = run.lines("flooder").iter().find_map(microseconds).unwrap_or_else(|| panic!("{run}"));
    let turns = flood / TURN_US;
    let interrupts = totals(&run)[1];
    // In each turn: its end, and one for a sleep of the supervisor. Without that bound there were about seven.
    assert!(interrupts <= 3 * turns + 500, "{interrupts} interrupts in {turns} turns; {run}");
}

pub(crate) fn the_supervisor_restarts_a_subject_on_another_cpu(place: Place) {
    let run = System::described(
        r#"
        cpus = 2
        [subject.crasher]
        unikernel = "testing/crasher"
        bootparams = "11"
        restart = "on-failure"
        backoff = "1 ms"
        backoff_max = "10 ms"
        ram = "4 MiB"
        cpu = 1
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(0);
    for generation in 1..=11 {
        run.assert_in_order("crasher", &[&format!("generation {generation}: memory is pristine")]);
    }
    assert_eq!(run.subject("crasher")["generation"], 11, "{run}");
    let endings = run.lines("supervisor").iter().filter(|line| line.starts_with("crasher: faulted")).count();
    assert_eq!(endings, 10, "each end is seen once; {run}");
}

#[test]
fn a_crash_on_one_cpu_stops_the_other_one_and_the_next_boot_says_where_it_was() {
    let run = System::described(
        r#"
        cpus = 2
        on_fatal = "reset"
        [subject.watchdog]
        unikernel = "testing/raise"
        bootparams = "system_panic"
        cpu = 1
        rights = ["panic"]
        [subject.spinner]
        unikernel = "testing/spinner"
        "#,
    )
    .argument("--reboot")
    .boot_until(|said| said.contains("[log] boot 2 crashed: "));
    run.assert_exit(143);
    let lines = run.kernel_lines();
    let stopped = "kernel stopped: a subject asked for it, subject watchdog, CPU 1,";
    assert!(lines.iter().filter(|line| line.starts_with(stopped)).count() > 1, "{run}");
    assert!(!lines.iter().any(|line| line.contains("does not stop")), "{run}");
    run.assert_in_order("log", &["boot 1 crashed: a subject asked for it", "on CPU 1, with subject "]);
}

#[test]
fn what_the_kernel_counts_is_the_sum_over_all_cpus() {
    let run = System::described(
        r#"
        cpus = 2
        [subject.exits]
        unikernel = "testing/probe"
        bootparams = "1 2000"
        cpu = 1
        "#,
    )
    .boot();
    run.assert_exit(0);
    // CPU 0 ends the system. The probe measures two kinds of exits.
    let [exits, _, _] = totals(&run);
    assert!(exits >= 2 * 2000, "{run}");
}

pub(crate) fn power_off_works_from_any_cpu(place: Place) {
    let run = System::described(
        r#"
        cpus = 2
        [subject.far]
        unikernel = "testing/raise"
        bootparams = "system_power_off"
        rights = ["power-off"]
        cpu = 1
        [subject.spinner]
        unikernel = "testing/spinner"
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(0);
    totals(&run);
}

#[test]
fn a_machine_with_fewer_cpus_than_the_plan_is_refused() {
    let run = System::from_file("systems/two-cpus.toml").argument("--emulator").argument(ONE_CPU).boot();
    run.assert_exit(123);
    let said = |line: &String| line.starts_with("kernel refused: there is no CPU 1");
    assert!(run.kernel_lines().iter().any(said), "{run}");
}

/// What the event for a ball does.
enum Arrival {
    Wake,
    Interrupt,
}

/// Who else is on the CPU of the one that gives the ball back.
enum Company {
    Nobody,
    AnotherPartition,
}

/// How many balls are played there.
fn share(place: Place) -> u32 {
    if place == Place::IntelMachine { 20_000 } else { 100_000 }
}

/// Plays `count` balls between a subject on CPU 0 and one on CPU 1.
#[track_caller]
fn play(count: u32, arrival: Arrival, company: Company, place: Place, arguments: &[&str]) {
    let (vector, arrival) = match arrival {
        Arrival::Wake => (0, "wake"),
        Arrival::Interrupt => (64, "inject:64"),
    };
    let other = match company {
        Company::Nobody => String::new(),
        Company::AnotherPartition => format!(
            "[subject.third]\nunikernel = \"testing/heartbeat\"\nbootparams = \"10 10\"\n{}",
            frames(&[("zero", 0, "near"), ("one", 1, "far"), ("two", 1, "third")])
        ),
    };
    let mut system = System::described(&format!(
        r#"
        cpus = 2
        [subject.near]
        unikernel = "testing/pingpong"
        bootparams = "serve {count} {vector}"
        [subject.far]
        unikernel = "testing/pingpong"
        bootparams = "return {count} {vector}"
        cpu = 1
        {other}
        [[channel]]
        name = "there"
        writer = "near:mine"
        reader = "far:theirs"
        size = "4 KiB"
        [[channel]]
        name = "back"
        writer = "far:mine"
        reader = "near:theirs"
        size = "4 KiB"
        [[event]]
        from = "near:ball"
        to = "far:ball_in"
        arrival = "{arrival}"
        [[event]]
        from = "far:ball"
        to = "near:ball_in"
        arrival = "{arrival}"
        "#
    ))
    .at(place)
    .seconds(LONG);
    for argument in arguments {
        system = system.argument(*argument);
    }
    let run = system.boot();
    run.assert_exit(0);
    let played = format!("played {count} balls, 0 wrong, 0 too many");
    run.assert_in_order("near", &[&played]);
    run.assert_in_order("far", &[&played]);
}

/// A schedule with these partitions of one subject each (name, CPU, subject), beside that of the system on CPU 0: all frames of a CPU
/// are equally long, and so are the major frames of both CPUs.
fn frames(partitions: &[(&str, u16, &str)]) -> String {
    let of = |cpu| partitions.iter().filter(move |partition| partition.1 == cpu);
    let mut text =
        "[[schedule.partition]]\nname = \"system\"\ngroups = [[\"time\"], [\"log\"], [\"supervisor\"]]\n"
            .to_owned();
    for (name, cpu, subject) in partitions {
        text +=
            &format!("[[schedule.partition]]\nname = \"{name}\"\ncpu = {cpu}\ngroups = [[\"{subject}\"]]\n");
    }
    for cpu in [0, 1] {
        let names: Vec<_> = (cpu == 0).then_some("system").into_iter().chain(of(cpu).map(|p| p.0)).collect();
        let length = MAJOR_US / names.len();
        let frames =
            names.iter().map(|name| format!("{{ partition = \"{name}\", length = \"{length} us\" }}"));
        text += &format!("[[schedule.cpu]]\nframes = [{}]\n", frames.collect::<Vec<_>>().join(", "));
    }
    text
}

/// A frame as the probe saw it, in ticks.
struct Frame {
    start: u64,
    length: u64,
}

/// Thousand ticks in a second.
#[track_caller]
fn kilohertz(run: &Run) -> u64 {
    let number = |line: &String| line.strip_prefix("clock ")?.strip_suffix(" kHz")?.parse().ok();
    run.lines("zero").iter().find_map(number).unwrap_or_else(|| panic!("{run}"))
}

#[track_caller]
fn frames_of(run: &Run, subject: &str) -> Vec<Frame> {
    let frame = |line: &String| {
        let numbers: Vec<u64> =
            line.strip_prefix("frame ")?.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [start, length, _, _] = numbers[..] else { return None };
        Some(Frame { start, length })
    };
    let frames: Vec<Frame> = run.lines(subject).iter().filter_map(frame).collect();
    assert_eq!(frames.len(), 100, "{run}");
    frames
}

/// What the kernel counted on all CPUs: exits, interrupts, how often nobody could run.
#[track_caller]
fn totals(run: &Run) -> [u64; 3] {
    let lines = run.kernel_lines();
    let mut totals = lines.iter().filter_map(|line| {
        let words: Vec<&str> = line.strip_prefix("kernel: ")?.split(' ').collect();
        let [exits, "exits,", interrupts, "interrupts,", idle, "times", "idle"] = words[..] else {
            return None;
        };
        Some([exits, interrupts, idle].map(|number| number.parse().expect("it is a number")))
    });
    let first = totals.next().unwrap_or_else(|| panic!("{run}"));
    assert_eq!(totals.next(), None, "they are printed once; {run}");
    first
}

const MAJOR_US: usize = 12_000;
/// A turn within a partition.
const TURN_US: u64 = 500;
/// Seconds for thousands of events, on a loaded computer too.
const LONG: u32 = 500;
const ONE_CPU: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-with-one-cpu");
const CPUS_IN_TURN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-with-cpus-in-turn");
const WITHOUT_X2APIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-without-x2apic");
