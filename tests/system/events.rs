//! Events between subjects, timed events, interrupts.

use crate::harness::{Place, System};

pub(crate) fn a_timed_event_never_wakes_its_subject_too_early(place: Place) {
    let run = System::described("[subject.timed]\nunikernel = \"testing/timed\"").at(place).boot();
    run.assert_exit(0);
    run.assert_in_order(
        "timed",
        &["slept 1 ms, late by ", "slept 200 ms, late by ", "woke too early 0 times"],
    );
}

pub(crate) fn a_timed_event_fires_beside_a_subject_that_never_sleeps(place: Place) {
    let run = System::described(
        "[subject.spinner]\nunikernel = \"testing/spinner\"\n[subject.timed]\nunikernel = \"testing/timed\"",
    )
    .at(place)
    .boot_until(|said| said.contains("[timed] woke too early "));
    run.assert_exit(143);
    run.assert_in_order("timed", &["woke too early 0 times"]);
}

pub(crate) fn an_event_can_inject_an_interrupt_into_another_subject(place: Place) {
    let run = System::described(
        r#"
        [subject.sender]
        unikernel = "testing/interrupts"
        bootparams = "send 25 100"
        [subject.receiver]
        unikernel = "testing/interrupts"
        bootparams = "receive 64 25"
        [[event]]
        from = "sender:poke"
        to = "receiver:poked"
        arrival = "inject:64"
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(0);
    run.assert_in_order("sender", &["sent 25 interrupts"]);
    run.assert_in_order("receiver", &["received 25 interrupts at vector 64"]);
}

pub(crate) fn an_event_can_start_another_subject_anew(place: Place) {
    let run = System::described(
        r#"
        [subject.patient]
        unikernel = "testing/ends"
        ram = "1 MiB"
        [subject.doctor]
        unikernel = "testing/interrupts"
        bootparams = "send 3 1000"
        [[event]]
        from = "doctor:poke"
        to = "patient:started"
        arrival = "reset"
        "#,
    )
    .at(place)
    .boot_until(|said| {
        let starts = said.matches("[patient] Solo5: Bindings version").count();
        said.contains("[doctor] sent 3 interrupts") && starts >= 4
    });
    run.assert_exit(143);
    let starts =
        run.lines("patient").iter().filter(|line| line.starts_with("Solo5: Bindings version")).count();
    assert_eq!(starts, 4, "{run}");
}
