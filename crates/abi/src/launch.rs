//! Launch table: what the launcher makes of a Linux process before a subject's program runs in it.
//!
//! The host writes one for every start of a subject. The launcher maps it read-only at [`crate::layout::LAUNCH_TABLE`] and
//! leaves it there, because raising an event looks the event up in it. A [`Header`] stands first; regions, operations
//! and instructions of the filter follow, in this order.

#![forbid(unsafe_code)]

use core::mem::{align_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::init_table::Operation;
use crate::layout::MAX_EVENTS;

/// First eight bytes: `PALLNCH1`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PALLNCH1");

/// The beginning of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: u64,
    /// Address of the program's first instruction.
    pub entry: u64,
    /// Initial RSP.
    pub stack_pointer: u64,
    /// Initial RDI: address of the boot info.
    pub boot_info: u64,
    /// Initial RSI: how many times the subject was started.
    pub generation: u64,
    /// Address of the timed-event page, or 0.
    pub timed_event: u64,
    /// Nanoseconds that a tick of the clock lasts, as a fraction of 2^64.
    pub nanoseconds_per_tick: u64,
    /// Number of bits by which the time-stamp counter is shifted left to give the clock.
    pub clock_shift: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Number of regions.
    pub regions: u32,
    /// Number of operations.
    pub operations: u32,
    /// Number of the filter's instructions.
    pub filter: u32,
    /// Zero.
    pub reserved: u32,
    /// What raising each source event does.
    pub events: [Event; MAX_EVENTS],
}

/// Flags of a launch.
pub mod flags {
    /// The program's own handlers take its exceptions; otherwise an exception ends the subject.
    pub const GUEST_EXCEPTIONS: u32 = 1 << 0;
    /// Other processes of the user may look into this one.
    pub const DEBUGGABLE: u32 = 1 << 1;
}

/// What raising a source event does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// The event descriptor (`eventfd`) to which 1 is added, or [`NO_DESCRIPTOR`].
    pub descriptor: u32,
    /// A [`action`] that follows.
    pub action: u32,
}

/// The descriptor that stands for none.
pub const NO_DESCRIPTOR: u32 = u32::MAX;

/// What the raiser of an event does itself.
pub mod action {
    /// Goes on.
    pub const NONE: u32 = 0;
    /// Sleeps until an event or its timed event.
    pub const SLEEP: u32 = 1;
    /// Gives way to other processes.
    pub const YIELD: u32 = 2;
    /// Never runs again: the host ends the system.
    pub const STOP: u32 = 3;
}

/// A range of the address space, and what lies behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// First address; a multiple of the page size.
    pub address: u64,
    /// Bytes; a multiple of the page size.
    pub size: u64,
    /// Where it begins in the memory behind it.
    pub offset: u64,
    /// A [`backing`].
    pub backing: u32,
    /// Bits of [`rights`]. Everything is readable.
    pub rights: u32,
}

/// What lies behind a region.
pub mod backing {
    /// Zeroed memory of this process only.
    pub const PRIVATE: u32 = 0;
    /// The system's shared memory.
    pub const SHARED: u32 = 1;
    /// The subject's own content, which nobody can write.
    pub const CONTENT: u32 = 2;
}

/// Rights of a region.
pub mod rights {
    /// Write.
    pub const WRITE: u32 = 1 << 0;
    /// Execute.
    pub const EXECUTE: u32 = 1 << 1;
}

/// An instruction of the classic packet filter that judges system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a condition is true ...
    pub jump_true: u8,
    /// ... and if it is false.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// A table as the launcher reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table<'a> {
    /// The beginning.
    pub header: &'a Header,
    /// What to map.
    pub regions: &'a [Region],
    /// What to copy and fill then.
    pub operations: &'a [Operation],
    /// Which system calls are left in the end.
    pub filter: &'a [Instruction],
}

/// Reads a table; `None` if these bytes are none.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Table<'_>> {
    let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
    let (regions, rest) = <[Region]>::ref_from_prefix_with_elems(rest, header.regions as usize).ok()?;
    let (operations, rest) =
        <[Operation]>::ref_from_prefix_with_elems(rest, header.operations as usize).ok()?;
    let (filter, _) = <[Instruction]>::ref_from_prefix_with_elems(rest, header.filter as usize).ok()?;
    (header.magic == MAGIC).then_some(Table { header, regions, operations, filter })
}

/// The record in which a launcher leaves how its subject ended. The subject can write it too: it decides about nothing but
/// how the subject's own end is described.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Fault {
    /// Vector of the exception.
    pub vector: u64,
    /// Its error code.
    pub error_code: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// The address whose access caused it, if it is a page fault.
    pub address: u64,
}

/// What the launcher says on its start-up socket. The host answers [`stage::READY`] by a byte, after which the program
/// begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Word {
    /// A [`stage`].
    pub stage: u32,
    /// The region concerned.
    pub region: u32,
    /// Linux's error number, or 0.
    pub error: u32,
}

/// How far a launch came. All but the first say what failed.
pub mod stage {
    /// Everything is in place.
    pub const READY: u32 = 0;
    /// The table could not be read.
    pub const TABLE: u32 = 1;
    /// A property of the process could not be set.
    pub const PROCESS: u32 = 2;
    /// A region could not be mapped.
    pub const REGION: u32 = 3;
    /// The launcher's own pages could not be mapped.
    pub const OWN_PAGES: u32 = 4;
    /// Exceptions could not be caught.
    pub const SIGNALS: u32 = 5;
    /// Descriptors could not be closed.
    pub const DESCRIPTORS: u32 = 6;
    /// The system calls could not be restricted.
    pub const FILTER: u32 = 7;
    /// The program could not be executed.
    pub const EXECUTE: u32 = 8;
}

/// Descriptors that a launcher finds. Those of [`Event`]s begin at [`descriptor::FIRST_EVENT`].
pub mod descriptor {
    /// The subject's own event descriptor: whoever wakes it adds to it. It stays open.
    pub const WAKE: u32 = 0;
    /// The launch table.
    pub const TABLE: u32 = 1;
    /// The system's shared memory.
    pub const SHARED: u32 = 2;
    /// The subject's content.
    pub const CONTENT: u32 = 3;
    /// The start-up socket.
    pub const START: u32 = 4;
    /// The first of the descriptors that stay open for events.
    pub const FIRST_EVENT: u32 = 5;
}

/// Exit status of a process whose subject halted ...
pub const HALTED: i32 = 0;
/// ... that left a [`Fault`] ...
pub const FAULTED: i32 = 100;
/// ... and whose launch failed.
pub const FAILED: i32 = 101;

const _: () = {
    assert!(size_of::<Header>().is_multiple_of(8) && size_of::<Region>() == 32);
    assert!(size_of::<Instruction>() == 8 && align_of::<Instruction>() <= 8);
    assert!(size_of::<Word>() == 12);
};
