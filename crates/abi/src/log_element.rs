//! The log protocol: lines of text, cut into elements of 64 bytes.

#![forbid(unsafe_code)]

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::channel::Element;

/// Bytes of text in an element.
pub const TEXT_SIZE: usize = 56;

/// A line of text, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LogElement {
    /// Time-stamp counter at the start of the minor frame in which the element was written.
    pub timestamp: u64,
    /// The text, padded with NUL. A newline is its last character, if it has one.
    pub text: [u8; TEXT_SIZE],
}

impl LogElement {
    /// An element without text.
    pub const EMPTY: Self = Self { timestamp: 0, text: [0; TEXT_SIZE] };

    /// The text without its padding. What it contains is the writer's choice: any bytes but NUL.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.text.split(|b| *b == 0).next().unwrap_or(&[])
    }
}

impl Element for LogElement {
    const PROTOCOL: u64 = 0xf007_8909_4b6f_70cf;
}

/// Collects text until it makes an element.
#[derive(Debug, Clone)]
pub struct LogBuffer {
    text: [u8; TEXT_SIZE],
    used: usize,
}

impl LogBuffer {
    /// A buffer without text.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: [0; TEXT_SIZE], used: 0 }
    }

    /// Adds a byte of text. Returns an element, with this time stamp, when the line ends or the element is full.
    ///
    /// NUL and carriage return are dropped.
    pub fn push(&mut self, byte: u8, timestamp: u64) -> Option<LogElement> {
        if matches!(byte, 0 | b'\r') {
            return None;
        }
        *self.text.get_mut(self.used)? = byte;
        self.used += 1;
        if byte == b'\n' || self.used == TEXT_SIZE { self.flush(timestamp) } else { None }
    }

    /// What was collected so far, if anything, as an element without a newline.
    pub fn flush(&mut self, timestamp: u64) -> Option<LogElement> {
        let text = core::mem::take(self);
        if text.used == 0 { None } else { Some(LogElement { timestamp, text: text.text }) }
    }
}

impl Default for LogBuffer {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(size_of::<LogElement>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Vec<Vec<u8>> {
        let mut buffer = LogBuffer::new();
        let mut elements: Vec<LogElement> = text.bytes().filter_map(|b| buffer.push(b, 7)).collect();
        elements.extend(buffer.flush(7));
        assert!(elements.iter().all(|e| e.timestamp == 7));
        elements.iter().map(|e| e.text().to_vec()).collect()
    }

    #[test]
    fn each_line_is_an_element() {
        assert_eq!(elements("one\r\ntwo\0\n\nrest"), [&b"one\n"[..], b"two\n", b"\n", b"rest"]);
    }

    #[test]
    fn a_long_line_is_cut_after_56_bytes() {
        let text = "x".repeat(60) + "\n";
        assert_eq!(elements(&text), ["x".repeat(56).into_bytes(), b"xxxx\n".to_vec()]);
    }

    #[test]
    fn an_element_full_of_text_has_no_padding() {
        let element = LogElement { timestamp: 0, text: [b'x'; TEXT_SIZE] };
        assert_eq!(element.text().len(), TEXT_SIZE);
        assert_eq!(LogElement::EMPTY.text(), b"");
    }
}
