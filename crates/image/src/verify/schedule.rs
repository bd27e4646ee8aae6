//! Time and events: who runs when, and who can signal whom.

use std::collections::BTreeSet;

use palisade_abi::layout::MAX_EVENTS;
use palisade_abi::plan::{NONE, SourceEvent, slice, source_action, source_flags, target_action, trap};

use super::System;
use super::devices;
use super::rules::{EVENTS_CLOSED, Findings, MACHINE_RIGHTS, PAUSE_WAKES, SCHEDULE_FITS};
use super::subjects::Subject;

/// Checks the schedule and the events.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    check_frames(system, findings);
    check_groups(system, findings);
    for subject in &system.subjects {
        check_traps(system, subject, findings);
        check_pause(system, subject, findings);
        for (number, event) in system.plan.source_events.get(subject.id).into_iter().flatten().enumerate() {
            if event.action != source_action::UNDEFINED {
                check_event(system, subject, number, event, findings);
                devices::check_start(system, subject, number, findings);
            }
        }
    }
}

fn check_frames(system: &System<'_>, findings: &mut Findings) {
    let plan = system.plan;
    let mut scheduled = BTreeSet::new();
    for (number, cpu) in plan.cpus.iter().enumerate() {
        let mut start = 0;
        for frame in slice(plan.frames, cpu.first_frame, cpu.frames) {
            let length = frame.end_us.saturating_sub(start);
            findings.require(length >= MINIMUM_FRAME_US, &SCHEDULE_FITS, || {
                format!("CPU {number}: the frame that ends at {} us is only {length} us long", frame.end_us)
            });
            start = frame.end_us;
            scheduled.insert(frame.partition);
        }
        findings.require(start == plan.header.major_frame_us, &SCHEDULE_FITS, || {
            format!("CPU {number}: its frames end at {start} us, not with the major frame")
        });
    }
    for (number, _) in plan.partitions.iter().enumerate() {
        findings.require(scheduled.iter().any(|p| usize::from(*p) == number), &SCHEDULE_FITS, || {
            format!("partition {number} has no frame")
        });
    }
}

fn check_groups(system: &System<'_>, findings: &mut Findings) {
    let plan = system.plan;
    // How often each subject is a member of its own group, and of any group at all, over all partitions.
    let mut as_planned = vec![0; plan.subjects.len()];
    let mut anywhere = vec![0; plan.subjects.len()];
    for (partition, record) in plan.partitions.iter().enumerate() {
        let first = usize::from(record.first_group);
        for (offset, group) in slice(plan.groups, record.first_group, record.groups).iter().enumerate() {
            for member in slice(plan.members, group.first_member, group.members) {
                let subject = usize::from(*member);
                let planned = plan.subjects.get(subject).is_some_and(|s| {
                    usize::from(s.partition) == partition
                        && usize::from(s.group) == first + offset
                        && s.cpu == record.cpu
                });
                if let Some(count) = anywhere.get_mut(subject) {
                    *count += 1;
                }
                if let Some(count) = as_planned.get_mut(subject).filter(|_| planned) {
                    *count += 1;
                }
            }
        }
    }
    for subject in &system.subjects {
        let once = as_planned.get(subject.id) == Some(&1) && anywhere.get(subject.id) == Some(&1);
        findings.require(once, &SCHEDULE_FITS, || {
            format!("{} is not scheduled exactly once, in its own partition and group", subject.name)
        });
    }
}

fn check_traps(system: &System<'_>, subject: &Subject<'_>, findings: &mut Findings) {
    for (trap, event) in subject.record.trap_events.iter().enumerate().filter(|(_, e)| **e != NOT_RAISED) {
        let defined = system
            .plan
            .source_events
            .get(subject.id)
            .and_then(|events| events.get(usize::from(*event)))
            .is_some_and(|e| e.action != source_action::UNDEFINED);
        findings.require(defined, &EVENTS_CLOSED, || {
            format!("{}: trap {trap} raises event {event}, which is not defined", subject.name)
        });
    }
}

/// A subject can pause as often as it likes, and may not even know that this raises an event.
fn check_pause(system: &System<'_>, subject: &Subject<'_>, findings: &mut Findings) {
    let number = subject.record.trap_events.get(usize::from(trap::PAUSE)).copied().unwrap_or(NOT_RAISED);
    if number == NOT_RAISED {
        return;
    }
    let events = system.plan.source_events.get(subject.id);
    let event = events.and_then(|events| events.get(usize::from(number)));
    let wakes = event.is_some_and(|event| {
        let targets = system.plan.target_events.get(usize::from(event.target));
        let target = targets.and_then(|targets| targets.get(usize::from(event.target_event)));
        let only_signals = event.action == source_action::NONE && event.flags & source_flags::HANDOVER == 0;
        let driver = system.plan.subject_name(usize::from(event.target)) == devices::NIC;
        only_signals && driver && target.is_some_and(|target| target.action == target_action::NONE)
    });
    findings.require(wakes, &PAUSE_WAKES, || {
        format!(
            "{}: event {number}, which each pause raises, does something else than wake the network driver",
            subject.name
        )
    });
}

fn check_event(
    system: &System<'_>,
    subject: &Subject<'_>,
    number: usize,
    event: &SourceEvent,
    findings: &mut Findings,
) {
    let name = subject.name;
    let told = subject.info.as_ref().is_some_and(|i| i.events().any(|e| usize::from(e) == number));
    let by_trap = subject.record.trap_events.iter().any(|e| usize::from(*e) == number);
    findings.require(told || by_trap, &EVENTS_CLOSED, || {
        format!("{name}: it can raise event {number}, but neither its subject info nor a trap does")
    });
    let known_flags = event.flags & !(source_flags::HANDOVER | source_flags::IPI) == 0;
    findings.require(known_flags && usize::from(event.target_event) < MAX_EVENTS, &EVENTS_CLOSED, || {
        format!("{name}: event {number} has unknown flags or an impossible target")
    });
    let target = system.plan.subjects.get(usize::from(event.target));
    let other_cpu = event.target != NONE && target.is_some_and(|t| t.cpu != subject.record.cpu);
    let interrupts = event.flags & source_flags::IPI != 0;
    findings.require(interrupts == other_cpu, &EVENTS_CLOSED, || {
        format!("{name}: event {number} must interrupt its target's CPU exactly if that is another one")
    });
    let right = match event.action {
        source_action::SYSTEM_RESET => Some("system_reset"),
        source_action::SYSTEM_POWER_OFF => Some("system_power_off"),
        source_action::SYSTEM_PANIC => Some("system_panic"),
        _ => None,
    };
    let declared = right.is_none_or(|right| {
        name == SUPERVISOR || subject.info.as_ref().is_some_and(|i| i.event(right) == Some(number))
    });
    findings.require(declared, &MACHINE_RIGHTS, || {
        format!(
            "{name}: event {number} resets, powers off or stops the machine, and no right to that is declared"
        )
    });
}

/// In a trap table: no event.
const NOT_RAISED: u8 = 0xff;
/// The name of the subject that decides about restarts and the end of the system.
const SUPERVISOR: &str = "supervisor";
/// Shorter frames would be spent in the kernel.
const MINIMUM_FRAME_US: u32 = 100;
