//! Events, channels and rights between processes.

use palisade_hosted::{Effect, End, Error, Happening, Next, Trace, Traffic};

use crate::systems::{run_to_end, system, trace, watch};

#[test]
fn a_timed_event_never_wakes_its_subject_too_early() {
    let outcome = run_to_end(&system("[subject.timed]\nunikernel = \"timed\""));
    assert!(outcome.said("[timed] woke too early 0 times"), "{outcome:#?}");
    assert!(outcome.said("[supervisor] timed: exited with status 0"), "{outcome:#?}");
}

#[test]
fn an_event_starts_another_subject_anew() {
    let description = system(
        "[subject.patient]\nunikernel = \"ends\"\n[subject.doctor]\nunikernel = \"raise\"\nbootparams = \"wake_up\"\n\
         [[event]]\nfrom = \"doctor:wake_up\"\nto = \"patient:started\"\narrival = \"reset\"",
    );
    let outcome = watch(&description, |happening, _| match happening {
        Happening::Started { generation: 2, .. } => Next::End,
        _ => Next::Continue,
    });
    assert!(matches!(outcome.end, Ok(End::Stopped)), "{outcome:#?}");
    let [(patient, 1, first), .., (again, 2, second)] = outcome.started[..] else {
        panic!("{:?}", outcome.started)
    };
    assert_eq!(patient, again);
    assert_ne!(first, second, "it has a new process");
}

#[test]
fn a_right_to_end_the_system_ends_it() {
    for (right, event, end) in [
        ("power-off", "system_power_off", End::PowerOff),
        ("reset", "system_reset", End::Reset),
        ("panic", "system_panic", End::Panic("raise".to_owned())),
    ] {
        let outcome = run_to_end(&system(&format!(
            "[subject.other]\nunikernel = \"ends\"\n\
             [subject.raise]\nunikernel = \"raise\"\nbootparams = \"{event}\"\nrights = [\"{right}\"]"
        )));
        assert_eq!(outcome.end.as_ref().ok(), Some(&end), "{outcome:#?}");
        assert!(outcome.said(&format!("[raise] raising {event}")), "{outcome:#?}");
    }
}

#[test]
fn a_right_that_a_subject_does_not_have_is_not_there() {
    let outcome =
        run_to_end(&system("[subject.raise]\nunikernel = \"raise\"\nbootparams = \"system_power_off\""));
    assert!(outcome.said("[raise] there is no event `system_power_off`"), "{outcome:#?}");
}

#[test]
fn two_subjects_share_a_channel() {
    let outcome = run_to_end(&system(
        "[subject.feeder]\nunikernel = \"feeder\"\nbootparams = \"numbers 100 10\"\n\
         [subject.reader]\nunikernel = \"attacker\"\nbootparams = \"write-read-only-channel numbers\"\n\
         [[channel]]\nname = \"numbers\"\nwriter = \"feeder:numbers\"\nreader = \"reader:numbers\"\nsize = \"64 KiB\"",
    ));
    assert!(outcome.said("[feeder] wrote 100 elements to a channel for 43"), "{outcome:#?}");
    let fault = "[supervisor] reader: faulted: memory: write to ";
    let report = outcome.lines.iter().find(|line| line.starts_with(fault));
    assert!(report.is_some_and(|line| line.contains(" not permitted at rip ")), "{outcome:#?}");
}

#[test]
fn events_and_frames_are_seen_on_request() {
    let description = system(
        "[subject.patient]\nunikernel = \"ends\"\n[subject.doctor]\nunikernel = \"raise\"\nbootparams = \"wake_up\"\n\
         [[event]]\nfrom = \"doctor:wake_up\"\nto = \"patient:started\"\narrival = \"reset\"\n\
         [subject.feeder]\nunikernel = \"feeder\"\nbootparams = \"numbers 100 10\"\n\
         [subject.reader]\nunikernel = \"ends\"\n\
         [[channel]]\nname = \"numbers\"\nwriter = \"feeder:numbers\"\nreader = \"reader:numbers\"\nsize = \"64 KiB\"",
    );
    let (mut restarts, mut frames, mut log) = (0, 0, 0);
    let outcome = trace(&description, |happening, lines| {
        if let Happening::Trace(Trace { from, to, name, traffic, .. }) = happening {
            match (*from, *to, *name, traffic) {
                ("doctor", "patient", "wake_up", Traffic::Event { effect: Effect::Restarts, times }) => {
                    restarts += times;
                }
                ("feeder", "reader", "numbers", Traffic::Frame { length: 8, .. }) => frames += 1,
                ("feeder", "reader", "numbers", Traffic::Unseen { frames: unseen }) => frames += unseen,
                (_, "log", _, Traffic::Event { effect: Effect::Wakes, .. }) => log += 1,
                _ => {}
            }
        }
        let said =
            lines.iter().any(|line| line.starts_with("[feeder] wrote 100 elements to a channel for 43"));
        if said && restarts > 0 && frames >= 100 { Next::End } else { Next::Continue }
    });
    assert!(matches!(outcome.end, Ok(End::Stopped)), "{outcome:#?}");
    assert_eq!(frames, 100);
    assert!(log > 0);
    // It took its way: the patient has a second life.
    assert!(outcome.started.iter().any(|(_, generation, _)| *generation == 2), "{outcome:#?}");
}

#[test]
fn exceptions_go_to_whom_the_description_names() {
    let subject = |name: &str, who: &str| {
        format!(
            "[subject.{name}]\nunikernel = \"attacker\"\nbootparams = \"null-write\"\nexceptions = \"{who}\"\n"
        )
    };
    let outcome = run_to_end(&system(&format!("{}{}", subject("own", "guest"), subject("other", "kernel"))));
    let traps = |name: &str| {
        outcome.lines.iter().filter(|l| l.starts_with(&format!("[{name}] Solo5: trap: "))).count()
    };
    assert_eq!((traps("own"), traps("other")), (2, 0), "{outcome:#?}");
    for name in ["own", "other"] {
        let fault = format!("[supervisor] {name}: faulted: memory: write to 0x0 not mapped at rip 0x");
        assert!(outcome.lines.iter().any(|line| line.starts_with(&fault)), "{name}: {outcome:#?}");
    }
    let trap = "[own] Solo5: trap: #PF page fault, error code 0x2, rip 0x";
    assert!(outcome.lines.iter().any(|line| line.starts_with(trap)), "{outcome:#?}");
}

#[test]
fn a_unikernel_that_needs_ring_0_is_refused() {
    let outcome = run_to_end(&system("[subject.probe]\nunikernel = \"legacy-4\"\nbootparams = \"trap\""));
    let Err(error @ Error::NeedsMachine { .. }) = &outcome.end else { panic!("{outcome:#?}") };
    assert_eq!(
        error.to_string(),
        "\"probe\" is a unikernel of another build, which needs ring 0 of a processor; `palisade boot` runs it"
    );
}
