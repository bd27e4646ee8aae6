//! The time subject: reads the real-time clock once, and publishes the time to everybody.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use palisade_abi::time_info::{TimeInfo, TimePage};
use palisade_services::rtc::{self, Cmos, DateTime};
use palisade_services::text::Text;
use solo5::{StartInfo, clock, console, port, shared_memory, sleep};

solo5::subject!(main);

fn main(_: &StartInfo) -> i32 {
    let Some(page) = shared_memory("time_info").map(TimePage) else {
        console::write_line(b"there is no page for the time");
        return 1;
    };
    let seconds = rtc::read(&mut CmosPorts);
    // Everybody waits for a time. Without a clock it is 1970, which is plainly wrong but lets them run.
    let now = seconds.unwrap_or(0).saturating_mul(1_000_000);
    let base = now.saturating_sub(clock::monotonic() / 1000).max(1);
    page.publish(&TimeInfo { base, ticks_per_second: u64::from(clock::kilohertz()) * 1000, time_zone: 0 });
    match seconds {
        Some(seconds) => console::write_line(announcement(&DateTime::from_seconds(seconds)).as_bytes()),
        None => console::write_line(b"the real-time clock shows no valid time"),
    }
    loop {
        sleep::wait();
    }
}

fn announcement(time: &DateTime) -> Text<40> {
    let two_digits = |text: Text<40>, before: &str, number| {
        text.str(before).str(if number < 10 { "0" } else { "" }).decimal(number)
    };
    let text = Text::new().str("it is ").decimal(time.year);
    let parts =
        [("-", time.month), ("-", time.day), (" ", time.hour), (":", time.minute), (":", time.second)];
    parts.into_iter().fold(text, |text, (before, number)| two_digits(text, before, number)).str(" UTC")
}

/// The CMOS memory behind its two ports.
struct CmosPorts;

impl Cmos for CmosPorts {
    fn read(&mut self, register: u8) -> u8 {
        port::write(INDEX, register);
        port::read(DATA)
    }
}

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
