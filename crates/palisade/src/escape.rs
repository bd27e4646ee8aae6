//! Showing what others wrote without letting them write to the terminal.

use std::fmt;

/// Bytes as text that a terminal only shows: control characters, characters that turn the writing direction, and bytes
/// that are not UTF-8 appear as escapes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;

        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\t' => f.write_char('\t')?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c if is_dangerous(c) => write!(f, "{}", c.escape_unicode())?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A text of several lines, each escaped.
#[must_use]
pub(crate) fn escape_lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| Escaped(line.as_bytes()).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a terminal could obey this character in place of showing it.
pub(crate) fn is_dangerous(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Marks and overrides of the writing direction, and other characters that change their neighbours without being seen.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        for text in ["", "Hello, World", "a\tb", "Grüße, 世界 🦀", r"a \ b"] {
            assert_eq!(Escaped(text.as_bytes()).to_string(), text);
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(escape_lines("one\n  two\x1b\n"), "one\n  two\\x1b\n");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        assert_eq!(Escaped(b"\x1b[2J\x07\x7f\r").to_string(), r"\x1b[2J\x07\x7f\x0d");
        assert_eq!(Escaped("\u{9b}2J".as_bytes()).to_string(), r"\u{9b}2J");
        assert_eq!(Escaped("abc\u{202e}fed".as_bytes()).to_string(), r"abc\u{202e}fed");
        assert_eq!(Escaped(b"\xff\xfeok\xc3").to_string(), r"\xff\xfeok\xc3");
    }
}
