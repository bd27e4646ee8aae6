//! The smallest unikernel.

#![no_std]
#![no_main]

use solo5::{StartInfo, println};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    println!("Hello, World");
    println!("Command line is: '{}'", start.command_line);
    0
}
