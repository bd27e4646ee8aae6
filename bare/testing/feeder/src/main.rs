//! Writes numbered network elements to a channel, for readers that cannot bear an overrun and for those that can.
//!
//! Arguments: name of the channel, number of elements, how many to write before a pause of a millisecond.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::num::NonZeroU64;

use palisade_abi::channel::Writer;
use palisade_abi::network_element::NetworkElement;
use solo5::{StartInfo, clock, cycles, println, shared_memory, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let channel = arguments.next().and_then(shared_memory);
    let (count, burst) = (arguments.number(100), arguments.number(1).max(1));
    let writer =
        channel.zip(NonZeroU64::new(cycles())).and_then(|(memory, epoch)| Writer::start(memory, epoch));
    let Some(mut writer) = writer else {
        println!("there is no such channel");
        return 1;
    };
    for number in 0..count {
        if number % burst == 0 {
            sleep::until(clock::monotonic() + 1_000_000);
        }
        if let Some(element) = NetworkElement::new(&number.to_le_bytes()) {
            writer.write(&element);
        }
    }
    println!("wrote {count} elements to a channel for {}", writer.elements());
    0
}
