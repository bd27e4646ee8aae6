//! Who goes when inside a partition.

use super::*;
use crate::turns::TURN_US;

/// Ticks of a turn.
const TURN: u64 = TURN_US * MS / 1000;

#[test]
fn a_turn_ends_when_others_are_ready() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let first = system.at(0).unwrap();
    assert!(matches!(system.cpu.next(0, &system.pages), Next::Run { until: TURN, .. }));
    assert_eq!(system.at(TURN - 1), Some(first));
    assert_eq!(system.at(TURN), Some(1 - first));
}

#[test]
fn who_is_alone_runs_to_the_end_of_the_frame() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    system.start_both();
    system.raise(1, SLEEP);
    assert!(matches!(system.cpu.next(2, &system.pages), Next::Run { until, .. } if until == 5 * MS));
}

#[test]
fn a_timed_event_of_another_subject_fires_when_the_turn_is_over_and_not_at_the_end_of_the_frame() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    system.start_both();
    let sleeper = system.running(0);
    system.set_timer(sleeper.index(), 10, TIMER);
    system.raise(0, SLEEP);
    assert!(matches!(system.cpu.next(1, &system.pages), Next::Run { until, .. } if until == 1 + TURN));
    system.set_timer(sleeper.index(), 3 * MS, TIMER);
    assert!(matches!(system.cpu.next(1, &system.pages), Next::Run { until, .. } if until == 3 * MS));
    assert_eq!(system.at(3 * MS), Some(sleeper.index()), "it has used less than who ran all the time");
}

#[test]
fn yielding_passes_the_turn_on_however_little_was_used() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let first = system.at(0).unwrap();
    system.at(TURN);
    system.raise(TURN + 1, YIELD);
    assert_eq!(system.at(TURN + 2), Some(first));
}

#[test]
fn a_subject_that_never_sleeps_costs_neighbours_which_answer_each_other_no_more_than_its_share() {
    let alone = questions(&[&[0], &[1], &[2]], None);
    let beside = questions(&[&[0], &[1], &[2], &[3]], Some(3));
    assert!(beside * 4 >= alone * 3 - 40, "{beside} beside a spinning subject, {alone} without");
}

#[test]
fn who_slept_long_goes_first_but_not_for_as_long_as_it_slept() {
    let mut system = Fixture::new(&[(1000, &[&[0], &[1]])]);
    system.start_both();
    let sleeper = system.running(0);
    system.raise(0, SLEEP);
    system.set_timer(sleeper.index(), 100 * MS, TIMER);
    let other = 1 - sleeper.index();
    assert_eq!(system.at(1), Some(other));
    let ran = (0..20).map(|turn| system.at(100 * MS + turn * TURN)).filter(|s| *s == Some(other)).count();
    assert!((8..=10).contains(&ran), "{ran} of 20 turns");
}

/// Subjects 0, 1 and 2 wake one another in a circle and work for a twentieth of a turn each; `spinner` never sleeps. How often
/// each got to work within a second.
fn questions(groups: &[&[u16]], spinner: Option<usize>) -> u64 {
    const STEP: u64 = TURN / 20;
    let mut system = Fixture::new(&[(5, groups)]);
    let mut now = 0;
    let mut steps = 0;
    while now < 1000 * MS {
        let Next::Run { subject, until } = system.cpu.next(now, &system.pages) else { panic!("all sleep") };
        system.cpu.take_reset(subject, &system.pages);
        if Some(subject.index()) == spinner {
            now = until;
            continue;
        }
        steps += 1;
        now += STEP;
        // The last of the circle wakes the first, whatever the fixture's own events say.
        system.set_timer((subject.index() + 1) % 3, now, TIMER);
        system.cpu.raise(subject, SLEEP, &system.pages);
    }
    steps / 3
}
