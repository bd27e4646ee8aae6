//! A driver and its neighbours, on a machine with one card.

use palisade_abi::plan::device_stop;

use super::*;
use crate::device::Function;
use crate::device::tests::plan_with_card;

const START_DEVICE: u64 = 20;
/// Vectors of the card: the first wakes its owner, the second is also injected.
const WAKE: u8 = 0x30;
const INJECT: u8 = 0x31;

/// The subjects of `plan` with the card of `plan_with_card`, whose owner is subject 0; it was set up, and everybody was started.
fn system(partitions: &[(u32, &[&[u16]])], stop: u32) -> Fixture {
    let (mut plan, card) = (plan(partitions), plan_with_card());
    let mut device = card.devices[0];
    device.stop = stop;
    plan.devices = leak(vec![device]);
    (plan.interrupts, plan.bars, plan.msix) = (card.interrupts, card.bars, card.msix);
    let mut events = plan.source_events.to_vec();
    for own in &mut events {
        let start =
            SourceEvent { action: source_action::START_DEVICE, target: NONE, ..SourceEvent::default() };
        own[START_DEVICE as usize] = start;
    }
    plan.source_events = leak(events);
    let system = Fixture::of(plan);
    Function::new(&plan, &plan.devices[0], &system.pages.card).set_up().expect("the card is the plan's");
    system
}

/// A driver alone on its CPU, running.
fn driver(stop: u32) -> (Fixture, SubjectId) {
    let mut system = system(&[(5, &[&[0]])], stop);
    let driver = system.running(0);
    (system, driver)
}

impl Fixture {
    fn interrupt(&mut self, vector: u8) {
        self.cpu.interrupt(vector, &self.pages);
    }

    fn masked(&self) -> [bool; 3] {
        [0, 1, 2].map(|entry| self.pages.card.is_masked(entry))
    }
}

#[test]
fn a_device_reaches_memory_when_its_driver_says_so_and_not_before() {
    let (mut system, _) = driver(device_stop::BUS_MASTER);
    assert!(!system.pages.card.reaches_memory());
    system.raise(1, START_DEVICE);
    assert!(system.pages.card.reaches_memory());
}

#[test]
fn a_device_is_stopped_with_its_driver_and_started_by_nothing_that_the_driver_left_behind() {
    let (mut system, driver) = driver(device_stop::BUS_MASTER);
    system.raise(1, START_DEVICE);
    system.cpu.stop(driver, trap::MEMORY, &system.pages);
    assert!(!system.pages.card.reaches_memory());
    system.cpu.raise(driver, START_DEVICE, &system.pages);
    system.set_timer(0, 2, START_DEVICE);
    assert_eq!(system.at(3), None);
    assert!(!system.pages.card.reaches_memory());
    assert_eq!(system.masked(), [true; 3]);
}

#[test]
fn a_device_is_stopped_before_its_drivers_memory_is_restored() {
    let mut system = system(&[(5, &[&[0], &[1]])], device_stop::BUS_MASTER);
    system.start_both();
    let other = SubjectId::from_plan(1);
    system.cpu.raise(SubjectId::from_plan(0), START_DEVICE, &system.pages);
    assert!(system.pages.card.reaches_memory());
    system.cpu.raise(other, RESET, &system.pages);
    system.cpu.next(1, &system.pages);
    assert!(!system.pages.card.reaches_memory(), "when it is decided that somebody runs, the card is quiet");
}

#[test]
fn a_device_that_needs_time_for_its_reset_keeps_its_driver_from_starting_and_nobody_else() {
    let mut system = system(&[(5, &[&[0], &[1]])], device_stop::ALL);
    system.start_both();
    let other = SubjectId::from_plan(1);
    system.cpu.raise(SubjectId::from_plan(0), SLEEP, &system.pages);
    system.cpu.raise(other, RESET, &system.pages);
    assert_eq!(system.at(MS), Some(1));
    system.pages.card.forget();
    let writes = system.pages.card.writes();
    system.interrupt(WAKE); // it was under way
    system.cpu.raise(other, RESET, &system.pages);
    system.cpu.raise(other, SLEEP, &system.pages);
    assert_eq!(system.at(2 * MS), None, "a second reset changes nothing");
    assert_eq!(system.at(100 * MS), None);
    assert_eq!(system.pages.card.writes(), writes, "nobody touches a card that is being reset");
    assert_eq!(system.cpu.next(101 * MS - 1, &system.pages), Next::Idle { until: 101 * MS });
    assert_eq!(system.at(101 * MS), Some(0));
    assert_eq!(system.masked(), [true; 3]);
    system.raise(101 * MS, START_DEVICE);
    assert!(system.pages.card.reaches_memory());
}

#[test]
fn an_interrupt_wakes_its_driver_at_once_if_the_cpu_is_idle() {
    let (mut system, _) = driver(device_stop::BUS_MASTER);
    system.raise(1, SLEEP);
    assert_eq!(system.at(2), None);
    system.interrupt(WAKE);
    assert_eq!(system.at(3), Some(0));
}

#[test]
fn a_driver_that_an_interrupt_woke_waits_until_the_group_that_runs_sleeps() {
    let mut system = system(&[(5, &[&[0], &[1]])], device_stop::BUS_MASTER);
    system.start_both();
    system.cpu.raise(SubjectId::from_plan(0), SLEEP, &system.pages);
    assert_eq!(system.at(1), Some(1));
    system.interrupt(WAKE);
    assert_eq!(
        system.at(2),
        Some(1),
        "it is not cut short: what it sends meanwhile, the driver finds in one go"
    );
    system.raise(3, SLEEP);
    assert_eq!(system.at(4), Some(0));
}

#[test]
fn an_interrupt_is_masked_until_its_driver_really_sleeps() {
    let (mut system, _) = driver(device_stop::BUS_MASTER);
    assert_eq!(system.masked(), [true; 3], "at the start");
    system.raise(1, SLEEP);
    assert_eq!(system.masked(), [false; 3]);
    system.interrupt(WAKE);
    assert_eq!(system.masked(), [true, false, false]);
    system.at(2);
    system.interrupt(INJECT);
    system.raise(3, SLEEP);
    assert_eq!(system.masked(), [true, true, false], "it was woken meanwhile, so it does not sleep");
    system.raise(4, SLEEP);
    assert_eq!(system.masked(), [false; 3]);
}

#[test]
fn a_pause_is_a_sleep_also_to_interrupts() {
    let (mut system, driver) = driver(device_stop::BUS_MASTER);
    system.cpu.pause(driver, &system.pages);
    assert_eq!(system.masked(), [false; 3]);
}

#[test]
fn a_device_that_never_stops_interrupting_costs_one_interrupt_for_each_sleep_of_its_driver() {
    let (mut system, _) = driver(device_stop::BUS_MASTER);
    let (mut interrupts, mut sleeps) = (0, 0);
    for step in 1..200 {
        if !system.pages.card.is_masked(0) {
            system.interrupt(WAKE);
            interrupts += 1;
        }
        if system.at(step).is_some() && step % 3 == 0 {
            system.raise(step, SLEEP);
            sleeps += u32::from(!system.pages.card.is_masked(0));
        }
    }
    assert!(sleeps > 10 && interrupts <= sleeps, "{interrupts} interrupts, {sleeps} sleeps");
}

#[test]
fn an_interrupt_with_a_vector_of_the_drivers_is_injected_too() {
    let (mut system, driver) = driver(device_stop::BUS_MASTER);
    system.interrupt(WAKE);
    assert_eq!(system.cpu.pending_interrupt(driver), None);
    system.interrupt(INJECT);
    assert_eq!(system.cpu.pending_interrupt(driver), Some(0x41));
}

#[test]
fn an_interrupt_that_is_nobodys_changes_nothing() {
    let (mut system, driver) = driver(device_stop::BUS_MASTER);
    system.raise(1, SLEEP);
    let writes = system.pages.card.writes();
    for vector in [0, 0x2f, 0x33, 0xef, 0xf0, 0xff] {
        system.interrupt(vector);
    }
    assert_eq!(system.at(2), None);
    assert_eq!(system.cpu.pending_interrupt(driver), None);
    assert_eq!(system.pages.card.writes(), writes);
}

#[test]
fn an_interrupt_of_before_the_reset_says_nothing_to_the_driver_after_it() {
    let mut system = system(&[(5, &[&[0], &[1]])], device_stop::BUS_MASTER);
    system.start_both();
    system.interrupt(INJECT);
    system.cpu.raise(SubjectId::from_plan(1), RESET, &system.pages);
    system.cpu.raise(SubjectId::from_plan(1), SLEEP, &system.pages);
    let driver = system.running(1);
    assert_eq!((driver.index(), system.cpu.pending_interrupt(driver)), (0, None));
    system.raise(2, SLEEP);
    assert_eq!(system.at(3), None, "nor does it wake it");
    assert_eq!(system.masked(), [false; 3]);
}

#[test]
fn a_pause_raises_the_event_that_the_plan_gives_for_it() {
    let mut plan = plan(&[(5, &[&[0], &[1]])]);
    let mut subjects = plan.subjects.to_vec();
    subjects[1].trap_events[usize::from(trap::PAUSE)] = POKE as u8;
    plan.subjects = leak(subjects);
    let mut system = Fixture::of(plan);
    system.start_both();
    system.cpu.raise(SubjectId::from_plan(0), SLEEP, &system.pages);
    let polls = system.running(1);
    assert_eq!(polls.index(), 1);
    assert_eq!(system.cpu.pause(polls, &system.pages), None);
    assert_eq!(system.at(2), Some(0), "the event wakes its target");
    system.raise(2, SLEEP);
    assert_eq!(system.at(3), None, "and the one that paused sleeps");
}
