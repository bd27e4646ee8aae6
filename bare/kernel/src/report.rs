//! The report page: what the supervisor learns about each subject.

use core::mem::{offset_of, size_of};

use palisade_abi::plan::trap;
use palisade_abi::report::{State, SubjectReport};
use palisade_abi::volatile::Memory;
use palisade_kernel_core::dispatcher::SubjectId;
use palisade_kernel_core::exit::Trap;

use crate::memory::Page;

/// Reports that `subject` was started for the `generation`th time. The supervisor may look at any moment, from another CPU: the
/// state comes first, so that the new generation is never seen with the end of the one before.
pub(crate) fn started(page: Page, subject: SubjectId, generation: u64) {
    let record = subject.index() * size_of::<SubjectReport>();
    page.store_u32(record + offset_of!(SubjectReport, state), State::Running as u32);
    page.store(record + offset_of!(SubjectReport, generation), generation);
}

/// Reports that `trap` stopped `subject`, the state last, at `position` (instruction and stack pointer).
pub(crate) fn stopped(page: Page, subject: SubjectId, trap: &Trap, position: (u64, u64)) {
    let record = subject.index() * size_of::<SubjectReport>();
    let halted = trap.kind == trap::HALT;
    page.store_u32(record + offset_of!(SubjectReport, trap), u32::from(trap.kind));
    page.store(record + offset_of!(SubjectReport, rip), position.0);
    page.store(record + offset_of!(SubjectReport, rsp), position.1);
    page.store(record + offset_of!(SubjectReport, address), trap.address);
    page.store(record + offset_of!(SubjectReport, info), trap.info);
    page.store(record + offset_of!(SubjectReport, exit_code), trap.code);
    let state = if halted { State::Halted } else { State::Faulted };
    page.store_u32(record + offset_of!(SubjectReport, state), state as u32);
}

/// Counts an access or an interrupt of a device of `subject` that was refused. Gives the count.
pub(crate) fn refused(page: Page, subject: u16) -> u64 {
    let place = usize::from(subject) * size_of::<SubjectReport>() + offset_of!(SubjectReport, refused);
    let count = page.load(place).unwrap_or(0).saturating_add(1);
    page.store(place, count);
    count
}
