//! Hands the CPU over to the other member of its group, and gets it back, many times.
//!
//! Arguments: `first` or `second`, number of times. The source event is named `over`. The second one is inactive after its
//! last handover, so it reports before it.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{Event, StartInfo, console, println};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let second = arguments.next() == Some("second");
    let count = arguments.number(1000);
    let Some(over) = Event::named("over") else {
        console::write_line(b"there is no event `over`");
        return 1;
    };
    for time in 1..=count {
        if second && time == count {
            println!("handing over for time {count}, the last one");
        }
        over.raise();
    }
    println!("handed over {count} times");
    0
}
