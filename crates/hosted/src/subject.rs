//! A subject and its process.

use std::borrow::Cow;
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use palisade_abi::init_table::Operation;
use palisade_abi::launch::{self, Header, Instruction, Word, flags, stage};
use palisade_abi::layout::{BOOT_INFO, LAUNCH_TABLE_SIZE, PAGE, TIMED_EVENT};
use palisade_abi::report::SubjectReport;
use palisade_abi::volatile::Shared;
use palisade_policy::plan::{Exceptions, Plan, Subject};
use zerocopy::{FromZeros, IntoBytes};

use crate::clock::Clock;
use crate::content::AddressSpace;
use crate::descriptors::Waiter;
use crate::memory::{SharedMemory, sealed};
use crate::namespaces::Namespaces;
use crate::spawn::{Process, Program};
use crate::wiring::{Ends, Wiring};
use crate::{Error, debugger, ending, filter};

/// A subject with everything that its process is made from.
pub(crate) struct HostedSubject<'a> {
    /// Its identifier.
    pub(crate) id: u16,
    /// How many times it was started.
    pub(crate) generation: u64,
    subject: Cow<'a, Subject>,
    space: AddressSpace,
    ends: Ends<'a>,
    wake: BorrowedFd<'a>,
    filter: Vec<Instruction>,
    record: Shared<'a>,
    debug: bool,
    life: Option<Life>,
}

/// What all subjects' processes are made from.
pub(crate) struct Ground<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) memory: &'a SharedMemory,
    pub(crate) wiring: &'a Wiring,
    pub(crate) launcher: BorrowedFd<'a>,
    pub(crate) clock: Clock,
    pub(crate) namespaces: Namespaces,
    /// Where the records of the subjects begin in the shared memory.
    pub(crate) records: u64,
}

/// A process, and what it has to say while it is launched.
struct Life {
    process: Process,
    /// Until the program has begun.
    start: Option<UnixStream>,
    /// Whether it could.
    ready: bool,
    /// Whether it waits for a debugger.
    waits: bool,
}

impl Life {
    /// Lets the program begin, if it can and does not wait for anybody.
    fn begin(&mut self) {
        if self.ready
            && !self.waits
            && let Some(mut start) = self.start.take()
        {
            // It fails if the process was killed meanwhile, which is noticed by its end.
            let _ = start.write_all(&[1]);
        }
    }
}

impl<'a> HostedSubject<'a> {
    /// Prepares a subject that has not begun to run.
    pub(crate) fn new(
        ground: &Ground<'a>,
        id: u16,
        subject: &'a Subject,
        debug: bool,
    ) -> Result<Self, Error> {
        let record = ground.records + u64::from(id) * PAGE;
        let ends = ground.wiring.ends(ground.plan, id);
        let unfit = Error::Plan("a subject is not one of the system's");
        let (Some(wake), Some(page)) = (ground.wiring.wake(id), ground.memory.part(record, PAGE)) else {
            return Err(unfit);
        };
        let filter = filter::for_subject(ends.descriptors.len()).map_err(|error| Error::System {
            what: "no filter can be made",
            cause: io::Error::other(error),
        })?;
        let space = AddressSpace::new(ground.plan, subject, ground.clock, record)?;
        let subject = Cow::Borrowed(subject);
        Ok(Self { id, generation: 0, subject, space, ends, wake, filter, record: page, debug, life: None })
    }

    /// Gives it other content from its next start on.
    pub(crate) fn renew(&mut self, ground: &Ground<'_>, subject: Subject) -> Result<(), Error> {
        let record = ground.records + u64::from(self.id) * PAGE;
        self.space = AddressSpace::new(ground.plan, &subject, ground.clock, record)?;
        self.subject = Cow::Owned(subject);
        Ok(())
    }

    /// Starts it, for the first time or anew. What it was before is gone.
    pub(crate) fn start(&mut self, ground: &Ground<'_>) -> Result<(), Error> {
        self.generation += 1;
        let failed = |what: &str| {
            let (subject, what) = (self.subject.name.clone(), what.to_owned());
            move |cause: io::Error| Error::Launch { subject, what, cause }
        };
        // Nothing of its former life wakes it.
        let _ = rustix::io::read(self.wake, &mut [0; 8]);
        ending::forget(&self.record);
        let table = self.table(ground).map_err(failed("its launch table"))?;
        let (start, word) = UnixStream::pair().map_err(failed("a socket"))?;
        start.set_nonblocking(true).map_err(failed("a socket"))?;
        let fixed = [self.wake, table.as_fd(), ground.memory.as_fd(), self.space.content(), word.as_fd()];
        let descriptors: Vec<_> = fixed.into_iter().chain(self.ends.descriptors.iter().copied()).collect();
        let process = Process::start(&Program {
            executable: ground.launcher,
            arguments: &[CString::from(c"palisade-subject")],
            descriptors: &descriptors,
            start: launch::descriptor::START,
            signals: false,
            namespaces: ground.namespaces.of_subject(),
        })
        .map_err(failed("a process"))?;
        self.life = Some(Life { process, start: Some(start), ready: false, waits: self.debug });
        Ok(())
    }

    /// Its process, if it has one.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.life.as_ref().map(|life| &life.process)
    }

    /// Becomes readable when the launch has succeeded or failed.
    pub(crate) fn launching(&self) -> Option<BorrowedFd<'_>> {
        self.life.as_ref()?.start.as_ref().map(AsFd::as_fd)
    }

    /// Takes what the launcher says, if it has said something. Tells whether the program has begun, as far as it is known now.
    pub(crate) fn heard(&mut self, waiter: &Waiter) -> Result<bool, Error> {
        let Some(life) = &mut self.life else { return Ok(false) };
        let Some(start) = life.start.as_ref().filter(|_| !life.ready) else { return Ok(true) };
        let mut word = Word::new_zeroed();
        // Whole words are written at once. None is there yet, or none will be.
        if (&*start).read_exact(word.as_mut_bytes()).is_err() {
            return Ok(false);
        }
        waiter.forget(start.as_fd());
        if word.stage == stage::READY {
            life.ready = true;
            life.begin();
            return Ok(true);
        }
        let what = match word.stage {
            stage::TABLE => "its launch table".to_owned(),
            stage::PROCESS => "a property of the process".to_owned(),
            stage::REGION => {
                let region = self.subject.regions.get(word.region as usize);
                format!("its memory \"{}\"", region.map_or("record", |region| &region.name))
            }
            stage::OWN_PAGES => "the launcher's pages".to_owned(),
            stage::SIGNALS => "exceptions".to_owned(),
            stage::DESCRIPTORS => "descriptors (Linux 5.9 is needed)".to_owned(),
            stage::FILTER => "the filter of system calls".to_owned(),
            stage::EXECUTE => "the launcher cannot be executed".to_owned(),
            other => format!("step {other}"),
        };
        let cause = io::Error::from_raw_os_error(word.error.cast_signed());
        Err(Error::Launch { subject: self.subject.name.clone(), what, cause })
    }

    /// Takes what is left of its process, if that has ended.
    pub(crate) fn ended(&mut self, waiter: &Waiter) -> Result<Option<SubjectReport>, Error> {
        let began = self.heard(waiter)?;
        let Some(life) = &mut self.life else { return Ok(None) };
        let status = life.process.status().map_err(Error::system("a process cannot be waited for"))?;
        let Some(status) = status else { return Ok(None) };
        self.leave(waiter);
        if !began && status.exited() {
            let what = "it ended before its program began".to_owned();
            let cause = io::ErrorKind::UnexpectedEof.into();
            return Err(Error::Launch { subject: self.subject.name.clone(), what, cause });
        }
        Ok(Some(ending::report(&status, &self.record)))
    }

    /// Ends its process, if it has one.
    pub(crate) fn leave(&mut self, waiter: &Waiter) {
        let Some(life) = self.life.take() else { return };
        waiter.forget(life.process.as_fd());
        if let Some(start) = &life.start {
            waiter.forget(start.as_fd());
        }
    }

    /// Lets the program begin, if it waits for a debugger and one is there.
    pub(crate) fn look_for_debugger(&mut self) {
        let Some(life) = self.life.as_mut().filter(|life| life.waits) else { return };
        if debugger::is_attached(life.process.number()) {
            life.waits = false;
            life.begin();
        }
    }

    /// Whether it waits for a debugger.
    pub(crate) fn waits_for_debugger(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.waits)
    }

    fn table(&self, ground: &Ground<'_>) -> io::Result<OwnedFd> {
        let guest = if self.subject.exceptions == Exceptions::Guest { flags::GUEST_EXCEPTIONS } else { 0 };
        let debug = if self.debug { flags::DEBUGGABLE } else { 0 };
        let has_timer = self.space.regions.iter().any(|region| region.address == TIMED_EVENT);
        let header = Header {
            magic: launch::MAGIC,
            entry: self.space.entry,
            stack_pointer: self.subject.stack_pointer,
            boot_info: BOOT_INFO,
            generation: self.generation,
            timed_event: if has_timer { TIMED_EVENT } else { 0 },
            nanoseconds_per_tick: ground.clock.nanoseconds_per_tick(),
            clock_shift: ground.clock.shift(),
            flags: guest | debug,
            regions: self.space.regions.len() as u32,
            operations: self.space.operations.len() as u32,
            filter: self.filter.len() as u32,
            reserved: 0,
            events: self.ends.events,
        };
        let operations: &[Operation] = &self.space.operations;
        let bytes =
            [header.as_bytes(), self.space.regions.as_bytes(), operations.as_bytes(), self.filter.as_bytes()]
                .concat();
        if bytes.len() as u64 > LAUNCH_TABLE_SIZE {
            return Err(io::Error::other("it is too long"));
        }
        sealed("palisade-launch", LAUNCH_TABLE_SIZE, [(0, bytes.as_slice())])
    }
}
