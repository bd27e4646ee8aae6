//! What the kernel decides, as plain code without hardware: who runs next and until when, what an event does, what a
//! subject may learn from CPUID, whether the machine's memory and devices are what the plan needs, how a device is given to
//! its subject and taken back.
//!
//! The kernel in `bare/kernel` calls this on every exit; the tests call it on the host. Nothing here allocates or panics:
//! indices come from a checked [`palisade_abi::plan::Plan`], and array accesses are masked to the array's size, which also keeps a
//! mispredicted bound from reading elsewhere (Spectre variant 1).

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod atomic {
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
    };
}
pub mod clock;
pub mod cpuid;
pub mod device;
pub mod dispatcher;
pub mod exit;
pub mod iommu;
pub mod mailbox;
pub mod memory_map;
pub mod rendezvous;
mod schedule;
#[cfg(test)]
mod tests;
mod turns;
pub mod vtx;
