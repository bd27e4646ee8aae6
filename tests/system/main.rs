//! Whole-system tests: real images, built and booted in the emulator by the real command.
//!
//! Each test reads like a story: a system, what it does, what is expected of it. How that works is in [`harness`].

mod browser;
mod clock;
mod containment;
mod cpus;
mod crash;
mod debugger;
mod devices;
mod disc;
mod dma;
mod ends;
mod events;
mod foreign;
mod harness;
mod hello;
mod here;
mod hostile;
mod intel;
mod legacy;
mod machines;
mod measure;
mod misfortunes;
mod names;
mod nested;
mod network;
mod new;
mod nic;
mod processors;
mod randomness;
mod restarts;
mod running;
mod sharing;
mod sites;
mod started;
mod switch;
mod tap;
mod trace;
mod unikernel;
mod website;
