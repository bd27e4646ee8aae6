//! Cutting a stream of bytes into lines.

use std::mem;

/// Cuts what arrives piece by piece into lines. A line longer than [`Lines::LONGEST`] is cut, so a guest that never ends
/// its line costs no memory here.
#[derive(Debug, Default)]
pub struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// Most bytes of a line.
    pub const LONGEST: usize = 256 * 1024;

    /// Takes the next piece; gives the lines it completes, without their ends.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                lines.push(self.take());
                continue;
            }
            if self.unfinished.len() == Self::LONGEST {
                lines.push(self.take());
            }
            self.unfinished.push(*byte);
        }
        lines
    }

    /// The line that was begun and not ended, if there is one.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.unfinished.is_empty() { None } else { Some(self.take()) }
    }

    fn take(&mut self) -> Vec<u8> {
        let mut line = mem::take(&mut self.unfinished);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_the_pieces_they_arrive_in() {
        let text = b"one\r\ntwo\n\nfour\xff\n";
        let whole = Lines::default().push(text);
        let mut lines = Lines::default();
        let pieces: Vec<_> = text.chunks(1).flat_map(|piece| lines.push(piece)).collect();
        assert_eq!(whole, pieces);
        assert_eq!(whole, [&b"one"[..], b"two", b"", b"four\xff"]);
    }

    #[test]
    fn an_unfinished_line_is_kept_until_the_end() {
        let mut lines = Lines::default();
        assert!(lines.push(b"half a line").is_empty());
        assert_eq!(lines.finish(), Some(b"half a line".to_vec()));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut lines = Lines::default();
        let cut = lines.push(&vec![b'x'; 3 * Lines::LONGEST]);
        assert_eq!(cut.len(), 2);
        assert!(cut.iter().all(|line| line.len() == Lines::LONGEST));
        assert_eq!(lines.push(b"\n"), [vec![b'x'; Lines::LONGEST]]);
    }
}
