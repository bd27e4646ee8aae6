//! Ends with the exit status that its command line gives; without one it runs for ever.

#![no_std]
#![no_main]

use solo5::{StartInfo, clock, println, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    match start.command_line.parse() {
        Ok(status) => status,
        Err(_) => loop {
            println!("still here");
            sleep::until(clock::monotonic() + 1_000_000_000);
        },
    }
}
