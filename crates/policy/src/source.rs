//! Where a value was written: a text with a name, and a range of it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{MietteError, SourceCode, SourceSpan, SpanContents};

/// A text that values are read from: a description, a machine file, an override on the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// What the text is called in messages: a path, or `--set`.
    pub name: String,
    /// The text.
    pub text: String,
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, lines_before, lines_after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            characters_before(&self.text, contents.span().offset()),
            contents.line_count(),
        )))
    }
}

/// A range of a source's bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// The bytes of the text.
    pub range: Range<usize>,
}

impl Place {
    /// Line and column of the first byte, both counted from 1; the column counts characters.
    #[must_use]
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.range.start).unwrap_or(&self.source.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, characters_before(&self.source.text, self.range.start) + 1)
    }

    /// The same range as miette wants it.
    pub(crate) fn span(&self) -> SourceSpan {
        self.range.clone().into()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_and_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

/// Characters between the start of the line and this byte.
fn characters_before(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    before[line_start..].chars().count()
}

/// A value and where it was written. A value that the description leaves out stands where its owner does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T> Located<T> {
    /// A value at a place.
    pub(crate) fn new(value: T, place: &Place) -> Self {
        Self { value, place: place.clone() }
    }

    /// Another value at the same place.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), place: self.place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_for_people_and_for_diagnostics() {
        let text = "first\nä€🦀here".to_owned();
        let start = text.find("here").unwrap();
        let source = Arc::new(Source { name: "x".into(), text });
        let place = Place { source: source.clone(), range: start..start + 4 };
        assert_eq!(place.line_and_column(), (2, 4));
        let contents = source.read_span(&place.span(), 0, 0).unwrap();
        assert_eq!((contents.line(), contents.column()), (1, 3));
        assert_eq!(source.read_span(&place.span(), 1, 1).unwrap().column(), 0);
    }
}
