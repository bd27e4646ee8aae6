//! Raises the event that its argument names, half a second after its start.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{Event, StartInfo, clock, println, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let name = start.command_line.trim();
    let Some(event) = Event::named(name) else {
        println!("there is no event `{name}`");
        return 1;
    };
    println!("raising {name}");
    sleep::until(clock::monotonic() + 500_000_000);
    event.raise();
    0
}
