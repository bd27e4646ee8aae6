//! The process around the subject: what it may do, and what the host learns of it.

use palisade_abi::launch::{FAILED, Header, Instruction, Word, descriptor, flags, stage};

use crate::failure;
use crate::linux::{self, Errno};

/// Gives up what a process has without asking: it dies with its host, gains no rights, and nobody looks into it.
pub(crate) fn restrict(header: &Header) -> Result<(), Word> {
    let debuggable = header.flags & flags::DEBUGGABLE != 0;
    for (property, value) in [
        (PR_SET_PDEATHSIG, SIGKILL),
        (PR_SET_NO_NEW_PRIVS, 1),
        (PR_SET_DUMPABLE, u64::from(debuggable)),
        // Timed events are as exact as the machine can be.
        (PR_SET_TIMERSLACK, 1),
    ] {
        linux::plain(linux::PRCTL, [property, value, 0]).map_err(|error| failure(stage::PROCESS, error))?;
    }
    if debuggable {
        // It fails where nobody restricts who may look into whom.
        let _ = linux::plain(linux::PRCTL, [PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0]);
    }
    Ok(())
}

/// Tells the host that the subject can run, and waits until it may. A host that died before its death could kill this
/// process never answers; its end of the socket is closed then.
pub(crate) fn ask_to_begin() -> Result<(), Word> {
    let process = |error| failure(stage::PROCESS, error);
    say(&Word { stage: stage::READY, region: 0, error: 0 }).map_err(process)?;
    let mut answer = 0_u8;
    let arguments = [u64::from(descriptor::START), (&raw mut answer) as u64, 1, 0, 0, 0];
    // SAFETY: Linux writes one byte.
    match unsafe { linux::call(linux::READ, arguments) } {
        Ok(1) => Ok(()),
        Ok(_) => linux::exit(FAILED),
        Err(error) => Err(process(error)),
    }
}

/// Closes all descriptors but those of events.
pub(crate) fn close_descriptors() -> Result<(), Word> {
    let range = [u64::from(descriptor::TABLE), u64::from(descriptor::START), 0];
    linux::plain(linux::CLOSE_RANGE, range).map_err(|error| failure(stage::DESCRIPTORS, error))?;
    Ok(())
}

/// Has Linux kill the process for any system call that the filter does not let pass.
pub(crate) fn filter_system_calls(filter: &[Instruction]) -> Result<(), Word> {
    let program = Program { length: filter.len() as u16, instructions: filter.as_ptr() };
    let address = (&raw const program) as u64;
    // SAFETY: Linux reads the program and its instructions, and writes nothing.
    unsafe { linux::call(linux::SECCOMP, [SECCOMP_SET_MODE_FILTER, 0, address, 0, 0, 0]) }
        .map_err(|error| failure(stage::FILTER, error))?;
    Ok(())
}

/// Ends the process, after telling the host why.
pub(crate) fn give_up(failure: &Word) -> ! {
    // If nobody listens, nobody is there who wants to know.
    let _ = say(failure);
    linux::exit(FAILED)
}

fn say(word: &Word) -> Result<(), Errno> {
    let address = (&raw const *word) as u64;
    let arguments = [u64::from(descriptor::START), address, size_of::<Word>() as u64, 0, 0, 0];
    // SAFETY: Linux reads the word.
    unsafe { linux::call(linux::WRITE, arguments) }.map(drop)
}

/// A filter as `seccomp` takes it: `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const PR_SET_PDEATHSIG: u64 = 1;
const PR_SET_DUMPABLE: u64 = 4;
const PR_SET_TIMERSLACK: u64 = 29;
const PR_SET_NO_NEW_PRIVS: u64 = 38;
/// Spells `Yama`.
const PR_SET_PTRACER: u64 = 0x5961_6d61;
const PR_SET_PTRACER_ANY: u64 = u64::MAX;
const SECCOMP_SET_MODE_FILTER: u64 = 1;
const SIGKILL: u64 = 9;
