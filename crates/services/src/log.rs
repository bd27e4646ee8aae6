//! The log: whole lines out of everybody's log channels, fit for a terminal.
//!
//! Writers are hostile until proved otherwise. Whatever one of them writes, or how fast, its lines carry its own name,
//! nothing in them commands the reader's terminal, and the others get their turn.

use palisade_abi::channel::{Read, Reader};
use palisade_abi::log_element::LogElement;
use palisade_abi::volatile::Memory;

use crate::text::Text;

/// Where the lines go.
pub trait Output {
    /// Writes bytes.
    fn write(&mut self, bytes: &[u8]);
}

/// A log channel and the subject that writes to it.
#[derive(Debug)]
pub struct Source<'n, M> {
    name: &'n str,
    reader: Reader<M, LogElement>,
    line: Text<MAX_LINE>,
    quiet_sweeps: u32,
    incompatible: bool,
}

/// What a sweep left to do. The order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Everything was written.
    Idle,
    /// An unfinished line waits for its end.
    Waiting,
    /// There is more to read.
    Busy,
}

impl<'n, M: Memory> Source<'n, M> {
    /// The log of the subject `name`.
    pub fn new(name: &'n str, memory: M) -> Self {
        Self { name, reader: Reader::new(memory), line: Text::new(), quiet_sweeps: 0, incompatible: false }
    }

    /// Writes the lines that became complete, up to a number that leaves time for the others.
    ///
    /// Call it regularly, also when nothing was announced: an unfinished line is written after some sweeps without more.
    pub fn sweep(&mut self, output: &mut impl Output) -> Progress {
        for _ in 0..MOST_ELEMENTS {
            let mut element = LogElement::EMPTY;
            match self.reader.read(&mut element) {
                Read::Element => self.take(&element, output),
                Read::EpochChanged => {
                    self.incompatible = false;
                    self.end_line(output);
                }
                Read::Overrun => {
                    let lost = self.reader.drain();
                    self.end_line(output);
                    let message = Text::<60>::new().decimal(lost).str(" messages lost");
                    write_line(output, self.name, message.as_bytes());
                }
                Read::Incompatible => {
                    if !core::mem::replace(&mut self.incompatible, true) {
                        write_line(output, self.name, b"cannot be read: this is no log channel");
                    }
                    return Progress::Idle;
                }
                Read::Nothing | Read::Inactive => return self.rest(output),
            }
        }
        Progress::Busy
    }

    fn take(&mut self, element: &LogElement, output: &mut impl Output) {
        self.quiet_sweeps = 0;
        for byte in element.text() {
            if *byte == b'\n' {
                write_line(output, self.name, self.line.as_bytes());
                self.line.clear();
            } else {
                self.line.push(&[*byte]);
                if self.line.room() == 0 {
                    self.end_line(output);
                }
            }
        }
    }

    fn rest(&mut self, output: &mut impl Output) -> Progress {
        if self.line.as_bytes().is_empty() {
            return Progress::Idle;
        }
        self.quiet_sweeps += 1;
        if self.quiet_sweeps >= PATIENCE {
            self.end_line(output);
        }
        Progress::Waiting
    }

    /// Writes the unfinished line, if there is one.
    fn end_line(&mut self, output: &mut impl Output) {
        self.quiet_sweeps = 0;
        if !self.line.as_bytes().is_empty() {
            write_line(output, self.name, self.line.as_bytes());
            self.line.clear();
        }
    }
}

/// Writes a line under a subject's name.
///
/// Control characters and those that change the direction of text are shown as numbers, and so are bytes that are not
/// UTF-8.
pub fn write_line(output: &mut impl Output, name: &str, line: &[u8]) {
    output.write(b"[");
    output.write(name.as_bytes());
    output.write(b"] ");
    for chunk in line.utf8_chunks() {
        write_harmless(output, chunk.valid());
        for byte in chunk.invalid() {
            output.write(&[b'\\', b'x', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    output.write(b"\r\n");
}

fn write_harmless(output: &mut impl Output, text: &str) {
    let mut written = 0;
    for (at, character) in text.char_indices().filter(|(_, character)| is_harmful(*character)) {
        output.write(text.as_bytes().get(written..at).unwrap_or(&[]));
        written = at + character.len_utf8();
        let number = u32::from(character);
        output.write(b"\\u{");
        for shift in [12, 8, 4, 0].into_iter().filter(|shift| number >> shift != 0 || *shift == 0) {
            output.write(&[digit((number >> shift & 0xf) as u8)]);
        }
        output.write(b"}");
    }
    output.write(text.as_bytes().get(written..).unwrap_or(&[]));
}

/// Control characters but the tabulator; marks that turn text around; separators of lines and paragraphs.
fn is_harmful(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || character.is_control() && character != '\t'
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// A longer line is written in pieces.
const MAX_LINE: usize = 256;
/// Elements read from a channel before the next one has its turn.
const MOST_ELEMENTS: usize = 16;
/// Sweeps after which an unfinished line is written.
const PATIENCE: u32 = 5;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::atomic::{AtomicU64, Ordering};

    use palisade_abi::channel::{PROTOCOL, Writer};
    use palisade_abi::log_element::LogBuffer;
    use palisade_abi::volatile::Shared;

    use super::*;

    #[derive(Default)]
    struct Terminal(Vec<u8>);

    impl Output for Terminal {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend(bytes);
        }
    }

    impl Terminal {
        fn take(&mut self) -> String {
            String::from_utf8(std::mem::take(&mut self.0)).unwrap()
        }
    }

    fn channel(elements: usize) -> Vec<AtomicU64> {
        (0..8 + 8 * elements).map(|_| AtomicU64::new(0)).collect()
    }

    struct Subject<'a>(Writer<Shared<'a>, LogElement>, LogBuffer);

    impl<'a> Subject<'a> {
        fn start(words: &'a [AtomicU64]) -> Self {
            Self(Writer::start(words.into(), NonZeroU64::new(1).unwrap()).unwrap(), LogBuffer::new())
        }

        fn print(&mut self, text: &[u8]) {
            for byte in text {
                self.1.push(*byte, 0).iter().for_each(|element| self.0.write(element));
            }
            self.1.flush(0).iter().for_each(|element| self.0.write(element));
        }
    }

    fn printed(text: &[u8]) -> String {
        let words = channel(64);
        Subject::start(&words).print(text);
        let mut source = Source::new("hello", Shared::from(words.as_slice()));
        let mut terminal = Terminal::default();
        while source.sweep(&mut terminal) != Progress::Idle {}
        terminal.take()
    }

    #[test]
    fn lines_carry_the_name_of_their_subject() {
        assert_eq!(printed(b"one\n\ntwo\n"), "[hello] one\r\n[hello] \r\n[hello] two\r\n");
        let long = "x".repeat(120);
        assert_eq!(printed(format!("{long}\n").as_bytes()), format!("[hello] {long}\r\n"));
    }

    #[test]
    fn nothing_in_a_line_commands_the_terminal() {
        assert_eq!(printed(b"a\x1b[2Jb\x07\x7f\n"), "[hello] a\\u{1b}[2Jb\\u{7}\\u{7f}\r\n");
        assert_eq!(
            printed("a\u{9b}b\u{202e}c\u{2028}d\n".as_bytes()),
            "[hello] a\\u{9b}b\\u{202e}c\\u{2028}d\r\n"
        );
        assert_eq!(printed(b"a\rb\n[log] x"), "[hello] ab\r\n[hello] [log] x\r\n");
        assert_eq!(printed("tab\there, grüße\n".as_bytes()), "[hello] tab\there, grüße\r\n");
        assert_eq!(printed(b"\xff\xc3\n"), "[hello] \\xff\\xc3\r\n");
    }

    #[test]
    fn a_character_cut_by_an_element_is_whole_again() {
        let text = "x".repeat(55) + "ü";
        assert_eq!(printed(format!("{text}\n").as_bytes()), format!("[hello] {text}\r\n"));
    }

    #[test]
    fn a_line_without_end_is_written_in_pieces_and_never_withheld() {
        let out = printed("y".repeat(MAX_LINE + 3).as_bytes());
        assert_eq!(out, format!("[hello] {}\r\n[hello] yyy\r\n", "y".repeat(MAX_LINE)));
    }

    #[test]
    fn a_flood_does_not_silence_the_others() {
        let (flooded, calm) = (channel(1000), channel(4));
        let mut flood = Subject::start(&flooded);
        (0..900).for_each(|_| flood.print(b"flood\n"));
        Subject::start(&calm).print(b"here I am\n");
        let mut sources = [("flood", &flooded), ("calm", &calm)]
            .map(|(name, words)| Source::new(name, Shared::from(words.as_slice())));
        let mut terminal = Terminal::default();
        for source in &mut sources {
            let _ = source.sweep(&mut terminal);
        }
        let out = terminal.take();
        assert!(out.contains("[calm] here I am"));
        assert!(out.lines().count() <= MOST_ELEMENTS + 1);
    }

    #[test]
    fn lost_messages_are_counted() {
        let words = channel(4);
        let mut subject = Subject::start(&words);
        let mut source = Source::new("hello", Shared::from(words.as_slice()));
        let mut terminal = Terminal::default();
        assert_eq!(source.sweep(&mut terminal), Progress::Idle);
        (0..7).for_each(|_| subject.print(b"x\n"));
        assert_eq!(source.sweep(&mut terminal), Progress::Idle);
        subject.print(b"y\n");
        assert_eq!(source.sweep(&mut terminal), Progress::Idle);
        assert_eq!(terminal.take(), "[hello] 7 messages lost\r\n[hello] y\r\n");
    }

    #[test]
    fn a_restarted_subject_does_not_continue_its_old_line() {
        let words = channel(4);
        Subject::start(&words).print(b"half a li");
        let mut source = Source::new("hello", Shared::from(words.as_slice()));
        let mut terminal = Terminal::default();
        assert_eq!(source.sweep(&mut terminal), Progress::Waiting);
        let mut subject = Subject(
            Writer::start(words.as_slice().into(), NonZeroU64::new(2).unwrap()).unwrap(),
            LogBuffer::new(),
        );
        subject.print(b"new\n");
        let _ = source.sweep(&mut terminal);
        assert_eq!(terminal.take(), "[hello] half a li\r\n[hello] new\r\n");
    }

    #[test]
    fn a_channel_of_another_kind_is_reported_once() {
        let words = channel(4);
        Subject::start(&words);
        words[PROTOCOL / 8].store(1, Ordering::Relaxed);
        let mut source = Source::new("hello", Shared::from(words.as_slice()));
        let mut terminal = Terminal::default();
        for _ in 0..3 {
            assert_eq!(source.sweep(&mut terminal), Progress::Idle);
        }
        assert_eq!(terminal.take(), "[hello] cannot be read: this is no log channel\r\n");
    }
}
