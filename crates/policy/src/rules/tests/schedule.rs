use super::pair_and;
use crate::testing::{TestLibrary, assert_breaks, assert_passes, plan, plan_with};
use crate::{Options, Planned, Problems};

/// Partitions for everything on CPU 0; what a test adds begins on line 11.
const TWO: &str = "[[schedule.partition]]\nname = \"own\"\ngroups = [[\"time\"], [\"log\"], [\"supervisor\"]]\n\
                   [[schedule.partition]]\nname = \"rest\"\ngroups = [[\"a\"], [\"b\"]]\n";

/// `b` on CPU 1; what a test adds begins on line 12.
const TWO_CPUS: &str = "[[schedule.partition]]\nname = \"zero\"\ngroups = [[\"time\"], [\"log\"], [\"supervisor\"], [\"a\"]]\n\
                        [[schedule.partition]]\nname = \"one\"\ncpu = 1\ngroups = [[\"b\"]]\n";

fn plan_two_cpus(text: &str) -> Result<Planned, Problems> {
    let options = Options { cpus: Some(2), ..Options::default() };
    plan_with(&pair_and(text), &options, &TestLibrary::new())
}

#[test]
fn cpus_of_the_machine_can_be_named() {
    let plan = assert_passes(plan_two_cpus(TWO_CPUS)).plan;
    assert_eq!(plan.cpus.iter().map(|cpu| cpu.apic_id).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_cpu_that_the_machine_does_not_have_is_refused() {
    assert_breaks(plan("[subject.a]\nunikernel = \"hello\"\ncpu = 3"), "cpu-exists", 3, "--smp N");
    assert_breaks(plan(&pair_and(TWO_CPUS)), "cpu-exists", 10, "qemu-q35 has 1");
}

#[test]
fn a_system_on_cpu_0_passes() {
    assert_passes(plan(&pair_and(TWO)));
}

#[test]
fn without_a_schedule_each_cpu_runs_the_subjects_that_ask_for_it() {
    let options = Options { cpus: Some(2), ..Options::default() };
    let text = "[subject.a]\nunikernel = \"hello\"\ncpu = 1";
    let planned = assert_passes(plan_with(text, &options, &TestLibrary::new()));
    let cpus: Vec<_> = planned.plan.subjects.iter().map(|s| (s.name.as_str(), s.cpu)).collect();
    assert_eq!(cpus, [("time", 0), ("log", 0), ("supervisor", 0), ("a", 1)]);
}

#[test]
fn every_cpu_in_use_has_frames() {
    let frames = "[[schedule.cpu]]\nframes = [{ partition = \"zero\" }]\n[[schedule.cpu]]\nframes = [{ partition = \"one\" }]\n";
    assert_passes(plan_two_cpus(&format!("{TWO_CPUS}{frames}")));
}

#[test]
fn a_cpu_without_frames_or_before_a_gap_is_refused() {
    let empty = format!("{TWO}[[schedule.cpu]]\nframes = []");
    assert_breaks(plan(&pair_and(&empty)), "cpus-covered", 11, "give it frames");
    let twice =
        format!("{TWO}{}{}", FRAMES, FRAMES.replace("[[schedule.cpu]]\n", "[[schedule.cpu]]\ncpu = 0\n"));
    assert_breaks(plan(&pair_and(&twice)), "cpus-covered", 14, "one list");
    assert_breaks(
        plan_two_cpus(&TWO_CPUS.replace("cpu = 1", "cpu = 2")),
        "cpus-covered",
        10,
        "use CPU 1 first",
    );
}

/// One frame for each of the two partitions.
const FRAMES: &str = "[[schedule.cpu]]\nframes = [{ partition = \"own\", length = \"2 ms\" }, { partition = \"rest\", length = \"8 ms\" }]\n";

#[test]
fn the_frames_of_a_cpu_run_in_the_order_of_the_description() {
    let planned = assert_passes(plan(&pair_and(&format!("{TWO}{FRAMES}"))));
    assert_eq!(planned.plan.cpus[0].frames, [(2000, 0), (10_000, 1)]);
    assert_eq!(planned.plan.major_frame_us, 10_000);
}

#[test]
fn every_subject_is_scheduled_once() {
    let planned = assert_passes(plan(&pair_and(TWO)));
    let places: Vec<_> =
        planned.plan.subjects.iter().map(|subject| (subject.partition, subject.group)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4)]);
}

#[test]
fn a_subject_that_is_scheduled_twice_or_never_is_refused() {
    let never = TWO.replace("[\"a\"], ", "");
    assert_breaks(plan(&pair_and(&never)), "one-group", 1, "add [\"a\"]");
    let twice = TWO.replace("[\"a\"], ", "[\"a\", \"log\"], ");
    assert_breaks(plan(&pair_and(&twice)), "one-group", 10, "one group of one partition");
    let unknown = TWO.replace("[\"a\"], ", "[\"a\"], [\"supervisr\"], ");
    assert_breaks(plan(&pair_and(&unknown)), "one-group", 10, "did you mean `supervisor`?");
    let elsewhere =
        format!("[subject.a]\nunikernel = \"hello\"\ncpu = 0\n{}", TWO_CPUS.replace("\"b\"", "\"a\""))
            .replace(", [\"a\"]]\n[[", "]\n[[");
    let options = Options { cpus: Some(2), ..Options::default() };
    assert_breaks(plan_with(&elsewhere, &options, &TestLibrary::new()), "one-group", 3, "remove `cpu`");
}

#[test]
fn a_partition_that_never_runs_or_has_an_empty_group_is_refused() {
    let one_frame = format!("{TWO}[[schedule.cpu]]\nframes = [{{ partition = \"own\" }}]");
    assert_breaks(plan(&pair_and(&one_frame)), "partition-has-frame", 9, "frames of CPU 0");
    let empty_group = TWO.replace("[\"b\"]", "[\"b\"], []");
    assert_breaks(plan(&pair_and(&empty_group)), "partition-has-frame", 9, "at least one subject");
}

#[test]
fn a_frame_of_an_unknown_partition_or_of_another_cpu_is_refused() {
    let unknown = format!("{TWO}{}", FRAMES.replace("\"own\"", "\"owm\""));
    assert_breaks(plan(&pair_and(&unknown)), "frame-partition", 12, "did you mean `own`?");
    let foreign = "[[schedule.cpu]]\nframes = [{ partition = \"zero\" }, { partition = \"one\" }]\n\
                   [[schedule.cpu]]\nframes = [{ partition = \"one\", length = \"10 ms\" }]\n";
    assert_breaks(plan_two_cpus(&format!("{TWO_CPUS}{foreign}")), "frame-partition", 13, "second partition");
}

#[test]
fn frames_that_add_up_to_the_same_major_frame_pass() {
    let frames = "[[schedule.cpu]]\nframes = [{ partition = \"zero\", length = \"3 ms\" }, { partition = \"zero\", length = \"7 ms\" }]\n\
                  [[schedule.cpu]]\nframes = [{ partition = \"one\", length = \"10 ms\" }]\n";
    assert_passes(plan_two_cpus(&format!("{TWO_CPUS}{frames}")));
}

#[test]
fn major_frames_that_differ_are_refused_with_the_length_that_fits() {
    let frames = "[[schedule.cpu]]\nframes = [{ partition = \"zero\", length = \"9 ms\" }]\n\
                  [[schedule.cpu]]\nframes = [{ partition = \"one\", length = \"10 ms\" }]\n";
    assert_breaks(plan_two_cpus(&format!("{TWO_CPUS}{frames}")), "major-frame", 14, "add up to 9 ms");
}

#[test]
fn a_minor_frame_of_100_us_passes() {
    assert_passes(plan(&pair_and("[schedule]\nminor_frame = \"100 us\"")));
}

#[test]
fn a_minor_frame_that_is_too_short_or_too_long_is_refused() {
    assert_breaks(plan(&pair_and("[schedule]\nminor_frame = \"99 us\"")), "frame-length", 6, "100 us to 1 s");
    let long = format!("{TWO}{}", FRAMES.replace("8 ms", "2 s"));
    assert_breaks(plan(&pair_and(&long)), "frame-length", 12, "100 us to 1 s");
}
