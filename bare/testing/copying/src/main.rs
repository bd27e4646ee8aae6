//! Copies, fills and compares memory of many lengths at many distances, and ends with 0 if every byte is what it has to be.

#![no_std]
#![no_main]

use core::cmp::Ordering;
use core::hint::black_box;

use solo5::{StartInfo, println};

solo5::unikernel!(main);

fn main(_: &StartInfo) -> i32 {
    for length in 0..=LONGEST {
        let done = [moves(length), copies(length), fills(length), compares(length)];
        if let Some(failed) = done.iter().position(|good| !good) {
            println!(
                "{} of {length} bytes went wrong",
                ["moving", "copying", "filling", "comparing"][failed]
            );
            return 1;
        }
    }
    println!("{} lengths went well", LONGEST + 1);
    0
}

/// Inside one buffer, to every distance before and behind.
fn moves(length: usize) -> bool {
    (0..=2 * REACH).all(|to| {
        let mut bytes = pattern();
        let range = black_box(REACH..REACH + length);
        bytes.copy_within(range, to);
        holds(&bytes, to, length, |at| byte(REACH + at))
    })
}

/// From one buffer to another, from and to places of every alignment.
fn copies(length: usize) -> bool {
    (0..16).all(|from| {
        let (source, mut bytes) = (pattern(), [0; SIZE]);
        bytes.copy_from_slice(&pattern());
        let to = REACH + from / 2;
        bytes[to..to + length].copy_from_slice(&black_box(&source)[from..from + length]);
        holds(&bytes, to, length, |at| byte(from + at))
    })
}

fn fills(length: usize) -> bool {
    (0..16).all(|to| {
        let mut bytes = pattern();
        bytes[to..to + length].fill(black_box(0xa5));
        holds(&bytes, to, length, |_| 0xa5)
    })
}

/// What is equal is equal, and a difference at any place decides.
fn compares(length: usize) -> bool {
    let (left, mut right) = (pattern(), pattern());
    let equal =
        |left: &[u8; SIZE], right: &[u8; SIZE]| black_box(left)[..length].cmp(&black_box(right)[..length]);
    equal(&left, &right) == Ordering::Equal
        && (0..length).all(|at| {
            right[at] = left[at].wrapping_add(1);
            let expected = left[at].cmp(&right[at]);
            let is_different = black_box(&left)[..length] != black_box(&right)[..length];
            let found = equal(&left, &right);
            right[at] = left[at];
            is_different && found == expected
        })
}

/// Whether the bytes are the pattern, but for `length` bytes from `start` on.
fn holds(bytes: &[u8; SIZE], start: usize, length: usize, inside: impl Fn(usize) -> u8) -> bool {
    bytes.iter().enumerate().all(|(at, found)| {
        let expected = if (start..start + length).contains(&at) { inside(at - start) } else { byte(at) };
        *found == expected
    })
}

fn pattern() -> [u8; SIZE] {
    core::array::from_fn(byte)
}

fn byte(at: usize) -> u8 {
    (at * 31 + at / 256 + 7) as u8
}

/// More than twice what is copied in one turn of the loop.
const LONGEST: usize = 200;
/// How far things are moved.
const REACH: usize = 80;
const SIZE: usize = 2 * REACH + LONGEST;
