//! Subjects that share a CPU: time, registers, handovers.

use crate::harness::{Place, System};

pub(crate) fn a_spinning_subject_does_not_keep_its_neighbour_from_running(place: Place) {
    for spinner in ["", "interrupts"] {
        let run = System::described(&format!(
            r#"
            [subject.spinner]
            unikernel = "testing/spinner"
            bootparams = "{spinner}"
            [subject.neighbour]
            unikernel = "testing/heartbeat"
            bootparams = "20 50"
            "#
        ))
        .at(place)
        .boot_until(|said| said.contains("[neighbour] Solo5: solo5_exit(0) called"));
        run.assert_exit(143);
        run.assert_in_order("spinner", &["spinning"]);
        run.assert_in_order(
            "neighbour",
            &["beat 1 of 50", "beat 50 of 50", "longest time between two beats", "Solo5: solo5_exit(0)"],
        );
    }
}

pub(crate) fn a_subject_that_never_needs_the_kernel_is_pre_empted_from_its_first_run_on(place: Place) {
    let run = System::described(
        r#"
        [subject.spinner]
        unikernel = "testing/spinner"
        bootparams = "--solo5:quiet silent"
        [subject.neighbour]
        unikernel = "testing/heartbeat"
        bootparams = "20 20"
        [[schedule.partition]]
        name = "spinning"
        groups = [["spinner"]]
        [[schedule.partition]]
        name = "system"
        groups = [["time"], ["log"], ["supervisor"], ["neighbour"]]
        [[schedule.cpu]]
        frames = [{ partition = "spinning", length = "5 ms" }, { partition = "system", length = "5 ms" }]
        "#,
    )
    .at(place)
    .boot_until(|said| said.contains("[neighbour] beat 20 of 20"));
    run.assert_exit(143);
    run.assert_in_order("neighbour", &["beat 1 of 20", "beat 20 of 20"]);
}

pub(crate) fn every_register_survives_an_exit_storm_beside_neighbours_with_other_values(place: Place) {
    let run = System::described(
        r#"
        [subject.first]
        unikernel = "testing/registers"
        bootparams = "1 3000"
        [subject.second]
        unikernel = "testing/registers"
        bootparams = "77 3000"
        [subject.third]
        unikernel = "testing/registers"
        bootparams = "4242 3000"
        exceptions = "kernel"
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(0);
    for name in ["first", "second", "third"] {
        run.assert_in_order(name, &["patterns held through "]);
        assert!(run.lines(name).iter().any(|line| line.ends_with(", with AVX")), "{run}");
    }
}

pub(crate) fn a_handover_passes_the_cpu_within_a_group(place: Place) {
    let run = System::described(
        r#"
        [subject.first]
        unikernel = "testing/handover"
        bootparams = "first 10000"
        [subject.second]
        unikernel = "testing/handover"
        bootparams = "second 10000"
        [[event]]
        from = "first:over"
        to = "second:yours"
        handover = true
        [[event]]
        from = "second:over"
        to = "first:yours"
        handover = true
        [[schedule.partition]]
        name = "all"
        groups = [["time"], ["log"], ["supervisor"], ["first", "second"]]
        "#,
    )
    .at(place)
    .boot_until(|said| {
        // Which of the two lines is written first is the log's choice.
        said.contains("[first] handed over 10000 times")
            && said.contains("[second] handing over for time 10000, the last one")
    });
    run.assert_in_order("second", &["handing over for time 10000, the last one"]);
    run.assert_in_order("first", &["handed over 10000 times"]);
}

pub(crate) fn partitions_keep_to_their_own_minor_frames(place: Place) {
    let run = System::described(
        r#"
        [subject.spinner]
        unikernel = "testing/spinner"
        [subject.neighbour]
        unikernel = "testing/heartbeat"
        bootparams = "30 30"
        [[schedule.partition]]
        name = "system"
        groups = [["time"], ["log"], ["supervisor"], ["neighbour"]]
        [[schedule.partition]]
        name = "spinning"
        groups = [["spinner"]]
        [[schedule.cpu]]
        frames = [{ partition = "system", length = "4 ms" }, { partition = "spinning", length = "8 ms" }]
        "#,
    )
    .at(place)
    .boot_until(|said| said.contains("[neighbour] longest time between two beats"));
    run.assert_exit(143);
    run.assert_in_order("neighbour", &["beat 1 of 30", "beat 30 of 30", "longest time between two beats"]);
}
