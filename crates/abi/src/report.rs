//! The report page: what the kernel says about each subject, read by the supervisor and by drivers.
//!
//! One page, one record of 64 bytes per subject, indexed by the subject's identifier. When a subject stops, the kernel writes the
//! record's other fields first and `state` last; when it starts again, `state` first and `generation` last.

#![forbid(unsafe_code)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A subject's record in the report page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SubjectReport {
    /// A [`State`].
    pub state: u32,
    /// The [`crate::plan::trap`] that stopped the subject, if it is stopped.
    pub trap: u32,
    /// How many times the subject was started; 1 after boot.
    pub generation: u64,
    /// Instruction pointer of the stopped subject.
    pub rip: u64,
    /// Stack pointer of the stopped subject.
    pub rsp: u64,
    /// Guest-physical address of a memory fault, port number, MSR number or control register number; else 0.
    pub address: u64,
    /// Error code or access kind: bit 0 present, bit 1 write, bit 4 instruction fetch for memory; bit 0 = input for ports,
    /// bit 0 = write for MSRs.
    pub info: u64,
    /// The processor's own exit code.
    pub exit_code: u64,
    /// How often an IOMMU refused an access or an interrupt of this subject's devices since boot. It is not written with the
    /// others, and does not change with the state.
    pub refused: u64,
}

/// The states of a subject that a report distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The subject runs or sleeps.
    Running = 1,
    /// It executed `hlt` with interrupts disabled: the way a unikernel ends.
    Halted = 2,
    /// A trap stopped it.
    Faulted = 3,
}

const _: () = assert!(size_of::<SubjectReport>() == 64);
