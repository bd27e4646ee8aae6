//! From an allocated plan to a bootable image, and an independent reader of the finished image.
//!
//! [`pack()`] lays out everything that has content (the kernel, the plan as the kernel reads it, programs, page tables,
//! bitmaps, configuration) from 1 MiB upwards and makes one ELF file of it. It decides nothing: rights, addresses of
//! volatile memory and the schedule come from the policy. The same plan and kernel always give the same bytes.
//!
//! [`verify`](mod@verify) proves from the bytes of a finished image that its parts are walled off. It shares no code with the
//! packer.
//!
//! [`info`] makes what a subject is told, for images and for whoever runs systems without one.
//!
//! [`iso`] wraps such a file into a bootable disc; [`output`] writes files so that no half of one is ever seen.

#![forbid(unsafe_code)]

mod bitmap;
mod blob;
mod cpuid;
mod devices;
mod elf;
mod error;
pub mod info;
mod iommu;
pub mod iso;
mod kernel;
mod map;
mod multiboot;
pub mod output;
mod pack;
mod paging;
mod place;
mod store;
mod tables;
#[cfg(test)]
mod testing;
pub mod verify;

pub use error::PackError;
pub use pack::{Image, pack};
