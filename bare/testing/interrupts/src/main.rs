//! Sends interrupts to another subject, or counts those it gets.
//!
//! Arguments: `send COUNT MILLISECONDS` raises the event `poke` that often, that far apart; `receive VECTOR COUNT` ends after
//! that many interrupts.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use solo5::{Event, StartInfo, clock, console, interrupt, println, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    match arguments.next() {
        Some("send") => send(arguments.number(10), arguments.number(20)),
        Some("receive") => receive(arguments.number(64) as u8, arguments.number(10)),
        _ => 2,
    }
}

fn send(count: u64, milliseconds: u64) -> i32 {
    let Some(poke) = Event::named("poke") else {
        console::write_line(b"there is no event `poke`");
        return 1;
    };
    for _ in 0..count {
        // Events that arrive before the first was delivered are one event.
        sleep::until(clock::monotonic() + milliseconds * 1_000_000);
        poke.raise();
    }
    println!("sent {count} interrupts");
    0
}

fn receive(vector: u8, count: u64) -> i32 {
    interrupt::set_handler(vector, |_| {
        RECEIVED.fetch_add(1, Ordering::Relaxed);
    });
    interrupt::enable();
    while RECEIVED.load(Ordering::Relaxed) < count {
        sleep::wait();
    }
    println!("received {count} interrupts at vector {vector}");
    0
}

static RECEIVED: AtomicU64 = AtomicU64::new(0);
