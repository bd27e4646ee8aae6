//! One of a pair: it raises an event as fast as it can, while the other one works.
//!
//! Arguments: `raise EVENT COUNT` or `work`. The first one says how long it took, and then by the channel `over` that it is over;
//! until then the other one never gives up the CPU, but exits as often as it can, so that its kernel looks for events all the time.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::abi::volatile::Memory;
use solo5::{Event, StartInfo, clock, println, raise_number, shared_memory};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let Some(over) = shared_memory("over") else {
        println!("there is no channel");
        return 1;
    };
    let mut arguments = start.arguments();
    if arguments.next() == Some("work") {
        while over.load(0) != Some(1) {
            raise_number(UNDEFINED);
        }
        println!("has worked");
        return 0;
    }
    let Some(event) = arguments.next().and_then(Event::named) else {
        println!("there is no such event");
        return 1;
    };
    let begin = clock::monotonic();
    for _ in 0..arguments.number(100_000) {
        event.raise();
    }
    println!("raised it for {} us", (clock::monotonic() - begin) / 1000);
    over.store(0, 1);
    0
}

/// A source event that no policy defines: raising it does nothing but exit.
const UNDEFINED: u64 = 63;
