//! Events as descriptors: who can signal whom. A subject has a descriptor for each of its events that goes somewhere, and no
//! other, so what it can do with them is what the policy allows.
//!
//! A subject can add any number to a descriptor that it has, up to a counter that is full: to add more fails then, and makes
//! nothing readable that was not so before. So whoever waits for one has to read it each time, which empties it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use palisade_abi::launch::{Event, NO_DESCRIPTOR, action, descriptor};
use palisade_abi::layout::MAX_EVENTS;
use palisade_abi::plan::{source_action, target_action};
use palisade_policy::plan::{Plan, SourceEvent, SubjectKind};
use rustix::event::{EventfdFlags, eventfd};

/// All event descriptors of a system.
#[derive(Debug)]
pub(crate) struct Wiring {
    wake: Vec<OwnedFd>,
    log: OwnedFd,
    network: OwnedFd,
    requests: Vec<(Request, OwnedFd)>,
    /// Where events go in place of their targets, if the host wants to see them.
    relays: Vec<Relay>,
}

/// The way that events take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From process to process.
    Direct,
    /// By the host, which passes them on.
    Relayed,
}

/// An event that the host passes on.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Who raises it.
    pub(crate) raiser: u16,
    /// Its number there.
    pub(crate) number: u8,
    target: Target,
    descriptor: OwnedFd,
}

/// What a subject asks the host for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// To start this subject anew.
    Reset(u16),
    /// To power the machine off.
    PowerOff,
    /// To reset it.
    ResetMachine,
    /// This subject stops the system.
    Panic(u16),
}

/// What a subject gets of it.
#[derive(Debug)]
pub(crate) struct Ends<'a> {
    /// What raising each of its events does.
    pub(crate) events: [Event; MAX_EVENTS],
    /// The descriptors that this takes, from [`descriptor::FIRST_EVENT`] on.
    pub(crate) descriptors: Vec<BorrowedFd<'a>>,
}

/// Where an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// To nobody who would have to be told.
    Nowhere,
    /// To this subject's process.
    Subject(u16),
    /// To the host in the place of `log`.
    Log,
    /// To the network process.
    Network,
    /// To the host.
    Host(Request),
}

impl Wiring {
    /// Makes the descriptors of a system.
    pub(crate) fn new(plan: &Plan, way: Way) -> io::Result<Self> {
        let mut requests: Vec<(Request, OwnedFd)> = Vec::new();
        for (subject, event) in all_events(plan) {
            if let Target::Host(request) = target(plan, subject, event)
                && !requests.iter().any(|(known, _)| *known == request)
            {
                requests.push((request, new()?));
            }
        }
        let wake = plan.subjects.iter().map(|_| new()).collect::<io::Result<_>>()?;
        let relays = if way == Way::Relayed { relays(plan)? } else { Vec::new() };
        Ok(Self { wake, log: new()?, network: new()?, requests, relays })
    }

    /// What wakes this subject.
    pub(crate) fn wake(&self, subject: u16) -> Option<BorrowedFd<'_>> {
        self.wake.get(usize::from(subject)).map(AsFd::as_fd)
    }

    /// What tells the host of new lines in the log.
    pub(crate) fn log(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }

    /// What tells the network process of frames.
    pub(crate) fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// What subjects ask the host for, each with what it becomes readable by.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (Request, BorrowedFd<'_>)> {
        self.requests.iter().map(|(request, descriptor)| (*request, descriptor.as_fd()))
    }

    /// What tells this subject of frames, if the driver `nic` raises its event with this number.
    pub(crate) fn frames(&self, nic: u16, number: u8, subject: u16) -> Option<BorrowedFd<'_>> {
        self.relay(nic, number).or_else(|| self.wake(subject))
    }

    /// The events that the host passes on.
    pub(crate) fn relays(&self) -> &[Relay] {
        &self.relays
    }

    /// Takes an event that was raised, passes it on, and tells how many times it was; 0 if it was not.
    pub(crate) fn pass_on(&self, relay: &Relay) -> u64 {
        let mut count = [0; 8];
        // It fails if there is none.
        if rustix::io::read(&relay.descriptor, &mut count).is_err() {
            return 0;
        }
        if let Some(target) = self.descriptor(relay.target) {
            // It fails if the target has so many signals already that one more makes no difference.
            let _ = rustix::io::write(target, &1_u64.to_ne_bytes());
        }
        u64::from_ne_bytes(count)
    }

    /// What a subject gets.
    pub(crate) fn ends(&self, plan: &Plan, subject: u16) -> Ends<'_> {
        let nothing = Event { descriptor: NO_DESCRIPTOR, action: action::NONE };
        let mut ends = Ends { events: [nothing; MAX_EVENTS], descriptors: Vec::new() };
        for (_, event) in all_events(plan).filter(|(raiser, _)| *raiser == subject) {
            let Some(slot) = ends.events.get_mut(usize::from(event.number)) else { continue };
            slot.action = match event.action {
                source_action::SLEEP => action::SLEEP,
                source_action::YIELD => action::YIELD,
                source_action::SYSTEM_POWER_OFF
                | source_action::SYSTEM_RESET
                | source_action::SYSTEM_PANIC => action::STOP,
                _ => action::NONE,
            };
            let target = target(plan, subject, event);
            let end = self.relay(subject, event.number).or_else(|| self.descriptor(target));
            slot.descriptor = match end {
                None => NO_DESCRIPTOR,
                Some(_) if target == Target::Subject(subject) => descriptor::WAKE,
                Some(end) => {
                    let is_same = |known: &BorrowedFd<'_>| known.as_raw_fd() == end.as_raw_fd();
                    let index = ends.descriptors.iter().position(is_same).unwrap_or_else(|| {
                        ends.descriptors.push(end);
                        ends.descriptors.len() - 1
                    });
                    descriptor::FIRST_EVENT + index as u32
                }
            };
        }
        ends
    }

    /// Where this event goes, if the host passes it on.
    fn relay(&self, raiser: u16, number: u8) -> Option<BorrowedFd<'_>> {
        let relay = self.relays.iter().find(|relay| (relay.raiser, relay.number) == (raiser, number));
        relay.map(|relay| relay.descriptor.as_fd())
    }

    fn descriptor(&self, target: Target) -> Option<BorrowedFd<'_>> {
        match target {
            Target::Nowhere => None,
            Target::Subject(subject) => self.wake(subject),
            Target::Log => Some(self.log()),
            Target::Network => Some(self.network()),
            Target::Host(request) => {
                self.requests().find(|(known, _)| *known == request).map(|(_, descriptor)| descriptor)
            }
        }
    }
}

impl Relay {
    /// Becomes readable when the event was raised.
    pub(crate) fn raised(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Where the event goes.
    pub(crate) fn target(&self) -> Target {
        self.target
    }
}

/// All events that processes raise and that have a target but their own.
fn relays(plan: &Plan) -> io::Result<Vec<Relay>> {
    let drivers = (0..).zip(&plan.subjects).filter(|(_, subject)| subject.kind == SubjectKind::Nic);
    let of_drivers =
        drivers.flat_map(|(id, subject)| subject.source_events.iter().map(move |event| (id, event)));
    let mut relays = Vec::new();
    for (raiser, event) in all_events(plan).chain(of_drivers) {
        let target = target(plan, raiser, event);
        let has_target = event.target.is_some() || target != Target::Nowhere;
        if has_target && target != Target::Subject(raiser) {
            relays.push(Relay { raiser, number: event.number, target, descriptor: new()? });
        }
    }
    Ok(relays)
}

/// The events that unikernels raise themselves. The one for a subject's own stop is the host's to raise.
fn all_events(plan: &Plan) -> impl Iterator<Item = (u16, &SourceEvent)> {
    let unikernels = (0..).zip(&plan.subjects).filter(|(_, subject)| subject.kind == SubjectKind::Unikernel);
    unikernels.flat_map(|(id, subject)| {
        let own = subject.source_events.iter();
        own.filter(|event| subject.on_halt != Some(event.number)).map(move |event| (id, event))
    })
}

fn target(plan: &Plan, raiser: u16, event: &SourceEvent) -> Target {
    match event.action {
        source_action::SYSTEM_POWER_OFF => return Target::Host(Request::PowerOff),
        source_action::SYSTEM_RESET => return Target::Host(Request::ResetMachine),
        source_action::SYSTEM_PANIC => return Target::Host(Request::Panic(raiser)),
        _ => {}
    }
    let Some((id, number)) = event.target else { return Target::Nowhere };
    let Some(subject) = plan.subjects.get(usize::from(id)) else { return Target::Nowhere };
    let arrival = subject.target_events.iter().find(|target| target.number == number);
    if arrival.is_some_and(|arrival| arrival.action == target_action::RESET) {
        return Target::Host(Request::Reset(id));
    }
    match subject.kind {
        SubjectKind::Unikernel => Target::Subject(id),
        SubjectKind::Log => Target::Log,
        SubjectKind::Nic => Target::Network,
        // The host notices by itself what these are told.
        SubjectKind::Supervisor | SubjectKind::Time => Target::Nowhere,
    }
}

fn new() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}
