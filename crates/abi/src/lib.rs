//! The byte layouts that all sides share: kernel, subjects, builder and verifier.
//!
//! Nothing here decides anything. Each module has one layout: a structure or a checked view over bytes, the constants
//! that belong to it, and the functions that read and write it. All integers are little-endian. What is not a layout are
//! [words](needs) that builder and kernel share.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the layouts are read in place: only 64-bit little-endian targets are supported");

pub mod boot_info;
pub mod channel;
pub mod crash;
pub mod frame_channel;
pub mod init_table;
pub mod launch;
pub mod layout;
pub mod log_element;
pub mod needs;
pub mod network_element;
pub mod nic_config;
pub mod note;
pub mod pci;
pub mod plan;
pub mod platform;
pub mod report;
pub mod scheduling_info;
pub mod status;
pub mod subject_info;
pub mod supervisor_config;
pub mod time_info;
pub mod timed_event;
pub mod volatile;
