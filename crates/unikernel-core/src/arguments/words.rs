//! A command line's words.

use alloc::string::String;
use core::str::Chars;

/// The words of a command line. Blanks separate them; double quotation marks keep blanks together, and a backslash takes
/// the character behind it for what it is.
pub(super) struct Words<'a>(Chars<'a>);

/// A quotation or a backslash at the end of the command line is not complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished;

impl<'a> Words<'a> {
    pub(super) fn of(command_line: &'a str) -> Self {
        Self(command_line.chars())
    }
}

impl Iterator for Words<'_> {
    type Item = Result<String, Unfinished>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut word = None::<String>;
        let mut quoted = false;
        while let Some(character) = self.0.next() {
            match character {
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                '\\' => match self.0.next() {
                    Some(escaped) => word.get_or_insert_default().push(escaped),
                    None => return Some(Err(Unfinished)),
                },
                blank if blank.is_ascii_whitespace() && !quoted => {
                    if word.is_some() {
                        break;
                    }
                }
                other => word.get_or_insert_default().push(other),
            }
        }
        if quoted { Some(Err(Unfinished)) } else { word.map(Ok) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Result<String, Unfinished>> {
        Words::of(line).collect()
    }

    #[test]
    fn blanks_separate_words_and_quotation_marks_keep_them_together() {
        let ok = |texts: &[&str]| texts.iter().map(|text| Ok((*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(words("  -l   debug\t--x=1 "), ok(&["-l", "debug", "--x=1"]));
        assert_eq!(words(r#"--name="two words" "" a\ b \"q"#), ok(&["--name=two words", "", "a b", "\"q"]));
        assert_eq!(words(""), ok(&[]));
    }

    #[test]
    fn a_word_without_its_end_is_an_error() {
        assert_eq!(words(r#""abc"#), [Err(Unfinished)]);
        assert_eq!(words("abc\\"), [Err(Unfinished)]);
    }
}
