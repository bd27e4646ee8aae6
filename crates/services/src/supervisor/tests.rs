use std::sync::atomic::AtomicU64;

use palisade_abi::plan::{padded, trap};
use palisade_abi::status::Abort;

use super::*;

const EVENT: u8 = 7;

fn record(restart: Restart) -> Record {
    Record {
        name: padded("hello"),
        subject: 3,
        restart: restart as u8,
        reset_event: EVENT,
        unikernel: 1,
        has_status: 1,
        reserved: 0,
        backoff_ms: 100,
        backoff_max_ms: 1000,
    }
}

fn running(generation: u64) -> Observation {
    Observation { generation, refused: 0, ending: None }
}

fn ended(generation: u64, ending: Ending) -> Observation {
    Observation { generation, refused: 0, ending: Some(ending) }
}

fn fault() -> Ending {
    Ending::Faulted(Cause::new().str("triple fault"))
}

/// Lets a subject that faults at once be restarted, and returns the waits in milliseconds.
fn waits(unit: &mut Unit, record: &Record, faults: u64) -> Vec<u64> {
    let mut now = 1;
    (1..=faults)
        .map(|generation| {
            assert!(matches!(
                unit.step(record, ended(generation, fault()), now),
                Step::Report(Ending::Faulted(_))
            ));
            let until = unit.deadline().unwrap();
            assert!(matches!(unit.step(record, ended(generation, fault()), until - 1), Step::Nothing));
            let Step::Restart { event: EVENT, generation: next } =
                unit.step(record, ended(generation, fault()), until)
            else {
                panic!("no restart")
            };
            assert_eq!(next, generation + 1);
            let wait = until - now;
            now = until;
            wait / MILLISECOND
        })
        .collect()
}

#[test]
fn an_end_is_reported_once() {
    let (mut unit, record) = (Unit::new(), record(Restart::Never));
    assert!(matches!(unit.step(&record, running(1), 0), Step::Nothing));
    assert!(matches!(unit.step(&record, ended(1, Ending::Exited(3)), 1), Step::Report(Ending::Exited(3))));
    assert!(matches!(unit.step(&record, ended(1, Ending::Exited(3)), 2), Step::Nothing));
    assert_eq!(unit.deadline(), None);
}

#[test]
fn the_policy_decides_who_is_restarted() {
    for (restart, ending, expected) in [
        (Restart::Never, fault(), false),
        (Restart::OnFailure, fault(), true),
        (Restart::OnFailure, Ending::Exited(1), true),
        (Restart::OnFailure, Ending::Exited(0), false),
        (Restart::OnFailure, Ending::Halted, false),
        (Restart::Always, Ending::Exited(0), true),
        (Restart::Always, Ending::Halted, true),
    ] {
        let mut unit = Unit::new();
        let name = format!("{restart:?} {ending:?}");
        let _ = unit.step(&record(restart), ended(1, ending), 0);
        assert_eq!(unit.deadline().is_some(), expected, "{name}");
    }
    let mut unit = Unit::new();
    let _ = unit.step(&Record { reset_event: NO_EVENT, ..record(Restart::Always) }, ended(1, fault()), 0);
    assert_eq!(unit.deadline(), None);
}

#[test]
fn the_wait_doubles_up_to_its_maximum() {
    let mut unit = Unit::new();
    assert_eq!(waits(&mut unit, &record(Restart::Always), 6), [100, 200, 400, 800, 1000, 1000]);
    let many = waits(&mut Unit::new(), &record(Restart::Always), 100);
    assert_eq!(many.last(), Some(&1000));
    let eager = Record { backoff_ms: 0, ..record(Restart::Always) };
    assert_eq!(waits(&mut Unit::new(), &eager, 3), [0, 0, 0]);
}

#[test]
fn a_subject_that_ran_well_starts_with_the_shortest_wait_again() {
    let (mut unit, record) = (Unit::new(), record(Restart::Always));
    waits(&mut unit, &record, 5);
    let now = unit.started + 2001 * MILLISECOND;
    let _ = unit.step(&record, ended(6, fault()), now);
    assert_eq!(unit.deadline(), Some(now + 100 * MILLISECOND));
}

#[test]
fn an_old_report_does_not_count_after_a_restart() {
    let (mut unit, record) = (Unit::new(), record(Restart::Always));
    waits(&mut unit, &record, 1);
    assert!(matches!(unit.step(&record, ended(1, fault()), 1), Step::Nothing));
    assert!(matches!(unit.step(&record, running(2), 1), Step::Nothing));
    assert!(matches!(unit.step(&record, ended(2, Ending::Exited(0)), 1), Step::Report(Ending::Exited(0))));
}

#[test]
fn whoever_was_started_by_others_while_he_waited_is_not_started_again() {
    let (mut unit, record) = (Unit::new(), record(Restart::Always));
    let _ = unit.step(&record, ended(1, fault()), 0);
    let until = unit.deadline().unwrap();
    assert!(matches!(unit.step(&record, running(2), until - 1), Step::Nothing));
    assert_eq!(unit.deadline(), None);
    assert!(matches!(unit.step(&record, running(2), until), Step::Nothing));
    assert!(matches!(unit.step(&record, ended(2, fault()), until), Step::Report(Ending::Faulted(_))));
    // One that has ended again before anybody looked is another end to deal with.
    assert!(matches!(unit.step(&record, ended(3, fault()), until), Step::Report(Ending::Faulted(_))));
}

#[test]
fn the_system_is_over_when_all_unikernels_are() {
    let mut units = [Unit::new(); MAX_SUBJECTS];
    let service = Record { unikernel: 0, ..record(Restart::Never) };
    let records = [service, record(Restart::Never), record(Restart::OnFailure)];
    let _ = units[1].step(&records[1], ended(1, Ending::Exited(0)), 0);
    let _ = units[2].step(&records[2], ended(1, fault()), 0);
    assert!(!all_ended(&records, &units));
    let until = units[2].deadline().unwrap();
    let _ = units[2].step(&records[2], ended(1, fault()), until);
    let _ = units[2].step(&records[2], ended(2, Ending::Exited(0)), until);
    assert!(all_ended(&records, &units));
    assert!(!all_ended(&[service], &units));
}

#[test]
fn a_system_is_not_over_while_somebody_runs_whom_another_has_started_anew() {
    let mut units = [Unit::new(); MAX_SUBJECTS];
    let records = [record(Restart::Never); 2];
    let _ = units[0].step(&records[0], ended(1, Ending::Exited(0)), 0);
    assert!(matches!(units[0].step(&records[0], running(2), 1), Step::Nothing));
    let _ = units[1].step(&records[1], ended(1, Ending::Exited(0)), 2);
    assert!(!all_ended(&records, &units));
    let end = units[0].step(&records[0], ended(2, Ending::Exited(3)), 3);
    assert!(matches!(end, Step::Report(Ending::Exited(3))));
    assert!(all_ended(&records, &units));
}

#[test]
fn the_log_is_waited_for_but_not_forever() {
    let drain = Drain::begin(10, 0);
    assert!(!drain.is_over(11, 0));
    assert!(drain.is_over(12, 0));
    assert!(drain.is_over(10, LONGEST_DRAIN));
}

#[test]
fn an_ending_is_what_kernel_and_subject_say_together() {
    let report: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
    let status: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
    let (reports, page) = (Shared::from(report.as_slice()), StatusPage(Shared::from(status.as_slice())));
    let set = |state: State, trap: u8| {
        let record = SubjectReport {
            state: state as u32,
            trap: u32::from(trap),
            generation: 2,
            ..SubjectReport::default()
        };
        reports.copy_in(3 * 64, record.as_bytes()).unwrap();
    };
    let text = || match Observation::take(&reports, 3, Some(page)).unwrap().ending {
        None => "running".to_owned(),
        Some(Ending::Exited(code)) => format!("exited {code}"),
        Some(Ending::Halted) => "halted".to_owned(),
        Some(Ending::Faulted(cause)) => cause.as_str().to_owned(),
    };
    set(State::Running, 0);
    page.begin(2).unwrap();
    page.exit(4).unwrap();
    assert_eq!(text(), "running");
    set(State::Halted, trap::HALT);
    assert_eq!(text(), "exited 4");
    set(State::Faulted, trap::TRIPLE_FAULT);
    assert_eq!(text(), "triple fault at rip 0x0");
    set(State::Halted, trap::HALT);
    page.abort(&Abort { vector: 6, error_code: 0, rip: 0x20_0000, fault_address: 0 }).unwrap();
    assert_eq!(text(), "invalid opcode at rip 0x200000");
    page.begin(1).unwrap();
    page.exit(0).unwrap();
    assert_eq!(text(), "halted");
    assert!(Observation::take(&reports, 64, None).is_none());
}

#[test]
fn refusals_are_told_at_first_and_then_whenever_they_have_doubled() {
    let mut unit = Unit::new();
    let mut told = |refused| unit.refusals(&Observation { refused, ..running(1) });
    let counts = [0, 3, 3, 5, 6, 11, 12, 1000, 1001];
    let expected = [None, Some(3), None, None, Some(6), None, Some(12), Some(1000), None];
    assert_eq!(counts.map(&mut told), expected);
}
