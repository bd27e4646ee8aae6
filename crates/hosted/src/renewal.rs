//! New content for subjects of a system that runs: the same system in every respect but what subjects can only read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

use palisade_policy::plan::{Backing, Plan, Region, Subject, SubjectKind};
use rustix::event::{EventfdFlags, eventfd};

/// Sends new content to a run.
#[derive(Debug)]
pub struct Renewer {
    ready: OwnedFd,
    sender: Sender<Vec<Renewed>>,
}

/// Where a run takes new content from. The subjects that it is for are started anew.
#[derive(Debug)]
pub struct Renewals {
    ready: OwnedFd,
    receiver: Receiver<Vec<Renewed>>,
}

/// A subject with new content, and its identifier.
#[derive(Debug, Clone)]
pub struct Renewed {
    pub(crate) id: u16,
    pub(crate) subject: Subject,
}

/// Two ends of a way for new content.
///
/// # Errors
/// If there are no descriptors left.
pub fn renewals() -> io::Result<(Renewer, Renewals)> {
    let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let (sender, receiver) = channel();
    Ok((Renewer { ready: ready.try_clone()?, sender }, Renewals { ready, receiver }))
}

impl Renewed {
    /// The subjects of `new` that are not as in `old`, if they are others by their content only: everything that is shared,
    /// and who signals whom, has to be as it was.
    #[must_use]
    pub fn between(old: &Plan, new: &Plan) -> Option<Vec<Self>> {
        if old.subjects.len() != new.subjects.len() {
            return None;
        }
        let pairs = (0..).zip(old.subjects.iter().zip(&new.subjects));
        let changed = pairs.filter(|(_, (old, new))| old != new);
        changed
            .map(|(id, (old, new))| {
                let is_alike = new.kind == SubjectKind::Unikernel
                    && (&old.name, old.kind) == (&new.name, new.kind)
                    && (&old.source_events, &old.target_events) == (&new.source_events, &new.target_events)
                    && (old.on_fault, old.on_halt) == (new.on_fault, new.on_halt)
                    && volatile(old).eq(volatile(new));
                is_alike.then(|| Self { id, subject: new.clone() })
            })
            .collect()
    }

    /// Name of the subject.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.subject.name
    }
}

impl Renewer {
    /// Sends new content. If the run has ended, nothing happens.
    pub fn renew(&self, subjects: Vec<Renewed>) {
        if self.sender.send(subjects).is_ok() {
            // It fails if so many are waiting that it is readable anyway.
            let _ = rustix::io::write(&self.ready, &1_u64.to_ne_bytes());
        }
    }
}

impl Renewals {
    /// Becomes readable when there is new content.
    pub(crate) fn ready(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// What has come.
    pub(crate) fn take(&self) -> impl Iterator<Item = Renewed> {
        // It fails if there is nothing.
        let _ = rustix::io::read(&self.ready, &mut [0; 8]);
        self.receiver.try_iter().flatten()
    }
}

/// The memory of a subject that changes: where it has it, and where it lies.
fn volatile(subject: &Subject) -> impl Iterator<Item = &Region> {
    subject.regions.iter().filter(|region| matches!(region.backing, Backing::Volatile(_)))
}
