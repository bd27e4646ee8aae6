//! The words of a command line.

use core::str::SplitAsciiWhitespace;

/// The words of a command line, one after the other.
#[derive(Debug, Clone)]
pub struct Arguments(SplitAsciiWhitespace<'static>);

impl Arguments {
    pub(crate) fn of(command_line: &'static str) -> Self {
        Self(command_line.split_ascii_whitespace())
    }

    /// The next word as a number; `default` if there is none, or it is no number.
    pub fn number(&mut self, default: u64) -> u64 {
        self.next().and_then(|word| word.parse().ok()).unwrap_or(default)
    }
}

impl Iterator for Arguments {
    type Item = &'static str;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}
