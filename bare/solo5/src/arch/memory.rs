//! The program's memory, as the subject info and the boot info describe it.

use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};

use palisade_abi::layout;
use palisade_abi::scheduling_info::SchedulingInfo;
use palisade_abi::subject_info::{Content, MemoryKind, SubjectInfo};
use palisade_abi::volatile::Shared;

use super::registers::DeviceRegisters;

/// What the builder tells the subject about itself. `None` only if no builder of this project made the system.
#[must_use]
pub fn subject_info() -> Option<SubjectInfo<'static>> {
    let address = layout::SUBJECT_INFO as *const u8;
    // SAFETY: every subject has this region; nobody writes it while the subject runs.
    let bytes = unsafe { slice::from_raw_parts(address, layout::SUBJECT_INFO_SIZE as usize) };
    SubjectInfo::parse(bytes).ok()
}

/// The shared memory with this name: a channel, a page of the kernel or of another subject.
///
/// Storing to memory that the subject info calls read-only is a page fault.
#[must_use]
pub fn shared_memory(name: &str) -> Option<Shared<'static>> {
    let memory = subject_info()?.memory(name)?;
    // The program's own memory is not shared: Rust's references reach it. Registers are no memory.
    if memory.address < layout::PROGRAM_END || name == STACK || memory.kind == MemoryKind::Device {
        return None;
    }
    // SAFETY: the builder maps what it lists, for as long as the subject runs. Regions do not overlap, so this one is
    // neither program, RAM nor stack, and nobody else makes references into it.
    unsafe { Shared::new(memory.address, memory.size) }
}

/// The contents of the read-only data region with this name, which its description gives the subject: whole pages, the
/// bytes behind the contents are 0.
#[must_use]
pub fn data(name: &str) -> Option<&'static [u8]> {
    let memory = subject_info()?.memory(name)?;
    let inert = memory.kind == MemoryKind::Subject && memory.content == Content::File;
    let inside = memory.address >= layout::DATA
        && memory.address.checked_add(memory.size).is_some_and(|end| end <= layout::DATA_END);
    if !inert || memory.writable || memory.executable || !inside {
        return None;
    }
    // SAFETY: the builder maps what it lists, for as long as the subject runs. It lets nobody write such a region: not
    // this program (checked above), and no other, because only channels and pages of the kernel have several owners.
    Some(unsafe { slice::from_raw_parts(memory.address as *const u8, memory.size as usize) })
}

/// The registers with this name, of a device that the subject drives.
#[must_use]
pub fn registers(name: &str) -> Option<DeviceRegisters> {
    let memory = subject_info()?.memory(name).filter(|memory| memory.kind == MemoryKind::Device)?;
    if memory.address < layout::PROGRAM_END {
        return None;
    }
    // SAFETY: the builder maps what it lists, uncached, for as long as the subject runs, and nothing but registers there.
    Some(unsafe { DeviceRegisters::new(memory.address, memory.size) })
}

/// The page with start and end of the current minor frame.
#[must_use]
pub fn scheduling_info() -> Option<SchedulingInfo<'static>> {
    // SAFETY: every subject has this page, and nobody else makes references into it.
    unsafe { Shared::new(layout::SCHEDULING_INFO, layout::PAGE) }.map(SchedulingInfo)
}

/// The boot info and the command line behind it.
pub(crate) fn boot_info() -> &'static [u8] {
    let address = layout::BOOT_INFO as *const u8;
    // SAFETY: every native subject has this region at this place; nobody writes it while the subject runs.
    unsafe { slice::from_raw_parts(address, layout::BOOT_INFO_SIZE as usize) }
}

/// The memory between the program and `end`, which is the end of the RAM. Only the first caller gets it.
pub(crate) fn heap(end: u64) -> Option<&'static mut [u8]> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let start = layout::page_align_up(Extent::of_program().end);
    let size = usize::try_from(end.checked_sub(start)?).ok()?;
    if subject_info()?.memory(STACK).is_none() || TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the RAM follows the program without a hole. The program runs on a stack of its own (checked above), so
    // nothing else lies there, and `TAKEN` makes this the only reference.
    Some(unsafe { slice::from_raw_parts_mut(start as *mut u8, size) })
}

/// Where the parts of the program lie; each ends where the next one begins, apart from the rest of its last page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) text_end: u64,
    pub(crate) rodata_end: u64,
    pub(crate) end: u64,
}

impl Extent {
    pub(crate) fn of_program() -> Self {
        unsafe extern "C" {
            static program_start: u8;
            static text_end: u8;
            static rodata_end: u8;
            static program_end: u8;
        }
        Self {
            start: (&raw const program_start) as u64,
            text_end: (&raw const text_end) as u64,
            rodata_end: (&raw const rodata_end) as u64,
            end: (&raw const program_end) as u64,
        }
    }
}

/// Top of the guarded stack, or 0.
pub(super) extern "C" fn stack_top() -> u64 {
    match subject_info().and_then(|info| info.memory(STACK)) {
        Some(stack) => stack.address.saturating_add(stack.size),
        None => 0,
    }
}

/// Name of the guarded stack in the subject info.
const STACK: &str = "stack";
