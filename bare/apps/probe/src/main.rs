//! Measures from the inside: when its frames begin and end, and what the kernel costs it.
//!
//! Arguments: how many frames to watch (20 without it, 256 at most; with 0 nothing is measured but answers), and how often to
//! repeat what has a cost (1000 without it). With an event `ball` and channels `mine` and `theirs` it is one of a pair: a third
//! argument `serve` has it measure how long the other one's answer takes, `return` has it answer.
//!
//! All times are ticks of the time-stamp counter. A frame's line is `frame START LENGTH LATE SEEN`: when the plan has it
//! begin and how long it lasts, and by how much later than that the program ran first, and for how long in all from then on.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::hint::black_box;

use solo5::abi::scheduling_info::SchedulingInfo;
use solo5::abi::volatile::{Memory, Shared};
use solo5::{Event, StartInfo, clock, cycles, println, shared_memory, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let frames = arguments.number(20) as usize;
    // In each attempt.
    let repeats = arguments.number(1000).div_ceil(ATTEMPTS);
    let role = arguments.next();
    let Some(page) = solo5::scheduling_info() else {
        println!("there is no scheduling info");
        return 1;
    };
    println!("clock {} kHz", u64::from(clock::kilohertz()) >> page.clock_shift());
    if frames > 0 {
        watch(&page, frames.min(MOST_FRAMES));
    }
    if frames > 0 && repeats > 0 {
        println!("cost exit {}", cost(repeats, || solo5::raise_number(UNDEFINED)));
        println!("cost cpuid {}", cost(repeats, || _ = black_box(core::arch::x86_64::__cpuid(0))));
    }
    match (role, Event::named("ball"), shared_memory("mine"), shared_memory("theirs")) {
        (Some("serve"), Some(ball), Some(mine), Some(theirs)) if repeats > 0 => {
            while theirs.load(READY) != Some(1) {
                sleep::until(clock::monotonic() + 1_000_000);
            }
            let mut number = 0;
            let answer = cost(repeats, || {
                number += 1;
                mine.store(PLAYED, number);
                ball.raise();
                wait_for(&theirs, number);
            });
            println!("cost answer {answer}");
        }
        (Some("return"), Some(ball), Some(mine), Some(theirs)) => {
            mine.store(READY, 1);
            for number in 1..=repeats * ATTEMPTS {
                wait_for(&theirs, number);
                mine.store(PLAYED, number);
                ball.raise();
            }
        }
        _ => {}
    }
    0
}

/// A frame as the plan has it, and as the program saw it.
#[derive(Clone, Copy, Default)]
struct Frame {
    start: u64,
    end: u64,
    first: u64,
    last: u64,
}

/// Looks at the clock all the time, and prints which frames it was in. The frame that it begins in is not among them.
fn watch(page: &SchedulingInfo<'_>, count: usize) {
    let mut frames = [Frame::default(); MOST_FRAMES];
    let shift = page.clock_shift();
    let mut current = page.frame_start();
    let mut seen = 0;
    while let Some(start) = Some(page.frame_start()).filter(|_| seen <= count) {
        let now = cycles();
        // If the frame has changed meanwhile, it is not known which of the two this was.
        if page.frame_start() != start {
            continue;
        }
        if start != current {
            current = start;
            seen += 1;
            if let Some(frame) = frames.get_mut(seen - 1) {
                *frame =
                    Frame { start: start >> shift, end: page.frame_end() >> shift, first: now, last: now };
            }
        } else if seen > 0
            && let Some(frame) = frames.get_mut(seen - 1)
        {
            frame.last = now;
        }
    }
    for frame in frames.iter().take(count) {
        let Frame { start, end, first, last } = *frame;
        println!("frame {start} {} {} {}", end - start, first - start, last - first);
    }
}

/// The least number of ticks that `action` takes on average of so many times (not 0), of several attempts: what comes between
/// is not its cost.
fn cost(repeats: u64, mut action: impl FnMut()) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..ATTEMPTS {
        let start = cycles();
        for _ in 0..repeats {
            action();
        }
        least = least.min((cycles() - start) / repeats);
    }
    least
}

fn wait_for(theirs: &Shared<'_>, number: u64) {
    while theirs.load(PLAYED) != Some(number) {
        sleep::wait();
    }
}

const MOST_FRAMES: usize = 256;
const ATTEMPTS: u64 = 20;
/// A source event that no policy defines: raising it does nothing but cost time.
const UNDEFINED: u64 = 63;
const PLAYED: usize = 0;
const READY: usize = 8;
