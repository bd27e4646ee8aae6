//! Events as descriptors: who can signal whom. A subject has a descriptor for each of its events that goes somewhere, and no
//! other, so what it can do with them is what the policy allows.
//!
//! A subject can add any number to a descriptor that it has, up to a counter that is full: to add more fails then, and makes
//! nothing readable that was not so before. So whoever waits for one has to read it each time, which empties it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
enum Target {
    Nowhere,
    Subject(u16),
    Log,
    Network,
    Host(Request),
}

impl Wiring {
    /// Makes the descriptors of a system.
    pub(crate) fn new(plan: &Plan) -> io::Result<Self> {
        let mut requests: Vec<(Request, OwnedFd)> = Vec::new();
        for (subject, event) in all_events(plan) {
            if let Target::Host(request) = target(plan, subject, event)
                && !requests.iter().any(|(known, _)| *known == request)
            {
                requests.push((request, new()?));
            }
        }
        let wake = plan.subjects.iter().map(|_| new()).collect::<io::Result<_>>()?;
        Ok(Self { wake, log: new()?, network: new()?, requests })
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

    /// What a subject gets.
    pub(crate) fn ends(&self, plan: &Plan, subject: u16) -> Ends<'_> {
        let nothing = Event { descriptor: NO_DESCRIPTOR, action: action::NONE };
        let mut ends = Ends { events: [nothing; MAX_EVENTS], descriptors: Vec::new() };
        let mut known = Vec::new();
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
            slot.descriptor = match self.descriptor(target) {
                None => NO_DESCRIPTOR,
                Some(_) if target == Target::Subject(subject) => descriptor::WAKE,
                Some(end) => {
                    let index = known.iter().position(|other| *other == target).unwrap_or_else(|| {
                        known.push(target);
                        ends.descriptors.push(end);
                        known.len() - 1
                    });
                    descriptor::FIRST_EVENT + index as u32
                }
            };
        }
        ends
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
