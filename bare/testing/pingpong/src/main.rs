//! Two subjects raise events for each other in turn, and each knows how often it must have been woken.
//!
//! Arguments: `serve COUNT` or `return COUNT`, and the vector of the interrupt that the other one's event injects, or none if
//! it only wakes. Each has an event `ball`, a channel `mine` to write and a channel `theirs` to read: the first word says how often
//! the ball was played, the second one that the one who does not serve is ready.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use solo5::abi::volatile::{Memory, Shared};
use solo5::{Event, StartInfo, clock, interrupt, println, shared_memory, sleep};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let serves = arguments.next() == Some("serve");
    let (count, vector) = (arguments.number(1), arguments.number(0) as u8);
    let parts = (Event::named("ball"), shared_memory("mine"), shared_memory("theirs"));
    let (Some(ball), Some(mine), Some(theirs)) = parts else {
        println!("there is no ball, or no channel");
        return 2;
    };
    if vector != 0 {
        interrupt::set_handler(vector, |_| {
            RECEIVED.fetch_add(1, Ordering::Relaxed);
        });
        interrupt::enable();
    }
    let player = Player { ball, mine, theirs, vector };
    let wrong = if serves { player.serve(count) } else { player.give_back(count) };
    // What would come now comes without a reason.
    let (end, mut surplus) = (clock::monotonic() + 200_000_000, 0_u64);
    while clock::monotonic() < end {
        sleep::wait_until(end);
        surplus += u64::from(clock::monotonic() < end);
    }
    surplus += if vector == 0 { 0 } else { RECEIVED.load(Ordering::Relaxed).abs_diff(count) };
    println!("played {count} balls, {wrong} wrong, {surplus} too many");
    i32::from(wrong + surplus != 0)
}

struct Player {
    ball: Event,
    mine: Shared<'static>,
    theirs: Shared<'static>,
    vector: u8,
}

impl Player {
    fn serve(&self, count: u64) -> u64 {
        while self.theirs.load(READY) != Some(1) {
            sleep::until(clock::monotonic() + 1_000_000);
        }
        let mut wrong = 0;
        for number in 1..=count {
            self.play(number);
            wrong += self.wait_for(number);
        }
        wrong
    }

    fn give_back(&self, count: u64) -> u64 {
        // From here on an event is not lost, whether it arrives before the first sleep or after it.
        self.mine.store(READY, 1);
        let mut wrong = 0;
        for number in 1..=count {
            wrong += self.wait_for(number);
            self.play(number);
        }
        wrong
    }

    fn play(&self, number: u64) {
        self.mine.store(PLAYED, number);
        self.ball.raise();
    }

    /// Sleeps until the other one has played ball `number`; gives how often there was no reason to wake up.
    fn wait_for(&self, number: u64) -> u64 {
        let mut wrong = 0;
        loop {
            sleep::wait();
            let interrupted = self.vector == 0 || RECEIVED.load(Ordering::Relaxed) == number;
            if self.theirs.load(PLAYED) == Some(number) && interrupted {
                return wrong;
            }
            wrong += 1;
        }
    }
}

/// Interrupts received.
static RECEIVED: AtomicU64 = AtomicU64::new(0);
const PLAYED: usize = 0;
const READY: usize = 8;
