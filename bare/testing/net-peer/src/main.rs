//! A host on the network device `service`: it answers ARP requests, pings and UDP datagrams to port 7 (echo), and does one
//! of these things (arguments: what, its own IPv4 address, the other host's, a number):
//!
//! - `serve OWN`: nothing else, until a datagram to port 9 ends it.
//! - `ping OWN OTHER COUNT`: pings, one after the other.
//! - `burst OWN OTHER COUNT`: sends that many pings at once, and ten more one after the other.
//! - `ask OWN OTHER MS`: sends a datagram and waits for its echo, again and again for so many milliseconds; and once more
//!   after a pause that is as long.
//! - `flood OWN OTHER MS`: sends datagrams to a port where nobody listens, as fast as it can for so many milliseconds.
//! - `fail OWN OTHER COUNT`: pings once and fails, that many times; the start after that succeeds.
//! - `end OWN OTHER COUNT`: ends the other host that many times, and waits each time until it answers again.
//!
//! The word `poll` before them has it look for frames every millisecond: hosts that never signal are heard too. Arguments
//! behind them are for those who make its network.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod host;
mod packet;

use core::str::FromStr;

use solo5::{Event, StartInfo, clock, net, println, sleep};

use crate::host::{Heard, Host};
use crate::packet::{Ip, Packet};

solo5::unikernel!(main, networks = ["service"]);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments().peekable();
    let longest_sleep = if arguments.next_if_eq(&"poll").is_some() { MILLISECOND } else { u64::MAX };
    let (verb, own, other) = (arguments.next(), arguments.next(), arguments.next());
    let number = arguments.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let Ok(network) = net::acquire("service") else {
        println!("there is no network device `service`");
        return 1;
    };
    let address = |word: Option<&str>| word.and_then(|word| Ip::from_str(word).ok());
    let Some(own) = address(own) else {
        println!("there is no address");
        return 1;
    };
    let mut host = Host::new(network, own, longest_sleep);
    println!("this is {own} with {:02x?}", host.mac());
    let Some(other) = address(other) else { return serve(&mut host) };
    let Some(mac) = host.resolve(other, PATIENCE) else {
        println!("{other} does not answer");
        return 1;
    };
    println!("{other} is {mac:02x?}");
    let to = (other, mac);
    let status = match verb {
        Some("ping") => ping(&mut host, to, number, PATIENCE),
        Some("burst") => burst(&mut host, to, number),
        Some("ask") => ask(&mut host, to, number * MILLISECOND),
        Some("flood") => flood(&mut host, to, number * MILLISECOND),
        Some("fail") => fail(&mut host, to, start.generation > number),
        Some("end") => end(&mut host, to, number),
        _ => 1,
    };
    println!("lost {} frames", host.losses());
    if status == 0 {
        power_off();
    }
    status
}

type To = (Ip, [u8; 6]);

fn serve(host: &mut Host) -> i32 {
    while host.hear(u64::MAX) != Some(Heard::End) {}
    println!("told to end, lost {} frames", host.losses());
    0
}

fn ping(host: &mut Host, to: To, count: u64, patience: u64) -> i32 {
    let (mut answered, mut slowest) = (0, 0);
    for number in 0..count {
        let sent = clock::monotonic();
        host.send(to, Packet::Ping(number as u16));
        if host.wait_for(Heard::Pong(number as u16), patience) {
            answered += 1;
            slowest = slowest.max(clock::monotonic() - sent);
        }
    }
    println!("{answered} of {count} pings answered, the slowest after {} us", slowest / 1000);
    i32::from(answered != count)
}

fn burst(host: &mut Host, to: To, count: u64) -> i32 {
    for number in 0..count {
        host.send(to, Packet::Ping(number as u16));
    }
    let mut answered = 0;
    while let Some(heard) = host.hear(clock::monotonic() + 1000 * MILLISECOND) {
        answered += u64::from(matches!(heard, Heard::Pong(_)));
    }
    println!("{answered} of a burst of {count} pings answered");
    ping(host, to, 10, PATIENCE)
}

fn ask(host: &mut Host, to: To, duration: u64) -> i32 {
    let first = ask_for(host, to, duration);
    sleep::until(clock::monotonic() + duration);
    let second = ask_for(host, to, duration);
    println!("{first} requests answered in {} ms, {second} after a pause", duration / MILLISECOND);
    i32::from(first == 0 || second == 0)
}

fn ask_for(host: &mut Host, to: To, duration: u64) -> u64 {
    let start = clock::monotonic();
    let mut answered = 0_u64;
    while clock::monotonic() - start < duration {
        host.send(to, Packet::Echo(answered as u16));
        answered += u64::from(host.wait_for(Heard::Echo(answered as u16), 100 * MILLISECOND));
    }
    answered
}

fn flood(host: &mut Host, to: To, duration: u64) -> i32 {
    let start = clock::monotonic();
    let mut sent = 0_u64;
    while clock::monotonic() - start < duration {
        host.send(to, Packet::Noise);
        sent += 1;
    }
    println!("flooded with {sent} frames in {} ms", (clock::monotonic() - start) / MILLISECOND);
    0
}

fn fail(host: &mut Host, to: To, last: bool) -> i32 {
    host.send(to, Packet::Ping(0));
    let answered = host.wait_for(Heard::Pong(0), PATIENCE);
    println!("ping {}", if answered { "answered" } else { "NOT answered" });
    i32::from(!last || !answered)
}

fn end(host: &mut Host, (other, mut mac): To, count: u64) -> i32 {
    for restart in 1..=count {
        host.send((other, mac), Packet::End);
        sleep::until(clock::monotonic() + 50 * MILLISECOND);
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            // An unmodified one can meet its end once more in its channel, and restarts once more.
            let found = host.resolve(other, PATIENCE);
            mac = found.unwrap_or(mac);
            if found.is_some() && ping(host, (other, mac), 3, 500 * MILLISECOND) == 0 {
                break;
            }
            if clock::monotonic() > deadline {
                println!("{other} does not answer after restart {restart}");
                return 1;
            }
        }
        println!("{other} is {mac:02x?} after restart {restart}");
    }
    0
}

/// Ends the system if that is this host's right, for systems whose other subjects never end.
fn power_off() {
    if let Some(event) = Event::named("system_power_off") {
        // Time for the log to print what was said.
        sleep::until(clock::monotonic() + 500 * MILLISECOND);
        event.raise();
    }
}

const MILLISECOND: u64 = 1_000_000;
/// How long an answer may take where nothing is lost: the computer may have much else to do.
const PATIENCE: u64 = 60_000 * MILLISECOND;
