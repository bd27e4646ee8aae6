//! Fills its memory with a pattern, tells the driver of its network device that it is ready, and looks whether the pattern is
//! still there when the driver says that it is done.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::hint::black_box;

use solo5::{Event, StartInfo, println, sleep};

solo5::unikernel!(main, networks = ["service"]);

fn main(start: &StartInfo) -> i32 {
    let (Some(memory), Some(ready)) = (start.heap(), Event::named("service|out_ready")) else { return 1 };
    memory.fill(PATTERN);
    black_box(&mut *memory);
    ready.raise();
    sleep::wait();
    match black_box(memory).iter().position(|byte| *byte != PATTERN) {
        None => println!("the memory is as it was"),
        Some(at) => println!("the memory has changed at {at}"),
    }
    0
}

const PATTERN: u8 = 0x5a;
