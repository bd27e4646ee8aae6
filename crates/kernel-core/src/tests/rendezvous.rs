//! How CPUs meet at boot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::rendezvous::{Comparison, NoStart, StartLine};

/// A clock that moves on by one whenever somebody looks at it.
fn clock(ticks: &AtomicU64) -> impl Fn() -> u64 {
    || ticks.fetch_add(1, Ordering::SeqCst)
}

fn compare(offset: impl Fn(u64) -> u64 + Sync) -> Option<u64> {
    let (ticks, comparison) = (AtomicU64::new(1_000_000), Comparison::new());
    thread::scope(|scope| {
        scope.spawn(|| comparison.answer(|| offset(clock(&ticks)()), u64::MAX));
        comparison.ask(clock(&ticks), u64::MAX)
    })
}

#[test]
fn counters_that_agree_are_found_to_agree_however_long_an_answer_takes() {
    assert_eq!(compare(|now| now), Some(0));
}

#[test]
fn a_counter_that_is_ahead_or_behind_is_noticed() {
    // How long an answer takes hides some of the difference.
    assert!(matches!(compare(|now| now + 500_000), Some(1..=500_000)));
    assert!(matches!(compare(|now| now - 500_000), Some(1..=500_000)));
    let huge = compare(|now| now + (1 << 40)).unwrap();
    assert!(huge <= 1 << 40 && huge > 1 << 39, "{huge}");
}

#[test]
fn a_cpu_that_does_not_answer_or_ask_is_noticed() {
    let ticks = AtomicU64::new(0);
    assert_eq!(Comparison::new().ask(clock(&ticks), 1000), None);
    assert!(!Comparison::new().answer(clock(&ticks), 1000));
}

#[test]
fn one_comparison_follows_another() {
    let (ticks, comparison) = (AtomicU64::new(0), Comparison::new());
    for _ in 0..3 {
        thread::scope(|scope| {
            scope.spawn(|| comparison.answer(clock(&ticks), u64::MAX));
            assert_eq!(comparison.ask(clock(&ticks), u64::MAX), Some(0));
        });
    }
}

#[test]
fn all_cpus_start_at_the_same_time_and_nobody_before_it() {
    let (ticks, line) = (AtomicU64::new(0), StartLine::new());
    let starts: Vec<_> = thread::scope(|scope| {
        let wait = |number| {
            let start = line.wait(number, 3, clock(&ticks), 50, u64::MAX).unwrap();
            assert!(ticks.load(Ordering::SeqCst) > start);
            start
        };
        let cpus = [0, 1, 2].map(|number| scope.spawn(move || wait(number)));
        cpus.into_iter().map(|cpu| cpu.join().unwrap()).collect()
    });
    assert!(starts.iter().all(|start| *start == starts[0] && *start >= 50), "{starts:?}");
}

#[test]
fn a_cpu_that_does_not_come_is_named_by_the_first_one_and_whoever_comes_after_that_leaves() {
    let (ticks, line) = (AtomicU64::new(0), StartLine::new());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| line.wait(1, 3, clock(&ticks), 50, 0));
        while line.ready() != 0b10 {
            thread::yield_now();
        }
        assert_eq!(line.wait(0, 3, clock(&ticks), 50, 1000), Err(NoStart::Missing(2)));
        assert_eq!(
            waiting.join().unwrap(),
            Err(NoStart::Closed),
            "it waits for as long as nobody closes the line"
        );
    });
    assert_eq!(line.wait(2, 3, clock(&ticks), 50, 1000), Err(NoStart::Closed));
}

#[test]
fn a_line_is_not_closed_any_more_when_all_have_come() {
    let (ticks, line) = (AtomicU64::new(0), StartLine::new());
    assert_eq!(line.wait(0, 1, clock(&ticks), 50, 0), Ok(50));
    assert!(!line.close());
    let never = StartLine::new();
    assert!(never.close() && never.close());
    assert_eq!(never.wait(0, 1, clock(&ticks), 50, 0), Err(NoStart::Closed));
}

#[test]
fn a_single_cpu_waits_for_nobody() {
    let ticks = AtomicU64::new(7);
    assert_eq!(StartLine::new().wait(0, 1, clock(&ticks), 50, 0), Ok(57));
}
