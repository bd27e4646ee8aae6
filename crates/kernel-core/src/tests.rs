//! The dispatcher's promises, on plans made by hand.

use std::cell::RefCell;

use palisade_abi::plan::{
    Cpu, Frame, Group, Header, NONE, Partition, Plan, SourceEvent, Subject, TargetEvent, source_action,
    source_flags, subject_flags, target_action, trap,
};
use zerocopy::FromZeros;

use crate::clock::Clock;
use crate::device::DeviceRegisters;
use crate::device::tests::Card;
use crate::dispatcher::{Dispatcher, MachineAction, Next, Pages, SubjectId};
use crate::mailbox::Mailboxes;

mod cpus;
mod devices;
mod rendezvous;
mod turns;

/// A TSC of 1 tick per nanosecond and some: 2 ticks a nanosecond, so that nothing is shifted.
const CLOCK: Clock = Clock::new(2_000_000);
/// Ticks of a millisecond.
const MS: u64 = 2_000_000;

const SLEEP: u64 = 1;
const YIELD: u64 = 2;
const POWER_OFF: u64 = 3;
const POKE: u64 = 4;
const RESET: u64 = 5;
const HAND_OVER: u64 = 6;
const TIMER: u64 = 7;
const INTERRUPT: u64 = 8;

/// A system under test: groups of subjects in one partition each, one frame of `lengths` milliseconds per partition.
struct Fixture {
    cpu: Dispatcher<'static>,
    pages: FakePages,
}

#[derive(Default)]
struct FakePages {
    timed: RefCell<Vec<(u64, Option<u8>)>>,
    frames: RefCell<Vec<(u16, u64, u64)>>,
    notified: RefCell<Vec<u16>>,
    card: Card,
}

impl Pages for FakePages {
    fn timed_event(&self, subject: SubjectId) -> Option<(u64, Option<u8>)> {
        self.timed.borrow().get(subject.index()).copied()
    }
    fn clear_timed_event(&self, subject: SubjectId) {
        if let Some(event) = self.timed.borrow_mut().get_mut(subject.index()) {
            event.0 = u64::MAX;
        }
    }
    fn show_frame(&self, partition: u16, start: u64, end: u64) {
        self.frames.borrow_mut().push((partition, start, end));
    }
    fn notify(&self, cpu: u16) {
        self.notified.borrow_mut().push(cpu);
    }
}

impl DeviceRegisters for FakePages {
    fn read(&self, address: u64) -> u32 {
        self.card.read(address)
    }
    fn write(&self, address: u64, value: u32) {
        self.card.write(address, value);
    }
}

fn leak<T>(records: Vec<T>) -> &'static [T] {
    Box::leak(records.into_boxed_slice())
}

/// Every subject signals the next one of the system (the last one the first) with its events.
fn plan(partitions: &[(u32, &[&[u16]])]) -> Plan<'static> {
    let mut frames = Vec::new();
    let mut records = Vec::new();
    let mut groups = Vec::new();
    let mut members = Vec::new();
    let mut subjects = Vec::new();
    let mut end_us = 0;
    for (number, (milliseconds, own)) in partitions.iter().enumerate() {
        end_us += milliseconds * 1000;
        frames.push(Frame { end_us, partition: number as u16, reserved: 0 });
        records.push(Partition {
            first_group: groups.len() as u16,
            groups: own.len() as u16,
            scheduling_info: 0x1000,
            ..Partition::default()
        });
        for group in *own {
            for member in *group {
                let mut subject = Subject::new_zeroed();
                subject.partition = number as u16;
                subject.group = groups.len() as u16;
                subject.flags = subject_flags::AUTOSTART;
                subject.trap_events = [0xff; trap::COUNT];
                subjects.push((*member, subject));
            }
            groups.push(Group { first_member: members.len() as u16, members: group.len() as u16 });
            members.extend_from_slice(group);
        }
    }
    subjects.sort_by_key(|s| s.0);
    let count = subjects.len() as u16;
    let signal = |action, flags, target: u16, target_event| SourceEvent {
        action,
        flags,
        target,
        target_event,
        ..SourceEvent::default()
    };
    let sources = (0..count).map(|id| {
        let next = (id + 1) % count;
        let mut events = [SourceEvent { target: NONE, ..SourceEvent::default() }; 64];
        events[SLEEP as usize] = signal(source_action::SLEEP, 0, NONE, 0);
        events[YIELD as usize] = signal(source_action::YIELD, 0, NONE, 0);
        events[POWER_OFF as usize] = signal(source_action::SYSTEM_POWER_OFF, 0, NONE, 0);
        events[POKE as usize] = signal(source_action::NONE, 0, next, 0);
        events[RESET as usize] = signal(source_action::NONE, 0, next, 1);
        events[HAND_OVER as usize] = signal(source_action::NONE, source_flags::HANDOVER, next, 0);
        events[TIMER as usize] = signal(source_action::NONE, 0, id, 0);
        events[INTERRUPT as usize] = signal(source_action::NONE, 0, next, 2);
        events
    });
    let mut targets = [TargetEvent::default(); 64];
    targets[0].action = target_action::NONE;
    targets[1].action = target_action::RESET;
    targets[2] = TargetEvent { action: target_action::INJECT_INTERRUPT, vector: 0x41 };
    let header = Header { major_frame_us: end_us, ..Header::default() };
    Plan {
        header: Box::leak(Box::new(header)),
        cpus: leak(vec![Cpu { frames: frames.len() as u16, ..Cpu::default() }]),
        frames: leak(frames),
        partitions: leak(records),
        groups: leak(groups),
        members: leak(members),
        source_events: leak(sources.collect()),
        target_events: leak(vec![targets; usize::from(count)]),
        subjects: leak(subjects.into_iter().map(|s| s.1).collect()),
        cpuid: &[],
        code: &[],
        ram: &[],
        clear: &[],
        power_off: &[],
        reset: &[],
        interrupts: &[],
        devices: &[],
        bars: &[],
        msix: &[],
        iommus: &[],
    }
}

impl Fixture {
    fn new(partitions: &[(u32, &[&[u16]])]) -> Self {
        Self::of(plan(partitions))
    }

    fn of(plan: Plan<'static>) -> Self {
        Self::on(plan, 0, Box::leak(Box::new(Mailboxes::new())))
    }

    fn on(plan: Plan<'static>, cpu: u16, boxes: &'static Mailboxes) -> Self {
        let pages = FakePages::default();
        *pages.timed.borrow_mut() = vec![(u64::MAX, None); plan.subjects.len()];
        Self { cpu: Dispatcher::new(plan, cpu, CLOCK, boxes, 0), pages }
    }

    /// The index of the subject that runs at `now`, which is given its initial state if it needs one; `None` if nobody does.
    fn at(&mut self, now: u64) -> Option<usize> {
        match self.cpu.next(now, &self.pages) {
            Next::Run { subject, .. } => {
                self.cpu.take_reset(subject, &self.pages);
                Some(subject.index())
            }
            Next::Idle { .. } => None,
            Next::Machine(action) => panic!("{action:?}"),
        }
    }

    fn running(&mut self, now: u64) -> SubjectId {
        match self.cpu.next(now, &self.pages) {
            Next::Run { subject, .. } => {
                self.cpu.take_reset(subject, &self.pages);
                subject
            }
            other => panic!("{other:?}"),
        }
    }

    /// The subject that runs at `now` raises `event`.
    fn raise(&mut self, now: u64, event: u64) -> Option<MachineAction> {
        let subject = self.running(now);
        self.cpu.raise(subject, event, &self.pages)
    }

    /// Has each of two subjects run once, so that both are past their start.
    fn start_both(&mut self) {
        for _ in 0..2 {
            self.raise(0, YIELD);
        }
    }

    fn set_timer(&self, subject: usize, at: u64, event: u64) {
        self.pages.timed.borrow_mut()[subject] = (at, Some(event as u8));
    }
}

#[test]
fn a_subject_that_never_gives_up_the_cpu_is_followed_by_the_next_group_at_the_frame_change() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1], &[2]])]);
    let order: Vec<_> = (0..6).map(|frame| system.at(frame * 5 * MS)).collect();
    assert_eq!(order[3..], order[..3]);
    let mut first = order[..3].to_vec();
    first.sort();
    assert_eq!(first, [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_sleeping_subject_leaves_the_rest_of_the_frame_to_the_next_group() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let first = system.at(0).unwrap();
    system.raise(0, SLEEP);
    assert_eq!(system.at(1), Some(1 - first));
    system.raise(1, SLEEP);
    assert_eq!(system.at(2), None);
}

#[test]
fn a_frame_belongs_to_its_partition_alone() {
    let mut system = Fixture::new(&[(5, &[&[0]]), (3, &[&[1]])]);
    assert_eq!(system.at(0), Some(0));
    system.raise(1, SLEEP);
    assert_eq!(system.at(2), None, "subject 1 could run, but the time is not its own");
    assert_eq!(system.at(5 * MS), Some(1));
    assert_eq!(system.at(8 * MS), None);
    assert_eq!(*system.pages.frames.borrow(), [(0, 0, 5 * MS), (1, 5 * MS, 8 * MS), (0, 8 * MS, 13 * MS)]);
}

#[test]
fn a_cpu_that_was_held_up_goes_on_in_step_with_the_others() {
    let mut system = Fixture::new(&[(5, &[&[0]]), (3, &[&[1]])]);
    assert_eq!(system.at(0), Some(0));
    assert_eq!(system.at(8 * MS * 1000 + 6 * MS), Some(1));
    assert_eq!(
        system.pages.frames.borrow().last(),
        Some(&(1, 8 * MS * 1000 + 5 * MS, 8 * MS * 1000 + 8 * MS))
    );
}

#[test]
fn an_event_wakes_a_sleeper() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let first = system.at(0).unwrap();
    system.raise(0, SLEEP);
    assert_eq!(system.at(1), Some(1 - first));
    system.raise(1, POKE);
    system.raise(2, SLEEP);
    assert_eq!(system.at(3), Some(first));
}

#[test]
fn an_event_before_the_sleep_is_not_lost() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    system.start_both();
    system.raise(0, POKE);
    system.raise(1, SLEEP);
    let other = system.at(2);
    system.raise(2, SLEEP);
    assert_eq!(system.at(3), other, "the token it was given before it slept makes the sleep return at once");
    system.raise(3, SLEEP);
    assert_eq!(system.at(4), None, "and is used up by that");
}

#[test]
fn a_subject_that_sleeps_for_a_frame_is_awake_in_the_next_one() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    let subject = system.running(0);
    system.cpu.pause(subject, &system.pages);
    assert_eq!(system.at(4 * MS), None);
    assert_eq!(system.at(5 * MS), Some(0));
}

#[test]
fn yielding_gives_the_turn_to_the_next_group_and_comes_back() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let first = system.at(0).unwrap();
    system.raise(0, YIELD);
    assert_eq!(system.at(1), Some(1 - first));
    system.raise(1, YIELD);
    assert_eq!(system.at(2), Some(first));
}

#[test]
fn a_timed_event_fires_at_its_time_and_not_before() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    system.at(0);
    system.set_timer(0, 3 * MS, TIMER);
    system.raise(0, SLEEP);
    assert_eq!(system.cpu.next(3 * MS - 1, &system.pages), Next::Idle { until: 3 * MS });
    assert_eq!(system.at(3 * MS), Some(0));
    assert_eq!(system.pages.timed.borrow()[0].0, u64::MAX, "fired once");
}

#[test]
fn the_timer_is_set_for_a_running_subjects_own_timed_event() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    let subject = system.running(0);
    system.set_timer(0, 2 * MS, INTERRUPT);
    assert_eq!(system.cpu.next(1, &system.pages), Next::Run { subject, until: 2 * MS });
}

#[test]
fn what_the_page_of_a_timed_event_says_before_the_first_start_means_nothing() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    system.pages.timed.borrow_mut()[0] = (0, Some(POWER_OFF as u8));
    let Next::Run { subject, until } = system.cpu.next(1, &system.pages) else { panic!("nobody runs") };
    assert_eq!(until, 5 * MS);
    assert_eq!(system.cpu.take_reset(subject, &system.pages), Some(1));
    assert_eq!(system.pages.timed.borrow()[0].0, u64::MAX);
}

#[test]
fn a_timed_event_with_a_number_that_is_no_event_only_wakes() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    system.at(0);
    system.raise(0, SLEEP);
    system.pages.timed.borrow_mut()[0] = (1, None);
    assert_eq!(system.at(2), Some(0));
}

#[test]
fn undefined_event_numbers_do_nothing() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let subject = system.at(0);
    for number in [0, 9, 63, 64, 64 + SLEEP, 1 << 32, u64::MAX, 1 << 63 | POWER_OFF] {
        assert_eq!(system.raise(1, number), None);
        assert_eq!(system.at(1), subject, "event {number:#x}");
    }
}

#[test]
fn machine_actions_reach_the_kernel_from_hypercalls_and_from_timed_events() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    assert_eq!(system.raise(0, POWER_OFF), Some(MachineAction::PowerOff));
    system.set_timer(0, 1, POWER_OFF);
    assert_eq!(system.cpu.next(1, &system.pages), Next::Machine(MachineAction::PowerOff));
}

#[test]
fn a_handover_runs_the_target_in_place_of_the_raiser_until_it_is_handed_back() {
    let mut system = Fixture::new(&[(5, &[&[0, 1]])]);
    assert_eq!(system.at(0), Some(0));
    system.raise(0, HAND_OVER);
    assert_eq!(system.at(1), Some(1));
    assert_eq!(system.at(5 * MS), Some(1), "frame changes do not hand over");
    system.raise(5 * MS, HAND_OVER);
    assert_eq!(system.at(5 * MS + 1), Some(0));
}

#[test]
fn a_stopped_subject_runs_again_only_after_a_reset() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    let first = system.running(0);
    assert_eq!(system.cpu.stop(first, trap::MEMORY, &system.pages), None);
    let second = system.at(1).unwrap();
    assert_ne!(second, first.index());
    system.raise(1, POKE);
    system.raise(2, SLEEP);
    assert_eq!(system.at(3), None, "an ordinary event does not start it");
    system.set_timer(first.index(), 3, TIMER);
    assert_eq!(system.at(4), None, "nor does its timed event");
    system.set_timer(second, 5, RESET);
    assert_eq!(system.at(5), Some(second));
    system.raise(5, SLEEP);
    let Next::Run { subject, .. } = system.cpu.next(6, &system.pages) else { panic!("nobody runs") };
    assert_eq!(subject, first);
    assert_eq!(system.cpu.take_reset(subject, &system.pages), Some(2), "its second start");
    assert_eq!(system.cpu.take_reset(subject, &system.pages), None);
}

#[test]
fn a_trap_raises_the_event_that_the_plan_maps_it_to() {
    let mut plan = plan(&[(5, &[&[0], &[1]])]);
    let mut subjects = plan.subjects.to_vec();
    for subject in &mut subjects {
        subject.trap_events[usize::from(trap::HALT)] = POWER_OFF as u8;
    }
    plan.subjects = leak(subjects);
    let mut system = Fixture::of(plan);
    let subject = system.running(0);
    assert_eq!(system.cpu.stop(subject, trap::HALT, &system.pages), Some(MachineAction::PowerOff));
}

#[test]
fn a_trap_that_the_plan_maps_to_a_sleep_stops_all_the_same() {
    let mut plan = plan(&[(5, &[&[0], &[1]])]);
    let mut subjects = plan.subjects.to_vec();
    for subject in &mut subjects {
        subject.trap_events[usize::from(trap::MEMORY)] = SLEEP as u8;
    }
    plan.subjects = leak(subjects);
    let mut system = Fixture::of(plan);
    system.start_both();
    let stopped = system.running(0);
    assert_eq!(system.cpu.stop(stopped, trap::MEMORY, &system.pages), None);
    system.raise(1, POKE);
    system.raise(1, SLEEP);
    assert_eq!(system.at(2), None);
}

#[test]
fn a_timed_event_wakes_also_where_it_is_one_that_sleeps() {
    let mut system = Fixture::new(&[(5, &[&[0]])]);
    system.at(0);
    system.set_timer(0, 3, SLEEP);
    system.raise(1, SLEEP);
    assert_eq!(system.at(2), None);
    assert_eq!(system.at(3), Some(0));
}

#[test]
fn a_timed_event_takes_nobody_elses_turn() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    system.start_both();
    let sleeper = system.running(0);
    system.set_timer(sleeper.index(), 2, YIELD);
    system.raise(0, SLEEP);
    let other = system.at(1);
    assert_ne!(other, Some(sleeper.index()));
    assert_eq!(system.at(2), other);
}

#[test]
fn a_timed_event_does_not_hand_over_for_a_member_that_is_not_active() {
    let mut system = Fixture::new(&[(5, &[&[0, 1, 2]])]);
    system.raise(0, HAND_OVER);
    assert_eq!(system.at(1), Some(1));
    system.raise(1, HAND_OVER);
    assert_eq!(system.at(2), Some(2));
    system.set_timer(0, 3, HAND_OVER);
    assert_eq!(system.at(3), Some(2));
}

#[test]
fn interrupts_stay_pending_until_taken() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    system.start_both();
    system.raise(0, INTERRUPT);
    system.raise(1, SLEEP);
    let target = system.running(2);
    assert_eq!(system.cpu.pending_interrupt(target), Some(0x41));
    assert_eq!(system.cpu.pending_interrupt(target), Some(0x41));
    system.cpu.interrupt_taken(target, 0x41);
    assert_eq!(system.cpu.pending_interrupt(target), None);
}

#[test]
fn a_reset_drops_interrupts_and_the_wake_token_of_the_time_before() {
    let mut system = Fixture::new(&[(5, &[&[0], &[1]])]);
    system.start_both();
    for event in [INTERRUPT, POKE, RESET, SLEEP] {
        system.raise(0, event);
    }
    let target = system.running(1);
    assert_eq!(system.cpu.pending_interrupt(target), None);
    system.raise(1, SLEEP);
    assert_eq!(system.at(2), None);
}

#[test]
fn a_subject_without_autostart_waits_for_its_reset() {
    let mut plan = plan(&[(5, &[&[0], &[1]])]);
    let mut subjects = plan.subjects.to_vec();
    subjects[1].flags = 0;
    plan.subjects = leak(subjects);
    let mut system = Fixture::of(plan);
    assert_eq!(system.at(0), Some(0));
    system.raise(0, RESET);
    system.raise(0, SLEEP);
    assert_eq!(system.at(1), Some(1));
}

mod random {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever subjects raise, and however time goes on: nobody runs outside its partition's frames, no running time
        /// reaches beyond the frame, and the CPU never idles while a subject of the partition can run.
        #[test]
        fn nobody_runs_in_anothers_time(steps in prop::collection::vec((0_u64..12, 1_u64..4 * MS), 1..200)) {
            let mut system = Fixture::new(&[(5, &[&[0, 1], &[2]]), (3, &[&[3], &[4]])]);
            let mut now = 0;
            for (event, pause) in steps {
                let in_major = now % (8 * MS);
                let (own, end): (&[usize], u64) =
                    if in_major < 5 * MS { (&[0, 1, 2], now - in_major + 5 * MS) } else { (&[3, 4], now - in_major + 8 * MS) };
                match system.cpu.next(now, &system.pages) {
                    Next::Run { subject, until } => {
                        prop_assert!(own.contains(&subject.index()));
                        prop_assert!(now < until && until <= end);
                        system.cpu.take_reset(subject, &system.pages);
                        match event {
                            POWER_OFF => { system.cpu.pause(subject, &system.pages); }
                            10 => { system.cpu.stop(subject, trap::MEMORY, &system.pages); }
                            11 => system.set_timer(subject.index(), now + pause, TIMER),
                            number => { system.cpu.raise(subject, number, &system.pages); }
                        }
                    }
                    Next::Idle { until } => prop_assert!(now < until && until <= end),
                    Next::Machine(action) => prop_assert!(false, "{action:?}"),
                }
                now += pause;
            }
        }
    }
}
