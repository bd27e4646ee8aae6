//! Checks that all its memory is as at the first start, spoils it, and faults.
//!
//! Argument: the generation that exits instead of faulting (0: none does).

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use solo5::{StartInfo, println};

solo5::unikernel!(main);

fn main(start: &StartInfo) -> i32 {
    let last = start.arguments().number(0);
    // The program's first instructions run on a stack at the end of the RAM, before the program has its own.
    let (heap, _) =
        start.heap().and_then(|ram| ram.split_last_chunk_mut::<4096>()).unwrap_or((&mut [], &mut [0; 4096]));
    let (data, bss) = (DATA.iter(), BSS.iter());
    let spoiled_data =
        data.enumerate().filter(|(at, word)| word.load(Ordering::Relaxed) != pristine(*at)).count();
    let spoiled_bss = bss.filter(|word| word.load(Ordering::Relaxed) != 0).count();
    let spoiled_heap = heap.iter().filter(|byte| **byte != 0).count();
    println!(
        "generation {}: spoiled words in data {spoiled_data}, in bss {spoiled_bss}, spoiled bytes in RAM {spoiled_heap}",
        start.generation
    );
    if spoiled_data + spoiled_bss + spoiled_heap == 0 {
        println!("generation {}: memory is pristine", start.generation);
    }
    if start.generation == last {
        return 0;
    }
    DATA.iter().chain(&BSS).for_each(|word| word.store(JUNK, Ordering::Relaxed));
    heap.fill(JUNK as u8);
    // SAFETY: never returns, and that is its purpose: the processor raises an exception.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

const fn pristine(at: usize) -> u64 {
    0x5eed_0000 + at as u64
}

static DATA: [AtomicU64; 1024] = {
    let mut words = [const { AtomicU64::new(0) }; 1024];
    let mut at = 0;
    while at < words.len() {
        words[at] = AtomicU64::new(pristine(at));
        at += 1;
    }
    words
};
static BSS: [AtomicU64; 4096] = [const { AtomicU64::new(0) }; 4096];

const JUNK: u64 = 0xdead_dead_dead_dead;
