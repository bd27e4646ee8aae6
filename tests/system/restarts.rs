//! Restarts: a subject that fails is started anew, with its memory as at the first start.

use crate::harness::{Place, System};

pub(crate) fn a_subject_that_faults_ten_times_finds_its_memory_pristine_each_time(place: Place) {
    let run = System::described(
        r#"
        [subject.crasher]
        unikernel = "testing/crasher"
        bootparams = "11"
        restart = "on-failure"
        backoff = "1 ms"
        backoff_max = "10 ms"
        ram = "4 MiB"
        [subject.neighbour]
        unikernel = "testing/heartbeat"
        bootparams = "20 20"
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(0);
    for generation in 1..=11 {
        run.assert_in_order("crasher", &[&format!("generation {generation}: memory is pristine")]);
    }
    for generation in 2..=11 {
        let restart = format!("crasher: restarting, generation {generation}");
        run.assert_in_order("supervisor", &["crasher: faulted: invalid opcode", &restart]);
    }
    run.assert_in_order("supervisor", &["crasher: exited with status 0"]);
    run.assert_in_order("neighbour", &["beat 20 of 20"]);
    assert_eq!(run.subject("crasher")["generation"], 11, "{run}");
}

pub(crate) fn a_subject_that_is_never_restarted_stays_stopped(place: Place) {
    let run = System::described("[subject.crasher]\nunikernel = \"testing/crasher\"").at(place).boot();
    run.assert_exit(121);
    assert!(!run.lines("supervisor").iter().any(|line| line.contains("restarting")), "{run}");
}

pub(crate) fn a_subject_that_is_always_restarted_starts_anew_after_success_too(place: Place) {
    let run = System::described(
        r#"
        [subject.a]
        unikernel = "testing/ends"
        bootparams = "0"
        restart = "always"
        backoff = "1 ms"
        "#,
    )
    .at(place)
    .boot_until(|said| said.contains("[supervisor] a: restarting, generation 3"));
    run.assert_exit(143);
    run.assert_in_order(
        "supervisor",
        &["a: exited with status 0", "a: restarting, generation 2", "a: restarting, generation 3"],
    );
}
