//! What a process leaves behind, as the kernel would report it.

use std::sync::atomic::AtomicU64;

use palisade_abi::launch::{FAILED, FAULTED, Fault};
use palisade_abi::layout::PAGE;
use palisade_abi::plan::trap;
use palisade_abi::report::{State, SubjectReport};
use palisade_abi::volatile::{Memory, Shared};
use rustix::process::WaitIdStatus;
use zerocopy::{FromZeros, IntoBytes};

use crate::Error;

/// The report page of a system that no kernel runs.
#[derive(Debug)]
pub(crate) struct Reports {
    words: Vec<AtomicU64>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self { words: (0..PAGE / 8).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The page, as the supervisor's code reads it.
    pub(crate) fn page(&self) -> Shared<'_> {
        Shared::from(self.words.as_slice())
    }

    /// Writes that a subject runs.
    pub(crate) fn started(&self, subject: u16, generation: u64) {
        self.write(
            subject,
            &SubjectReport { state: State::Running as u32, generation, ..SubjectReport::default() },
        );
    }

    /// Writes how a subject ended.
    pub(crate) fn ended(&self, subject: u16, generation: u64, ending: &SubjectReport) {
        self.write(subject, &SubjectReport { generation, ..*ending });
    }

    fn write(&self, subject: u16, report: &SubjectReport) {
        // The page has a record for every identifier.
        let _ = self.page().copy_in(usize::from(subject) * size_of::<SubjectReport>(), report.as_bytes());
    }
}

/// What the kernel would report of a subject whose process ended like this. `record` is what the launcher may have left.
pub(crate) fn report(status: &WaitIdStatus, record: &Shared<'_>) -> SubjectReport {
    if let Some(signal) = status.terminating_signal() {
        return killed(signal);
    }
    match status.exit_status() {
        Some(FAULTED) => faulted(record),
        // A launcher that was told to begin, and could not restrict itself: nobody hears it any more.
        Some(FAILED) => failed(),
        // Whatever else a subject says with its last system call, it has ended by itself.
        _ => halted(),
    }
}

/// The same of a process that is no subject's: no launcher was in it.
pub(crate) fn of_helper(status: &WaitIdStatus) -> SubjectReport {
    status.terminating_signal().map_or_else(halted, killed)
}

fn halted() -> SubjectReport {
    SubjectReport { state: State::Halted as u32, trap: u32::from(trap::HALT), ..SubjectReport::default() }
}

fn killed(signal: i32) -> SubjectReport {
    let trap = match signal {
        libc::SIGSYS => trap::SYSTEM_CALL,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP => trap::UNHANDLED,
        _ => trap::KILLED,
    };
    let address = u64::from(signal.unsigned_abs());
    SubjectReport { state: State::Faulted as u32, trap: u32::from(trap), address, ..SubjectReport::default() }
}

fn faulted(record: &Shared<'_>) -> SubjectReport {
    let mut fault = Fault::new_zeroed();
    // The record is inside its page.
    let _ = record.copy_out(0, fault.as_mut_bytes());
    let vector = u8::try_from(fault.vector).ok().filter(|vector| *vector < trap::TRIPLE_FAULT);
    SubjectReport {
        state: State::Faulted as u32,
        trap: u32::from(vector.unwrap_or(trap::UNKNOWN)),
        rip: fault.rip,
        rsp: fault.rsp,
        address: fault.address,
        info: fault.error_code,
        exit_code: fault.vector,
        ..SubjectReport::default()
    }
}

/// The same of a process that could not be made, or not become what it was to be.
pub(crate) fn not_started(error: &Error) -> SubjectReport {
    let cause = match error {
        Error::Launch { cause, .. } | Error::System { cause, .. } => cause.raw_os_error(),
        _ => None,
    };
    SubjectReport {
        state: State::Faulted as u32,
        trap: u32::from(trap::NOT_STARTED),
        address: u64::from(cause.unwrap_or_default().unsigned_abs()),
        ..SubjectReport::default()
    }
}

fn failed() -> SubjectReport {
    SubjectReport {
        state: State::Faulted as u32,
        trap: u32::from(trap::UNKNOWN),
        exit_code: u64::from(FAILED.cast_unsigned()),
        ..SubjectReport::default()
    }
}

/// Removes what an earlier process may have left.
pub(crate) fn forget(record: &Shared<'_>) {
    // The record is inside its page.
    let _ = record.copy_in(0, Fault::default().as_bytes());
}
