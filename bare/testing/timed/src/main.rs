//! Sleeps for different times, and checks that it never wakes too early.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use solo5::{StartInfo, clock, println, sleep};

solo5::unikernel!(main);

fn main(_: &StartInfo) -> i32 {
    let mut early = 0;
    for milliseconds in [1, 2, 5, 10, 20, 50, 100, 200, 1, 3] {
        let deadline = clock::monotonic() + milliseconds * 1_000_000;
        // Nobody signals this subject, so nothing but the timed event ends its sleep.
        sleep::wait_until(deadline);
        let now = clock::monotonic();
        match now.checked_sub(deadline) {
            Some(late) => println!("slept {milliseconds} ms, late by {} us", late / 1000),
            None => {
                early += 1;
                println!("slept {milliseconds} ms, EARLY by {} us", (deadline - now) / 1000);
            }
        }
    }
    println!("woke too early {early} times");
    early
}
