//! The arguments of a unikernel, in the form that users of MirageOS know: `--ipv4=10.0.0.2/24 -l debug`.
//!
//! A program declares each argument once, as a typed constant with its default; the table of these descriptions parses
//! the command line and writes the help. A value is checked when the command line is read, so that a program that runs
//! has none that it could not understand.

mod standard;
mod value;
mod words;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use standard::{CONNECTIONS, DNS, IPV4, IPV4_GATEWAY, IPV6, IPV6_GATEWAY, LOGS, STANDARD};
pub use value::{Cidr, Value};

use self::words::Words;

/// An argument whose value is a `T`.
#[derive(Debug)]
pub struct Argument<T> {
    name: &'static str,
    placeholder: &'static str,
    help: &'static str,
    default: T,
    short: Option<char>,
}

impl<T: Value> Argument<T> {
    /// The argument `--name=PLACEHOLDER`, what it means, and its value where the command line has none.
    #[must_use]
    pub const fn new(name: &'static str, placeholder: &'static str, help: &'static str, default: T) -> Self {
        Self { name, placeholder, help, default, short: None }
    }

    /// What the table of a program's arguments says about this one.
    #[must_use]
    pub const fn describe(&'static self) -> Description {
        Description {
            name: self.name,
            short: self.short,
            placeholder: self.placeholder,
            help: self.help,
            default: &self.default,
            form: T::FORM,
            accepts: accepts::<T>,
        }
    }
}

impl<T> Argument<T> {
    /// The same argument, which can also be written as `-s VALUE`.
    const fn or_short(mut self, short: char) -> Self
    where
        T: Copy,
    {
        self.short = Some(short);
        self
    }
}

/// An argument without its type: an entry in the table of a program's arguments.
#[derive(Clone, Copy)]
pub struct Description {
    name: &'static str,
    short: Option<char>,
    placeholder: &'static str,
    help: &'static str,
    default: &'static dyn value::Shown,
    form: &'static str,
    accepts: fn(&str) -> bool,
}

/// The arguments of one command line.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// Name and value of what was given.
    given: Vec<(&'static str, String)>,
}

impl Arguments {
    /// Reads a command line. `tables` describe what may be on it.
    ///
    /// # Errors
    ///
    /// When help is asked for, and when a word is not understood.
    pub fn parse(command_line: &str, tables: &[&[Description]]) -> Result<Self, Refusal> {
        let mut arguments = Self::default();
        let mut words = Words::of(command_line);
        while let Some(word) = words.next() {
            let word = word.map_err(|words::Unfinished| Refusal::Unfinished)?;
            let (name, value) = split(&word)?;
            if matches!(name, Name::Long("help") | Name::Short('h')) {
                return Err(Refusal::Help);
            }
            let Some(description) = find(tables, name) else { return Err(Refusal::Unknown(word)) };
            let value = match value {
                Some(value) => value.into(),
                None => words
                    .next()
                    .ok_or(Refusal::NoValue(*description))?
                    .map_err(|words::Unfinished| Refusal::Unfinished)?,
            };
            if !(description.accepts)(&value) {
                return Err(Refusal::Value { argument: *description, value });
            }
            if arguments.given(description.name).is_some() {
                return Err(Refusal::Repeated(*description));
            }
            arguments.given.push((description.name, value));
        }
        Ok(arguments)
    }

    /// The value of `argument`: what the command line says, or else its default.
    #[must_use]
    pub fn value<T: Value + Clone>(&self, argument: &Argument<T>) -> T {
        let given = self.given(argument.name).and_then(T::parse);
        given.unwrap_or_else(|| argument.default.clone())
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }
}

/// Why a program does not run.
#[derive(Clone)]
pub enum Refusal {
    /// The command line asks for help. Not an error.
    Help,
    /// No argument has this name, or the word is none.
    Unknown(String),
    /// The command line ends where a value should follow.
    NoValue(Description),
    /// The value is not of the argument's type.
    Value {
        /// The argument.
        argument: Description,
        /// What was given.
        value: String,
    },
    /// The argument is there twice.
    Repeated(Description),
    /// A quotation mark has no partner, or a backslash nothing behind it.
    Unfinished,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => write!(f, "help was asked for"),
            Self::Unknown(word) => write!(f, "unknown argument '{}' (--help shows all)", word.escape_debug()),
            Self::NoValue(argument) => write!(f, "--{} needs a value: {}", argument.name, argument.form),
            Self::Value { argument, value } => {
                write!(f, "--{}={}: not {}", argument.name, value.escape_debug(), argument.form)
            }
            Self::Repeated(argument) => write!(f, "--{} is there twice", argument.name),
            Self::Unfinished => write!(f, "a quotation mark or a backslash at the end has no partner"),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The help text: every argument of the tables, what it means and its default.
#[derive(Clone, Copy)]
pub struct Help<'a>(pub &'a [&'a [Description]]);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for description in self.0.iter().copied().flatten() {
            write!(f, "  ")?;
            if let Some(short) = description.short {
                write!(f, "-{short} {}, ", description.placeholder)?;
            }
            write!(f, "--{}={}\n      {}", description.name, description.placeholder, description.help)?;
            match description.default.is_nothing() {
                true => writeln!(f)?,
                false => writeln!(f, " [{}]", Default(*description))?,
            }
        }
        writeln!(f, "  --help\n      Show this and end.")
    }
}

struct Default(Description);

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.default.show(f)
    }
}

/// How a word names its argument.
#[derive(Clone, Copy)]
enum Name<'a> {
    Long(&'a str),
    Short(char),
}

/// The name in a word, and the value behind its equals sign.
fn split(word: &str) -> Result<(Name<'_>, Option<&str>), Refusal> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return Ok((Name::Long(name), value));
    }
    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
    match letters.next() {
        Some(short) => Ok((Name::Short(short), Some(letters.as_str()).filter(|rest| !rest.is_empty()))),
        None => Err(Refusal::Unknown(word.into())),
    }
}

fn find<'a>(tables: &[&'a [Description]], name: Name<'_>) -> Option<&'a Description> {
    tables.iter().copied().flatten().find(|description| match name {
        Name::Long(name) => description.name == name,
        Name::Short(short) => description.short == Some(short),
    })
}

fn accepts<T: Value>(text: &str) -> bool {
    T::parse(text).is_some()
}

#[cfg(test)]
mod tests;
