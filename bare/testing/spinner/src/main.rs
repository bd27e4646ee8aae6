//! Never gives up the CPU.
//!
//! Argument: `interrupts` lets interrupts in; without it they stay disabled, as they are when a subject starts.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{StartInfo, console, interrupt};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    console::write_line(b"spinning");
    if start.command_line.trim() == "interrupts" {
        interrupt::enable();
    }
    loop {
        core::hint::black_box(());
    }
}
