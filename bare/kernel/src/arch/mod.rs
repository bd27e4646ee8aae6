//! The processor: everything that is hardware, and nearly all `unsafe` code of the kernel.

pub(crate) mod apic;
pub(crate) mod boot;
pub(crate) mod calibrate;
pub(crate) mod extended_state;
pub(crate) mod paging;
pub(crate) mod processor;
pub(crate) mod registers;
pub(crate) mod secondary;
pub(crate) mod svm;
pub(crate) mod tables;
pub(crate) mod virtualisation;
pub(crate) mod vtx;
