//! Event numbers: what each subject can raise, where it goes, and what can arrive.

use palisade_abi::plan::{source_action, target_action};
use palisade_abi::supervisor_config::Restart;

use super::channels::port_name;
use crate::plan::{SourceEvent, TargetEvent};
use crate::system::{Arrival, EndAction, MachineRight, Subject, System, input_name, output_name};

/// The events of a subject.
#[derive(Debug, Clone, Default)]
pub(crate) struct SubjectEvents {
    pub(crate) sources: Vec<SourceEvent>,
    pub(crate) targets: Vec<TargetEvent>,
    /// Number of the source event that tells the supervisor that the subject has stopped. It is not in the subject info:
    /// the kernel raises it.
    pub(crate) stopped: u8,
}

impl SubjectEvents {
    /// The number of the source event with this name.
    pub(crate) fn source(&self, name: &str) -> Option<u8> {
        self.sources.iter().find(|event| event.name == name).map(|event| event.number)
    }

    fn add_source(&mut self, number: u8, name: &str, action: u8, target: Option<(u16, u8)>) {
        self.sources.push(SourceEvent {
            number,
            name: name.to_owned(),
            action,
            target,
            device: None,
            handover: false,
        });
    }

    /// Adds a source event behind all others.
    fn add_named_source(&mut self, name: &str, action: u8, target: Option<(u16, u8)>) -> u8 {
        let number = next(self.sources.iter().map(|event| event.number), FIRST_NAMED);
        self.add_source(number, name, action, target);
        number
    }

    /// The number of the target event with this name, which is added if it is not there.
    fn target(&mut self, name: &str, action: u8, vector: u8) -> u8 {
        if let Some(known) = self.targets.iter().find(|event| event.name == name) {
            return known.number;
        }
        let number = next(self.targets.iter().map(|event| event.number), 0);
        self.targets.push(TargetEvent { number, name: name.to_owned(), action, vector });
        number
    }
}

/// Gives every event of the system its number, in the order of the subjects' identifiers.
pub(crate) fn wire(system: &System) -> Vec<SubjectEvents> {
    let mut events = vec![SubjectEvents::default(); system.subjects.len()];
    wire_own(system, &mut events);
    wire_described(system, &mut events);
    wire_network(system, &mut events);
    wire_supervisor(system, &mut events);
    events
}

/// The events with fixed numbers that come with a subject's kind and program.
fn wire_own(system: &System, events: &mut [SubjectEvents]) {
    let supervisor_event = events[SUPERVISOR].target(SUBJECT_CHANGED, target_action::NONE, 0);
    let log_event = events[LOG].target(LOG_READY, target_action::NONE, 0);
    for (id, subject) in system.subjects.iter().enumerate() {
        let own = &mut events[id];
        if id != SUPERVISOR {
            let supervisor = Some((SUPERVISOR as u16, supervisor_event));
            own.add_source(1, "solo5_exit", source_action::NONE, supervisor);
        }
        if is_native(subject) {
            own.add_source(2, "sleep", source_action::SLEEP, None);
            own.add_source(3, "yield", source_action::YIELD, None);
            let timer = own.target("timer", target_action::NONE, 0);
            own.add_source(4, "timer", source_action::NONE, Some((id as u16, timer)));
            if id != LOG {
                own.add_source(5, LOG_READY, source_action::NONE, Some((LOG as u16, log_event)));
            }
        }
        for right in &subject.rights {
            wire_right(*right, id, system.nic(), events);
        }
    }
}

/// The event that a subject has for a right over the machine.
fn wire_right(right: MachineRight, subject: usize, nic: Option<usize>, events: &mut [SubjectEvents]) {
    let (action, target) = match right {
        MachineRight::PowerOff => (source_action::SYSTEM_POWER_OFF, None),
        MachineRight::Reset => (source_action::SYSTEM_RESET, None),
        MachineRight::Panic => (source_action::SYSTEM_PANIC, None),
        MachineRight::RestartNetwork => {
            let Some(nic) = nic else { return };
            (source_action::NONE, Some((nic as u16, events[nic].target(RESET, target_action::RESET, 0))))
        }
    };
    events[subject].add_named_source(right.event(), action, target);
}

/// The events of `[[event]]`, and those of channels that signal.
fn wire_described(system: &System, events: &mut [SubjectEvents]) {
    for event in &system.events {
        let (from, to) = (&event.from.value, &event.to.value);
        let (Some(source), Some(target)) = (system.subject_id(&from.subject), system.subject_id(&to.subject))
        else {
            continue;
        };
        let (action, vector) = match event.arrival.value {
            Arrival::Wake => (target_action::NONE, 0),
            Arrival::Inject(vector) => (target_action::INJECT_INTERRUPT, vector),
            Arrival::Reset => (target_action::RESET, 0),
        };
        let number = events[target].target(&to.name, action, vector);
        events[source].add_named_source(&from.name, event.action, Some((target as u16, number)));
        if let Some(added) = events[source].sources.last_mut() {
            added.handover = event.handover.value;
        }
    }
    for channel in system.channels.iter().filter(|channel| channel.signal) {
        let (from, to) = (&channel.writer.value, &channel.reader.value);
        let (Some(writer), Some(reader)) = (system.subject_id(&from.subject), system.subject_id(&to.subject))
        else {
            continue;
        };
        let number = events[reader].target(&signal_name(&to.name), target_action::NONE, 0);
        let target = Some((reader as u16, number));
        events[writer].add_named_source(&signal_name(&from.name), source_action::NONE, target);
    }
}

/// The network driver starts its device, and wakes the unikernels behind its ports as they wake it.
fn wire_network(system: &System, events: &mut [SubjectEvents]) {
    let Some(nic) = system.nic() else { return };
    events[nic].add_named_source(START_DEVICE, source_action::START_DEVICE, None);
    if let Some(start) = events[nic].sources.last_mut() {
        start.device = Some(0);
    }
    let frames = events[nic].target(PORT_READY, target_action::NONE, 0);
    for (number, port) in system.ports().into_iter().enumerate() {
        let arrived = signal_name(&input_name(port.device));
        let arrived = events[port.subject].target(&arrived, target_action::NONE, 0);
        let target = Some((port.subject as u16, arrived));
        events[nic].add_named_source(&signal_name(&port_name(number)), source_action::NONE, target);
        let written = signal_name(&output_name(port.device));
        events[port.subject].add_named_source(&written, source_action::NONE, Some((nic as u16, frames)));
    }
}

/// Restarts, the end of the system, and what the kernel raises when a subject stops.
fn wire_supervisor(system: &System, events: &mut [SubjectEvents]) {
    match system.on_end {
        EndAction::PowerOff => {
            events[SUPERVISOR].add_named_source(END, source_action::SYSTEM_POWER_OFF, None);
        }
        EndAction::Reset => {
            events[SUPERVISOR].add_named_source(END, source_action::SYSTEM_RESET, None);
        }
        EndAction::Stay => {}
    }
    let changed = events[SUPERVISOR].target(SUBJECT_CHANGED, target_action::NONE, 0);
    for (id, subject) in system.subjects.iter().enumerate().filter(|(id, _)| *id != SUPERVISOR) {
        if subject.restart != Restart::Never {
            let reset = events[id].target(RESET, target_action::RESET, 0);
            let name = restart_name(&subject.name.value);
            events[SUPERVISOR].add_named_source(&name, source_action::NONE, Some((id as u16, reset)));
        }
        events[id].stopped =
            events[id].add_named_source(STOPPED, source_action::NONE, Some((SUPERVISOR as u16, changed)));
    }
    // Without its supervisor a system neither restarts anything nor ends.
    events[SUPERVISOR].stopped =
        events[SUPERVISOR].add_named_source(STOPPED, source_action::SYSTEM_PANIC, None);
}

/// Whether its program sleeps on events and writes a status page.
pub(crate) fn is_native(subject: &Subject) -> bool {
    subject.program.as_ref().is_some_and(|program| program.native.is_some())
}

/// The supervisor's source event that restarts a subject.
pub(crate) fn restart_name(subject: &str) -> String {
    format!("restart_{subject}")
}

/// The event that tells the other end of a channel that there is something in it.
pub(crate) fn signal_name(resource: &str) -> String {
    format!("{resource}_ready")
}

fn next(numbers: impl Iterator<Item = u8>, first: u8) -> u8 {
    numbers.max().map_or(first, |last| last.saturating_add(1).max(first))
}

/// The log's identifier: its place among the system's own subjects.
pub(crate) const LOG: usize = 1;
/// The supervisor's identifier.
pub(crate) const SUPERVISOR: usize = 2;
/// The supervisor's source event that ends the system.
pub(crate) const END: &str = "end";
/// The target event that starts a subject anew.
const RESET: &str = "reset";
const STOPPED: &str = "stopped";
const SUBJECT_CHANGED: &str = "subject_changed";
const LOG_READY: &str = "log_ready";
/// The network driver's source event that lets its device reach memory.
pub(crate) const START_DEVICE: &str = "device_start";
const PORT_READY: &str = "port_ready";
/// The source events below have fixed numbers.
const FIRST_NAMED: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::NATIVES;
    use crate::plan::SubjectKind;

    #[test]
    fn the_system_s_own_subjects_have_the_identifiers_that_events_are_wired_by() {
        assert_eq!(NATIVES.map(|(_, kind)| kind)[LOG], SubjectKind::Log);
        assert_eq!(NATIVES.map(|(_, kind)| kind)[SUPERVISOR], SubjectKind::Supervisor);
    }
}
