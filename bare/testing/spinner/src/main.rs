//! Never gives up the CPU.
//!
//! Argument: `interrupts` lets interrupts in; without it they stay disabled, as they are when a subject starts. `silent` says
//! nothing first, so that (with `--solo5:quiet`) no instruction of it ever needs the kernel.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{StartInfo, console, interrupt};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let argument = start.command_line.trim();
    if argument != "silent" {
        console::write_line(b"spinning");
    }
    if argument == "interrupts" {
        interrupt::enable();
    }
    loop {
        core::hint::black_box(());
    }
}
