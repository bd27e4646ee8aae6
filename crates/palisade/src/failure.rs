//! An end that is not a success: what to tell, and with which exit status.

use std::fmt;
use std::io;
use std::path::Path;

use miette::{Diagnostic, Report, Severity};
use palisade_machine::Error;
use serde_json::{Value, json};

use crate::exit::Exit;

/// Why a verb could not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    report: Report,
}

impl Failure {
    /// A failure with this exit, and a diagnostic that says what, where and what to do.
    pub(crate) fn new(exit: Exit, problem: impl Into<Report>) -> Self {
        Self { exit, report: problem.into() }
    }

    /// A failure with a message and, perhaps, advice.
    pub(crate) fn message(exit: Exit, message: impl fmt::Display, help: Option<String>) -> Self {
        Self::new(exit, Message { text: message.to_string(), help, severity: Severity::Error })
    }

    /// The input cannot be used.
    pub(crate) fn input(message: impl fmt::Display) -> Self {
        Self::message(Exit::Input, message, None)
    }

    /// A file that was to be read cannot be.
    pub(crate) fn reading(path: &Path, error: &io::Error) -> Self {
        Self::input(format!("{} cannot be read: {error}", path.display()))
    }

    /// A file that was to be written cannot be.
    pub(crate) fn writing(path: &Path, error: &io::Error) -> Self {
        Self::message(Exit::Host, format!("{} cannot be written: {error}", path.display()), None)
    }

    /// The operating system refuses something that is not about a file.
    pub(crate) fn host(what: &str, error: &io::Error) -> Self {
        Self::message(Exit::Host, format!("{what}: {error}"), None)
    }

    /// The emulator is missing, or cannot be used.
    pub(crate) fn of_emulator(error: Error) -> Self {
        let exit = match &error {
            Error::Missing { .. }
            | Error::NotExecutable { .. }
            | Error::AnotherProgram { .. }
            | Error::TooOld { .. }
            | Error::FileMissing { .. }
            | Error::NoNestedSvm(_) => Exit::EmulatorMissing,
            Error::Unsuitable(_) => Exit::Input,
            Error::Start(_) | Error::Output(_) => Exit::Host,
        };
        let help = error.help();
        Self::message(exit, error, help)
    }

    /// The system cannot run on this computer.
    pub(crate) fn of_run(error: palisade_hosted::Error) -> Self {
        use palisade_hosted::Error;
        match error {
            Error::NeedsMachine { .. } => Self::input(error),
            _ => Self::message(Exit::Host, error, None),
        }
    }

    /// Standard output takes no more.
    pub(crate) fn output(error: &io::Error) -> Self {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        let exit = if closed { Exit::OutputClosed } else { Exit::Host };
        Self::message(exit, format!("standard output cannot be written: {error}"), None)
    }

    /// The exit status.
    #[must_use]
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What to show.
    #[must_use]
    pub(crate) fn diagnostic(&self) -> &dyn Diagnostic {
        self.report.as_ref()
    }

    /// What to show, for machines.
    #[must_use]
    pub(crate) fn object(&self) -> Value {
        let help = self.report.help().map(|help| help.to_string());
        let related: Vec<_> = self.report.related().into_iter().flatten().map(problem_object).collect();
        json!({
            "event": "error",
            "exit": self.exit.code(),
            "message": self.report.to_string(),
            "help": help,
            "problems": related,
        })
    }
}

impl From<io::Error> for Failure {
    /// Errors without a file's name are those of standard output.
    fn from(error: io::Error) -> Self {
        Self::output(&error)
    }
}

/// A problem for machines: which rule, what, where, and what would be right.
#[must_use]
pub(crate) fn problem_object(problem: &dyn Diagnostic) -> Value {
    let place = problem.labels().and_then(|mut labels| labels.next()).and_then(|label| {
        let content = problem.source_code()?.read_span(label.inner(), 0, 0).ok()?;
        Some(json!({
            "file": content.name(),
            // Counted from 1, as editors do.
            "line": content.line() + 1,
            "column": content.column() + 1,
            "label": label.label(),
        }))
    });
    json!({
        "rule": problem.code().map(|code| code.to_string()),
        "severity": match problem.severity() {
            Some(Severity::Warning) => "warning",
            Some(Severity::Advice) => "advice",
            Some(Severity::Error) | None => "error",
        },
        "message": problem.to_string(),
        "help": problem.help().map(|help| help.to_string()),
        "place": place,
    })
}

/// Something to tell that has no place in a text.
#[derive(Debug)]
pub(crate) struct Message {
    text: String,
    help: Option<String>,
    severity: Severity,
}

impl Message {
    /// Something that does not keep the command from going on, and what would be right.
    pub(crate) const fn warning(text: String, help: String) -> Self {
        Self { text, help: Some(help), severity: Severity::Warning }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Message {}

impl Diagnostic for Message {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}
