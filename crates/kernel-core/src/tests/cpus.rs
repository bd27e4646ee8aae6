//! Two CPUs: events between them, and their frames.

use super::*;

/// Subject 0 runs on CPU 0. Subjects 1 and 2 run on CPU 1, in partitions of 2 and 8 milliseconds.
fn two_cpus() -> Plan<'static> {
    let mut plan = plan(&[(10, &[&[0]]), (2, &[&[1]]), (8, &[&[2]])]);
    let frame = |end_us, partition| Frame { end_us, partition, reserved: 0 };
    let cpu = |first_frame, frames| Cpu { first_frame, frames, ..Cpu::default() };
    plan.frames = leak(vec![frame(10_000, 0), frame(2_000, 1), frame(10_000, 2)]);
    plan.cpus = leak(vec![cpu(0, 1), cpu(1, 2)]);
    plan.header = Box::leak(Box::new(Header { major_frame_us: 10_000, ..Header::default() }));
    let mut subjects = plan.subjects.to_vec();
    let mut sources = plan.source_events.to_vec();
    for (id, subject) in subjects.iter_mut().enumerate() {
        subject.cpu = u16::from(id > 0);
        for event in sources[id].iter_mut().filter(|event| event.target != NONE) {
            if (event.target > 0) != (id > 0) {
                event.flags |= source_flags::IPI;
            }
        }
    }
    plan.subjects = leak(subjects);
    plan.source_events = leak(sources);
    plan
}

fn both() -> [Fixture; 2] {
    let boxes: &'static Mailboxes = Box::leak(Box::new(Mailboxes::new()));
    [0, 1].map(|cpu| Fixture::on(two_cpus(), cpu, boxes))
}

#[test]
fn an_event_to_another_cpu_interrupts_it_and_wakes_its_target() {
    let [mut zero, mut one] = both();
    assert_eq!(one.at(0), Some(1));
    one.raise(0, SLEEP);
    assert_eq!(one.at(1), None);
    zero.raise(1, POKE);
    assert_eq!(*zero.pages.notified.borrow(), [1]);
    assert_eq!(one.at(2), Some(1));
}

#[test]
fn events_without_end_interrupt_another_cpu_once_for_each_sleep_of_their_target() {
    let [mut zero, mut one] = both();
    let subject = one.running(0);
    for sleeps in 0..10 {
        for now in 0..1000 {
            zero.raise(now, POKE);
            // Whoever runs there may exit between any two of them.
            one.at(now);
        }
        assert_eq!(zero.pages.notified.borrow().len(), sleeps);
        // The first sleep takes the token of what came before it, the second one is a sleep.
        one.cpu.sleep(subject, &one.pages);
        one.cpu.sleep(subject, &one.pages);
    }
}

#[test]
fn an_event_that_only_wakes_does_not_interrupt_for_a_subject_that_is_awake() {
    let [mut zero, mut one] = both();
    let subject = one.running(0);
    zero.raise(1, POKE);
    assert!(zero.pages.notified.borrow().is_empty());
    one.cpu.sleep(subject, &one.pages);
    assert_eq!(one.at(2), Some(1), "it does not sleep");
}

#[test]
fn interrupts_from_another_cpu_without_end_take_one_exit_in_a_turn_and_arrive_within_it() {
    let [mut zero, mut one] = both();
    let subject = one.running(0);
    for now in 1..4000 {
        zero.raise(now, INTERRUPT);
        if now % 10 == 0 {
            one.at(now);
        }
    }
    assert_eq!(*zero.pages.notified.borrow(), [1], "it was in the first turn");
    assert_eq!(one.cpu.pending_interrupt(subject), Some(0x41));
    // One that comes now interrupts nobody, but the CPU looks when the turn's length is over.
    one.cpu.interrupt_taken(subject, 0x41);
    zero.raise(4000, INTERRUPT);
    let Next::Run { until, .. } = one.cpu.next(3999, &one.pages) else { panic!("nobody runs") };
    assert_eq!(until, MS / 2);
    one.at(until);
    assert_eq!(one.cpu.pending_interrupt(subject), Some(0x41));
    zero.raise(until, INTERRUPT);
    assert_eq!(*zero.pages.notified.borrow(), [1, 1]);
}

#[test]
fn events_that_a_cpu_has_not_looked_at_interrupt_it_once() {
    let [mut zero, mut one] = both();
    let subject = one.running(0);
    for _ in 0..3 {
        zero.raise(1, POKE);
        zero.raise(1, INTERRUPT);
    }
    assert_eq!(*zero.pages.notified.borrow(), [1]);
    one.at(2);
    assert_eq!(one.cpu.pending_interrupt(subject), Some(0x41));
}

#[test]
fn an_event_does_not_take_time_from_another_partition_of_its_targets_cpu() {
    let [mut zero, mut one] = both();
    one.raise(0, SLEEP);
    assert_eq!(one.at(3 * MS), Some(2));
    zero.raise(3 * MS, POKE);
    assert!(zero.pages.notified.borrow().is_empty());
    assert_eq!(one.at(4 * MS), Some(2));
    assert_eq!(one.at(10 * MS), Some(1), "it is awake when its partition has the CPU again");
}

#[test]
fn nobody_interrupts_a_cpu_that_has_not_come_to_its_first_frame() {
    let [mut zero, mut one] = both();
    zero.raise(0, POKE);
    assert!(zero.pages.notified.borrow().is_empty());
    assert_eq!(one.at(0), Some(1));
    zero.raise(1, RESET);
    assert_eq!(*zero.pages.notified.borrow(), [1]);
}

#[test]
fn a_reset_happens_on_the_cpu_of_the_subject() {
    let [mut zero, mut one] = both();
    let subject = one.running(0);
    assert_eq!(one.cpu.take_reset(subject, &one.pages), None);
    zero.raise(1, RESET);
    assert_eq!(one.at(2), Some(1), "and it is given its initial state there");
    one.cpu.next(3, &one.pages);
    assert_eq!(one.cpu.take_reset(subject, &one.pages), None);
}

mod random {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However often and however late two CPUs look at the clock: their frames lie where the plan has them, counted from the
        /// common start.
        #[test]
        fn frames_of_two_cpus_stay_in_step_for_ever(
            steps in prop::collection::vec((0_usize..2, 1_u64..30 * MS), 1..200),
            khz in 900_000_u64..4_000_000,
        ) {
            let clock = Clock::new(khz);
            let boxes: &'static Mailboxes = Box::leak(Box::new(Mailboxes::new()));
            let start = 12_345;
            let mut cpus = [0, 1].map(|cpu| (FakePages::default(), Dispatcher::new(two_cpus(), cpu, clock, boxes, start)));
            let mut now = start;
            for (cpu, pause) in steps {
                let (pages, dispatcher) = &mut cpus[cpu];
                dispatcher.next(now, pages);
                let (partition, from, until) = pages.frames.borrow().last().copied().unwrap();
                let ticks = |us: u64| clock.ticks(us);
                let major = (now - start) / ticks(10_000) * ticks(10_000) + start;
                let switch = major + ticks(2_000);
                let expected = match cpu {
                    0 => (0, major, major + ticks(10_000)),
                    _ if now < switch => (1, major, switch),
                    _ => (2, switch, major + ticks(10_000)),
                };
                let shown = |(p, a, b)| (p, clock.shown(a), clock.shown(b));
                prop_assert_eq!((partition, from, until), shown(expected));
                now += pause;
            }
        }
    }
}
