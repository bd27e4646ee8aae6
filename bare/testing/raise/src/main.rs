//! Raises the event that its first argument names, half a second after its start, or after as many milliseconds as the
//! second one says.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{Event, StartInfo, clock, println, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.command_line.split_whitespace();
    let name = arguments.next().unwrap_or_default();
    let pause = arguments.next().and_then(|pause| pause.parse().ok()).unwrap_or(500_u64);
    let Some(event) = Event::named(name) else {
        println!("there is no event `{name}`");
        return 1;
    };
    println!("raising {name}");
    sleep::until(clock::monotonic() + pause * 1_000_000);
    event.raise();
    0
}
