//! The separation kernel: runs the subjects of the plan that lies next to it in the image, and nothing else.
//!
//! Two ways lead in: boot, and "a subject stopped". `boot` checks the machine against the plan and prepares what the
//! builder cannot know; `run` is the loop of every CPU. The kernel allocates nothing and takes no decision that the plan has
//! not taken: what remains to decide is in `palisade-kernel-core`, which is tested on the host.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod arch;
#[allow(unsafe_code)]
mod boot;
mod console;
mod devices;
#[allow(unsafe_code)]
mod ending;
#[allow(unsafe_code)]
mod fatal;
mod iommus;
#[allow(unsafe_code)]
mod loader;
mod machine;
#[allow(unsafe_code)]
mod memory;
mod report;
mod run;
#[allow(unsafe_code)]
mod runtime;
