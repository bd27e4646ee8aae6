//! Prints a line every so many milliseconds, so many times: the neighbour that must not notice what others do.
//!
//! Arguments: interval in milliseconds, number of lines. The last line tells the longest time between two.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{StartInfo, clock, println, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let (interval, count) = (arguments.number(100) * 1_000_000, arguments.number(10));
    let mut previous = clock::monotonic();
    let mut longest = 0;
    for beat in 1..=count {
        sleep::until(previous + interval);
        let now = clock::monotonic();
        longest = longest.max(now - previous);
        previous = now;
        println!("beat {beat} of {count}");
    }
    println!("longest time between two beats: {} ms", longest / 1_000_000);
    0
}
