//! The report page: what the supervisor learns about each subject.

use core::mem::{offset_of, size_of};

use palisade_abi::plan::trap;
use palisade_abi::report::{State, SubjectReport};
use palisade_abi::volatile::Memory;
use palisade_kernel_core::dispatcher::SubjectId;
use palisade_kernel_core::exit::Trap;

use crate::memory::Page;

/// Reports that `subject` was started for the `generation`th time.
pub(crate) fn started(page: Page, subject: SubjectId, generation: u64) {
    let record = subject.index() * size_of::<SubjectReport>();
    page.store(record + offset_of!(SubjectReport, generation), generation);
    page.store_u32(record + offset_of!(SubjectReport, state), State::Running as u32);
}

/// Reports that `trap` stopped `subject` at `position` (instruction and stack pointer).
pub(crate) fn stopped(page: Page, subject: SubjectId, trap: &Trap, position: (u64, u64)) {
    let record = subject.index() * size_of::<SubjectReport>();
    let halted = trap.kind == trap::HALT;
    let faults = record + offset_of!(SubjectReport, traps);
    page.store_u32(record + offset_of!(SubjectReport, trap), u32::from(trap.kind));
    page.store(record + offset_of!(SubjectReport, rip), position.0);
    page.store(record + offset_of!(SubjectReport, rsp), position.1);
    page.store(record + offset_of!(SubjectReport, address), trap.address);
    page.store(record + offset_of!(SubjectReport, info), trap.info);
    page.store(record + offset_of!(SubjectReport, exit_code), trap.code);
    page.store(faults, page.load(faults).unwrap_or(0).wrapping_add(u64::from(!halted)));
    let state = if halted { State::Halted } else { State::Faulted };
    page.store_u32(record + offset_of!(SubjectReport, state), state as u32);
}
