//! The debug console: a port that takes bytes, on machines that have one (QEMU's and Bochs' 0xe9).
//!
//! Its own small number printing, because the standard formatting machinery brings panic paths with it.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::arch::processor;

/// A part of a message.
pub(crate) enum Part<'a> {
    /// Text as it is.
    Text(&'a str),
    /// A number in decimal.
    Decimal(u64),
    /// A number in hexadecimal, with its prefix.
    Hex(u64),
    /// A PCI function: `bus:device.function`.
    Function(u16),
    /// Several, one after the other.
    Parts(&'a [Part<'a>]),
}

/// Says which port the console is at; 0 for none.
pub(crate) fn use_port(port: u16) {
    PORT.store(port, Ordering::Relaxed);
}

/// Prints one line. Lines of several CPUs are not mixed, unless a CPU has stopped in the middle of one.
pub(crate) fn line(start: &str, parts: &[Part<'_>]) {
    static BUSY: AtomicBool = AtomicBool::new(false);
    for _ in 0..MOST_POLLS {
        if !BUSY.swap(true, Ordering::Acquire) {
            break;
        }
        spin_loop();
    }
    text(start);
    parts.iter().for_each(part);
    put(b'\n');
    BUSY.store(false, Ordering::Release);
}

fn part(part: &Part<'_>) {
    match *part {
        Part::Text(part) => text(part),
        Part::Decimal(value) => decimal(value),
        Part::Hex(value) => {
            text("0x");
            hexadecimal(value, (64 - value.leading_zeros()).div_ceil(4).max(1));
        }
        Part::Function(function) => {
            hexadecimal(u64::from(function >> 8), 2);
            put(b':');
            hexadecimal(u64::from(function >> 3 & 0x1f), 2);
            put(b'.');
            hexadecimal(u64::from(function & 7), 1);
        }
        Part::Parts(parts) => parts.iter().for_each(self::part),
    }
}

fn text(text: &str) {
    text.bytes().for_each(put);
}

fn decimal(mut value: u64) {
    let mut digits = [0; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    digits.iter().skip(digits.len() - used).copied().for_each(put);
}

fn hexadecimal(value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        let nibble = (value >> (digit * 4) & 0xf) as u8;
        put(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}

fn put(byte: u8) {
    let port = PORT.load(Ordering::Relaxed);
    if port != 0 {
        processor::port_write_u8(port, byte);
    }
}

static PORT: AtomicU16 = AtomicU16::new(0);
/// Far more than another CPU's line takes.
const MOST_POLLS: u32 = 10_000_000;
