//! Everything the command says: the log and results on standard output, its own remarks on standard error.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{ColorChoice, Speech};
use crate::escape::{Escaped, escape_lines, is_dangerous};
use crate::failure::{Failure, problem_object};
use crate::harmless::Harmless;

/// Where the command speaks, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    volume: Volume,
    json: bool,
    colored_output: bool,
    colored_remarks: bool,
    shows_status: bool,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Volume {
    Quiet,
    Normal,
    Verbose,
}

/// Who wrote a line of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Author<'a> {
    /// The kernel.
    Kernel,
    /// A subject, with its number.
    Subject(&'a str, usize),
}

impl Terminal {
    /// Speaks as the command line wants.
    #[must_use]
    pub(crate) fn new(speech: Speech) -> Self {
        let volume = match speech {
            Speech { quiet: true, .. } => Volume::Quiet,
            Speech { verbose: true, .. } => Volume::Verbose,
            Speech { .. } => Volume::Normal,
        };
        Self {
            volume,
            json: speech.json,
            colored_output: colored(speech.color, &io::stdout()),
            colored_remarks: colored(speech.color, &io::stderr()),
            shows_status: volume == Volume::Normal && !speech.json && obeys(&io::stderr()),
        }
    }

    /// The same, but it says nothing of its own accord.
    pub(crate) const fn hushed(mut self) -> Self {
        (self.volume, self.json) = (Volume::Quiet, false);
        self
    }

    /// Whether there is anybody to show a status line to.
    #[must_use]
    pub(crate) const fn shows_status(&self) -> bool {
        self.shows_status
    }

    /// Shows a line below everything else that is said, in place of the one before; none if it is empty.
    pub(crate) fn status(&self, line: &str) {
        if self.shows_status {
            let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
            // A terminal that does not know its size says 0.
            let width = usize::from(if columns == 0 { 80 } else { columns }) - 1;
            let line: String = line.chars().filter(|c| !is_dangerous(*c)).take(width).collect();
            above_status(|status| *status = line);
        }
    }

    /// Whether everything is to be JSON.
    #[must_use]
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether more is to be said.
    #[must_use]
    pub(crate) fn is_verbose(&self) -> bool {
        self.volume == Volume::Verbose
    }

    /// A line of the log.
    pub(crate) fn log(&self, author: Author<'_>, text: &[u8]) -> io::Result<()> {
        if self.json {
            let text = String::from_utf8_lossy(text);
            return self.object(&match author {
                Author::Kernel => json!({ "event": "kernel", "text": text }),
                Author::Subject(name, _) => json!({ "event": "line", "subject": name, "text": text }),
            });
        }
        let (name, color) = match author {
            Author::Kernel => ("kernel", KERNEL_COLOR),
            Author::Subject(name, number) => (name, SUBJECT_COLORS[number % SUBJECT_COLORS.len()]),
        };
        let style =
            if self.colored_output { Style::new().fg_color(Some(color.into())) } else { Style::new() };
        above_status(|_| writeln!(io::stdout().lock(), "{style}[{name}]{style:#} {}", Escaped(text)))
    }

    /// A line that nobody's name is on.
    pub(crate) fn foreign(&self, text: &[u8]) -> io::Result<()> {
        if self.json {
            return self.object(&json!({ "event": "serial", "text": String::from_utf8_lossy(text) }));
        }
        above_status(|_| writeln!(io::stdout().lock(), "{}", Escaped(text)))
    }

    /// Text that was asked for.
    pub(crate) fn text(&self, text: impl Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", escape_lines(&text.to_string()))
    }

    /// An object, on a line of its own.
    pub(crate) fn object(&self, object: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(object)?;
        line.push(b'\n');
        io::stdout().lock().write_all(&line)
    }

    /// A remark about what the command did.
    pub(crate) fn remark(&self, text: impl Display) {
        self.speak(Volume::Normal, text);
    }

    /// A remark for those who want to know more.
    pub(crate) fn detail(&self, text: impl Display) {
        self.speak(Volume::Verbose, text);
    }

    /// A line that was asked for and is no part of the log.
    pub(crate) fn trace(&self, line: &str) -> io::Result<()> {
        above_status(|_| writeln!(io::stderr().lock(), "{}", escape_lines(line)))
    }

    /// Something the user should know about that does not keep the command from going on.
    pub(crate) fn warning(&self, problem: &dyn Diagnostic) -> io::Result<()> {
        if self.json {
            return self.object(&with_event("warning", problem_object(problem)));
        }
        if self.volume > Volume::Quiet {
            self.show(problem);
        }
        Ok(())
    }

    /// Why the command ends.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            // If nobody takes it there is nobody left to tell.
            let _ = self.object(&failure.object());
        } else {
            self.show(failure.diagnostic());
        }
    }

    fn speak(&self, needed: Volume, text: impl Display) {
        if self.volume >= needed && !self.json {
            let text = escape_lines(&text.to_string());
            let _ = above_status(|_| writeln!(io::stderr().lock(), "palisade: {text}"));
        }
    }

    fn show(&self, problem: &dyn Diagnostic) {
        let theme = if self.colored_remarks { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH);
        let shown = handler.render_report(&mut text, &Harmless::new(problem));
        // The handler fails only where the string does, which does not.
        let _ = shown.map(|()| above_status(|_| io::stderr().lock().write_all(text.as_bytes())));
    }
}

/// Takes the status line away, does something, and shows it again.
fn above_status<T>(act: impl FnOnce(&mut String) -> T) -> T {
    // Whoever panicked here wrote a line, which is no reason to write no others.
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if !status.is_empty() {
        // If nobody reads it there is nobody left to tell. So below.
        let _ = io::stderr().lock().write_all(b"\r\x1b[K");
    }
    let result = act(&mut status);
    if !status.is_empty() {
        let _ = io::stderr().lock().write_all(status.as_bytes());
    }
    result
}

/// An object, made an event of the stream.
pub(crate) fn with_event(event: &str, mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.insert("event".into(), event.into());
    }
    object
}

fn colored(choice: ColorChoice, stream: &impl IsTerminal) -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => obeys(stream) && !is_set("NO_COLOR"),
    }
}

/// Whether it is a terminal that can do more than show text.
fn obeys(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The status line that is shown: there is one terminal, whoever speaks.
static STATUS: Mutex<String> = Mutex::new(String::new());
const KERNEL_COLOR: AnsiColor = AnsiColor::Red;
const SUBJECT_COLORS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Yellow,
    AnsiColor::BrightCyan,
];
const WIDTH: usize = 110;
