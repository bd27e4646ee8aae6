//! The address space: what the table lists, and nothing else.

use core::arch::asm;
use core::slice;

use palisade_abi::init_table::Operation;
use palisade_abi::launch::{self, Region, Table, Word, backing, descriptor, flags, rights, stage};
use palisade_abi::layout::{LAUNCH_TABLE, LAUNCH_TABLE_SIZE, LAUNCHER, LAUNCHER_END, PAGE};

use crate::failure;
use crate::linux::{self, Errno};

/// Maps the launch table and reads it.
pub(crate) fn map_table() -> Result<Table<'static>, Word> {
    let region = Region {
        address: LAUNCH_TABLE,
        size: LAUNCH_TABLE_SIZE,
        offset: 0,
        backing: backing::CONTENT,
        rights: 0,
    };
    map_region(&region, descriptor::TABLE, MAP_SHARED).map_err(|error| failure(stage::TABLE, error))?;
    table().ok_or(failure(stage::TABLE, Errno(0)))
}

/// The launch table, once it is mapped.
pub(crate) fn table() -> Option<Table<'static>> {
    // SAFETY: the launcher maps it there before anything else, for as long as the process lives. The host has sealed it, so
    // nobody changes it.
    let bytes = unsafe { slice::from_raw_parts(LAUNCH_TABLE as *const u8, LAUNCH_TABLE_SIZE as usize) };
    launch::parse(bytes)
}

/// Removes what Linux gave the process: its stack, and the pages by which programs ask for the time. A kernel that seals
/// the latter keeps them; they hold nothing of anybody.
pub(crate) fn clear() {
    for (start, end) in [(LOWEST_PAGE, LAUNCHER), (LAUNCHER_END, END)] {
        unmap(start, end);
    }
}

/// Removes what is in a range outside the launcher. Linux removes nothing at all of a range with a sealed page in it
/// (mseal(2)), so its halves are tried then: down to that page, in some fifty steps.
fn unmap(start: u64, end: u64) {
    let pages = (end - start) / PAGE;
    // SAFETY: the launcher runs on its own pages, which are outside the range, and has no reference into it.
    let result = unsafe { linux::call(linux::MUNMAP, [start, end - start, 0, 0, 0, 0]) };
    if result == Err(NOT_PERMITTED) && pages > 1 {
        let middle = start + pages / 2 * PAGE;
        unmap(start, middle);
        unmap(middle, end);
    }
}

/// Maps all regions.
pub(crate) fn map(table: &Table<'_>) -> Result<(), Word> {
    let debuggable = table.header.flags & flags::DEBUGGABLE != 0;
    for (number, region) in table.regions.iter().enumerate() {
        let (source, kind) = match region.backing {
            backing::SHARED => (descriptor::SHARED, MAP_SHARED),
            // A debugger writes breakpoints into a copy of its own; what is shared it could not write.
            backing::CONTENT if debuggable => (descriptor::CONTENT, MAP_PRIVATE),
            backing::CONTENT => (descriptor::CONTENT, MAP_SHARED),
            _ => (launch::NO_DESCRIPTOR, OWN_MEMORY),
        };
        map_region(region, source, kind).map_err(|error| Word {
            stage: stage::REGION,
            region: number as u32,
            error: error.0,
        })?;
    }
    Ok(())
}

/// Puts the subject's memory into its initial state. What is zero already is not in the list.
pub(crate) fn restore(operations: &[Operation]) {
    for operation in operations {
        let (to, from, size) = (operation.destination, operation.source, operation.size);
        if from == 0 {
            // SAFETY: the host lists ranges of the subject's writable memory, which was just mapped.
            unsafe {
                asm!("rep stosb", inout("rdi") to => _, inout("rcx") size => _, in("al") operation.fill as u8)
            }
        } else {
            // SAFETY: as above; the source is a pristine copy, which was mapped too.
            unsafe { asm!("rep movsb", inout("rdi") to => _, inout("rsi") from => _, inout("rcx") size => _) }
        }
    }
}

/// Maps new private memory for the launcher's own use.
pub(crate) fn map_own(address: u64, size: u64) -> Result<(), Errno> {
    let region = Region { address, size, offset: 0, backing: backing::PRIVATE, rights: rights::WRITE };
    map_region(&region, launch::NO_DESCRIPTOR, OWN_MEMORY)
}

/// Takes the right to write to a range away.
pub(crate) fn protect(address: u64, size: u64) -> Result<(), Errno> {
    // SAFETY: nobody holds a reference by which the range would be written.
    unsafe { linux::call(linux::MPROTECT, [address, size, PROT_READ, 0, 0, 0]) }.map(drop)
}

fn map_region(region: &Region, source: u32, kind: u64) -> Result<(), Errno> {
    let write = if region.rights & rights::WRITE != 0 { PROT_WRITE } else { 0 };
    let execute = if region.rights & rights::EXECUTE != 0 { PROT_EXEC } else { 0 };
    let flags = kind | MAP_FIXED_NOREPLACE;
    let arguments = [
        region.address,
        region.size,
        PROT_READ | write | execute,
        flags,
        i64::from(source.cast_signed()).cast_unsigned(),
        region.offset,
    ];
    // SAFETY: where something is mapped already the call fails, so nothing that exists changes.
    let address = unsafe { linux::call(linux::MMAP, arguments) }?;
    // Kernels before 4.17 take the address for a wish.
    if address == region.address { Ok(()) } else { Err(EXISTS) }
}

/// The lowest page that a process may use, and the first address that it may not.
const LOWEST_PAGE: u64 = 0x1_0000;
const END: u64 = 0x7fff_ffff_f000;

const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const OWN_MEMORY: u64 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
const NOT_PERMITTED: Errno = Errno(1);
const EXISTS: Errno = Errno(17);
