//! A diagnostic as a terminal may show it. Names and texts in it come from files that anybody may have written: nothing
//! in them may command the terminal, and no line is too long to be shown.

use std::fmt;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents,
};

use crate::escape::escape_lines;

/// A copy of a diagnostic in which control characters are escaped.
#[derive(Debug)]
pub(crate) struct Harmless {
    code: Option<String>,
    severity: Option<Severity>,
    message: String,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    excerpt: Option<Excerpt>,
    related: Vec<Self>,
}

impl Harmless {
    /// Copies `problem`. Where a line of the text is too long to be shown, place and label stand in the message instead.
    #[must_use]
    pub(crate) fn new(problem: &dyn Diagnostic) -> Self {
        let labels: Vec<_> = problem.labels().into_iter().flatten().collect();
        let excerpt = problem.source_code().and_then(|source| Excerpt::of(source, &labels));
        let hidden = excerpt.as_ref().filter(|excerpt| excerpt.is_too_wide());
        let message = hidden.map_or_else(
            || problem.to_string(),
            |excerpt| {
                let label = labels.first().and_then(LabeledSpan::label).unwrap_or_default();
                format!("{}: {problem}: {label}", excerpt.place)
            },
        );
        let excerpt = excerpt.filter(|excerpt| !excerpt.is_too_wide());
        Self {
            code: problem.code().map(|code| code.to_string()),
            severity: problem.severity(),
            message: escape_lines(&message),
            help: problem.help().map(|help| escape_lines(&help.to_string())),
            labels: if excerpt.is_some() { labels.iter().map(escaped).collect() } else { Vec::new() },
            excerpt,
            related: problem.related().into_iter().flatten().map(Self::new).collect(),
        }
    }
}

impl fmt::Display for Harmless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Harmless {}

impl Diagnostic for Harmless {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<Severity> {
        self.severity
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_ref().map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.related.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// The lines of a text that the labels are about, with the same bytes at the same places except for control characters.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: String,
    /// Where it begins in the whole text.
    offset: usize,
    line: usize,
    /// The first label's place, for people.
    place: String,
}

impl Excerpt {
    fn of(source: &dyn SourceCode, labels: &[LabeledSpan]) -> Option<Self> {
        let start = labels.iter().map(LabeledSpan::offset).min()?;
        let end = labels.iter().map(|label| label.offset() + label.len()).max()?;
        let span = (start, end - start).into();
        let contents = source.read_span(&span, CONTEXT, CONTEXT).ok()?;
        let first = source.read_span(labels.first()?.inner(), 0, 0).ok()?;
        let name = escape_lines(contents.name().unwrap_or_default());
        Some(Self {
            place: format!("{name}:{}:{}", first.line() + 1, first.column() + 1),
            name,
            text: without_controls(&String::from_utf8_lossy(contents.data())),
            offset: contents.span().offset(),
            line: contents.line(),
        })
    }

    fn is_too_wide(&self) -> bool {
        self.text.lines().any(|line| line.len() > WIDEST)
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let offset = span.offset().checked_sub(self.offset).ok_or(MietteError::OutOfBounds)?;
        let contents = self.text.read_span(&(offset, span.len()).into(), before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            (contents.span().offset() + self.offset, contents.span().len()).into(),
            contents.line() + self.line,
            characters_before(&self.text, contents.span().offset()),
            contents.line_count(),
        )))
    }
}

/// Characters between the start of the line and this byte.
fn characters_before(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.chars().rev().take_while(|character| *character != '\n').count()
}

fn escaped(label: &LabeledSpan) -> LabeledSpan {
    LabeledSpan::new_with_span(label.label().map(escape_lines), *label.inner())
}

/// Puts a sign of as many bytes in the place of each character that a terminal could obey, so that spans stay right.
fn without_controls(text: &str) -> String {
    let harmless = |character: char| match character {
        '\n' | '\t' => character,
        _ if !crate::escape::is_dangerous(character) => character,
        _ if character.len_utf8() == 1 => '?',
        _ if character.len_utf8() == 2 => '·',
        _ => char::REPLACEMENT_CHARACTER,
    };
    // The end of a line is no danger.
    let lines = text.split("\r\n").map(|line| line.chars().map(harmless).collect::<String>());
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Lines around the labels' own that are shown.
const CONTEXT: usize = 1;
/// Most bytes of a line that is shown.
const WIDEST: usize = 1000;

#[cfg(test)]
mod tests {
    use miette::{MietteDiagnostic, NamedSource, Report};

    use super::*;

    #[test]
    fn places_stay_where_they_are() {
        let text = "first\nsecond \u{1b}[2J\r\n\u{9b}x \u{202e}third\nfourth\n";
        let third = text.find("third").expect("it is there");
        let problem = problem("name.toml", text, third);
        let harmless = Harmless::new(problem.as_ref());
        let label = harmless.labels.first().expect("it has one");
        let contents =
            harmless.source_code().expect("shown").read_span(label.inner(), 0, 0).expect("in the text");
        assert_eq!(contents.data(), b"third");
        assert_eq!((contents.name(), contents.line(), contents.column()), (Some("name.toml"), 2, 4));
        let excerpt = harmless.excerpt.as_ref().expect("shown");
        assert_eq!(excerpt.text, "second ?[2J\r\n·x \u{fffd}third\nfourth\n");
    }

    #[test]
    fn names_and_messages_cannot_command_the_terminal() {
        let problem = problem("\u{1b}[2J.toml", "x", 0);
        let harmless = Harmless::new(problem.as_ref());
        assert_eq!(harmless.message, r"message \x1b[31m");
        assert_eq!(harmless.help.as_deref(), Some("help \\x07\nsecond line"));
        assert_eq!(harmless.labels.first().and_then(LabeledSpan::label), Some(r"label \x1b"));
        assert_eq!(harmless.excerpt.expect("shown").name, r"\x1b[2J.toml");
    }

    #[test]
    fn a_line_that_is_too_long_is_only_named() {
        let text = format!("x = 1\n{}", "y".repeat(100_000));
        let problem = problem("name.toml", &text, 70_000);
        let harmless = Harmless::new(problem.as_ref());
        assert!(harmless.source_code().is_none() && harmless.labels.is_empty());
        assert_eq!(harmless.message, r"name.toml:2:69995: message \x1b[31m: label \x1b");
    }

    fn problem(name: &str, text: &str, at: usize) -> Report {
        let label = LabeledSpan::new_with_span(Some("label \u{1b}".into()), (at, text.len().min(5)));
        let problem = MietteDiagnostic::new("message \u{1b}[31m").with_help("help \u{7}\nsecond line");
        Report::new(problem.with_label(label)).with_source_code(NamedSource::new(name, text.to_owned()))
    }
}
