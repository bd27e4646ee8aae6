//! What is wrong with a description: which rule is broken, where, why, and what would be right.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode};

use crate::rules::Rule;
use crate::source::Place;

/// One broken rule, or one warning.
#[derive(Debug)]
pub struct Problem {
    rule: &'static Rule,
    severity: Severity,
    message: String,
    labels: Vec<(Place, String)>,
    help: Option<String>,
}

impl Problem {
    /// A violation of a rule; the message is one line without a full stop.
    pub(crate) fn error(rule: &'static Rule, message: impl Into<String>) -> Self {
        Self { rule, severity: Severity::Error, message: message.into(), labels: Vec::new(), help: None }
    }

    /// Something legal that is probably not meant.
    pub(crate) fn warning(rule: &'static Rule, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(rule, message) }
    }

    /// Adds a place of the text with what to say about it. The first one is the place of the problem.
    pub(crate) fn at(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.labels.push((place.clone(), label.into()));
        self
    }

    /// Says what would be right.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &'static Rule {
        self.rule
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it is wrong, if it has a place in a text.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.labels.first().map(|(place, _)| place)
    }

    /// What would be right.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Whether it is a warning only.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.severity == Severity::Warning
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.rule.id))
    }

    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place().map(|place| &*place.source as &dyn SourceCode)
    }

    /// Labels in other texts than the first one's cannot be shown with it and are left out; the message names them.
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let shown = &self.place()?.source;
        let labels = self.labels.iter().filter(move |(place, _)| place.source == *shown);
        Some(Box::new(
            labels.map(|(place, label)| LabeledSpan::new_with_span(Some(label.clone()), place.span())),
        ))
    }
}

/// Everything that is wrong with a description: at least one error, warnings among them.
#[derive(Debug)]
pub struct Problems {
    subject: String,
    list: Vec<Problem>,
}

impl Problems {
    /// Problems of the description called `subject`, in the order of their places.
    pub(crate) fn new(subject: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.place().map(|place| place.range.start));
        Self { subject: subject.to_owned(), list }
    }

    /// The problems one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.list.iter().filter(|problem| !problem.is_warning()).count();
        let plural = if errors == 1 { "" } else { "s" };
        write!(f, "{}: {errors} problem{plural}", self.subject)
    }
}

impl Error for Problems {}

impl Diagnostic for Problems {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Collects the problems that reading and checking find, so that all of them are told at once.
#[derive(Debug, Default)]
pub(crate) struct Collector(RefCell<Vec<Problem>>);

impl Collector {
    pub(crate) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|problem| !problem.is_warning())
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}
