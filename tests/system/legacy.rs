//! Unikernels that know nothing of this project: built on nothing of it, they poll with `pause`, take the time from the start of
//! the minor frame, call their kernel by `vmcall`, never recover from an overrun, and end with `cli; hlt`.

use crate::harness::{Place, Run, System};

/// One probe for each combination of ABI version and subject info that is seen in the wild.
const PROBES: &[(&str, &str)] =
    &[("legacy-2", "03"), ("legacy-3", "03"), ("legacy-3-info-4", "04"), ("legacy-4", "05")];

pub(crate) fn unmodified_unikernels_of_every_abi_version_run(place: Place) {
    for (probe, version) in PROBES {
        let run = System::described(&format!(
            "[subject.probe]\nunikernel = \"testing/{probe}\"\nbootparams = \"a b  c\"\nram = \"1 MiB\""
        ))
        .at(place)
        .boot();
        run.assert_exit(0);
        run.assert_in_order(
            "probe",
            &[
                "legacy: command line 'a b  c'",
                &format!("legacy: subject info version {version}"),
                "legacy: data is pristine",
                "legacy: FS base works",
                "legacy: clock moved by 50 ms in ",
                "legacy: ends",
            ],
        );
        assert!(!run.lines("probe").iter().any(|line| line.contains("NOT") || line.contains("NO ")), "{run}");
        assert_eq!(run.subject("probe")["state"], "halted", "an unmodified one reports no status; {run}");
    }
}

pub(crate) fn an_unmodified_unikernel_that_polls_does_not_use_up_the_cpu(place: Place) {
    // The probe polls its clock with `pause` until 50 ms have passed: one poll a minor frame, not thousands.
    let run = System::described("[subject.probe]\nunikernel = \"testing/legacy-4\"").at(place).boot();
    run.assert_exit(0);
    let polls = run.lines("probe").iter().find_map(|line| {
        line.strip_prefix("legacy: clock moved by 50 ms in ")?.strip_suffix(" polls")?.parse::<u32>().ok()
    });
    assert!(polls.is_some_and(|polls| polls <= 20), "{polls:?} polls; {run}");
}

pub(crate) fn network_elements_reach_an_unmodified_reader_in_order(place: Place) {
    let run = feed(place, "500", "1", "500", "1 MiB");
    run.assert_exit(0);
    run.assert_in_order("probe", &["legacy: received 500 elements in order"]);
}

pub(crate) fn an_overrun_ends_an_unmodified_readers_network_and_nothing_else(place: Place) {
    // 64 KiB hold 43 elements; 400 in one burst overrun a reader that looks once a minor frame.
    let run = feed(place, "2000", "400", "2000", "64 KiB");
    run.assert_exit(0);
    run.assert_in_order("probe", &["legacy: overrun after "]);
    run.assert_in_order("feeder", &["Solo5: solo5_exit(0) called"]);
}

pub(crate) fn an_unmodified_unikernel_reports_its_own_trap(place: Place) {
    let run = System::described("[subject.probe]\nunikernel = \"testing/legacy-4\"\nbootparams = \"trap\"")
        .at(place)
        .boot();
    run.assert_exit(0);
    run.assert_in_order("probe", &["legacy: trap 6"]);
}

/// A probe that receives `wanted` elements through a channel of this size from a feeder, which sends `count` in bursts.
fn feed(place: Place, count: &str, burst: &str, wanted: &str, size: &str) -> Run {
    System::described(&format!(
        r#"
        [subject.probe]
        unikernel = "testing/legacy-4"
        bootparams = "receive service|in {wanted}"
        [subject.feeder]
        unikernel = "testing/feeder"
        bootparams = "service|out {count} {burst}"
        [[channel]]
        name = "service"
        writer = "feeder:service|out"
        reader = "probe:service|in"
        size = "{size}"
        "#
    ))
    .at(place)
    .boot()
}
