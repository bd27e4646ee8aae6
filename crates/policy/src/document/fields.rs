//! Reading the keys of one table: each value by its type, unknown keys reported at the end.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::{Node, Table, Value, did_you_mean};
use crate::problem::{Collector, Problem};
use crate::rules::reading;
use crate::source::{Located, Place};
use crate::units;

/// The keys of a table, each taken by its type. A value that is missing or wrong gives `None`; if it is wrong, the
/// problem is reported. [`Fields::finish`] reports the keys that nobody asked for.
pub(crate) struct Fields<'a> {
    table: &'a Table,
    /// Where the table begins, for what is missing in it.
    pub(crate) place: Place,
    what: &'a str,
    asked: RefCell<Vec<&'static str>>,
    problems: &'a Collector,
}

impl<'a> Fields<'a> {
    /// The keys of a table that messages call `what`, such as `subject hello`.
    pub(crate) fn new(table: &'a Table, place: &Place, what: &'a str, problems: &'a Collector) -> Self {
        Self { table, place: place.clone(), what, asked: RefCell::default(), problems }
    }

    /// The keys of a value that must be a table.
    pub(crate) fn of(node: &'a Node, place: &Place, what: &'a str, problems: &'a Collector) -> Option<Self> {
        match &node.value {
            Value::Table(table) => Some(Self::new(table, place, what, problems)),
            other => {
                problems.add(
                    Problem::error(&reading::TYPE, format!("{what} must be a table, not {}", other.kind()))
                        .at(&node.place, format!("{} where a table is expected", other.kind()))
                        .help("write it under a header, [name], or in braces, { key = value }"),
                );
                None
            }
        }
    }

    /// The value of a key that may be missing, as it stands.
    pub(crate) fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key and its value.
    pub(crate) fn entry(&self, key: &'static str) -> Option<&'a (Located<String>, Node)> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Reports a key that must be there and is not.
    pub(crate) fn missing(&self, key: &str, help: &str) {
        self.problems.add(
            Problem::error(&reading::MISSING_KEY, format!("{} has no `{key}`", self.what))
                .at(&self.place, format!("`{key}` is missing here"))
                .help(help),
        );
    }

    /// Every key and value, for tables whose keys are names of the user.
    pub(crate) fn entries(&self) -> &'a [(Located<String>, Node)] {
        &self.table.entries
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// A text.
    pub(crate) fn text(&self, key: &'static str) -> Option<Located<String>> {
        let node = self.node(key)?;
        text_of(node, key, self.problems)
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, key: &'static str, help: &str) -> Option<Located<String>> {
        if !self.has(key) {
            self.missing(key, help);
        }
        self.text(key)
    }

    /// A size in bytes, such as `"16 MiB"`.
    pub(crate) fn size(&self, key: &'static str) -> Option<Located<u64>> {
        self.quantity(key, units::parse_size, "a size", "16 MiB")
    }

    /// A duration in microseconds, such as `"5 ms"`.
    pub(crate) fn duration(&self, key: &'static str) -> Option<Located<u64>> {
        self.quantity(key, units::parse_duration, "a duration", "5 ms")
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<Located<T>> {
        choice_of(self.node(key)?, key, choices, self.problems)
    }

    /// Some of a few words; each counts once. None if the key is not there.
    pub(crate) fn choices<T: Copy + PartialEq>(&self, key: &'static str, choices: &[(&str, T)]) -> Vec<T> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let mut chosen = Vec::new();
        for item in items(node, key, self.problems) {
            let choice = choice_of(item, key, choices, self.problems).map(|choice| choice.value);
            chosen.extend(choice.filter(|choice| !chosen.contains(choice)));
        }
        chosen
    }

    /// A whole number within a range.
    pub(crate) fn integer<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<Located<T>>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        integer_of(self.node(key)?, key, range, self.problems)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, key: &'static str) -> Option<Located<bool>> {
        let node = self.node(key)?;
        match &node.value {
            Value::Boolean(value) => Some(Located::new(*value, &node.place)),
            Value::Bare(text) if text == "true" || text == "false" => {
                Some(Located::new(text == "true", &node.place))
            }
            other => {
                self.problems.add(wrong_type(&node.place, key, "true or false", other));
                None
            }
        }
    }

    /// The items of an array; none if the key is missing or its value is no array.
    pub(crate) fn array(&self, key: &'static str) -> &'a [Node] {
        self.node(key).map_or(&[], |node| items(node, key, self.problems))
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in &self.table.entries {
            if !asked.contains(&key.value.as_str()) {
                self.problems.add(
                    Problem::error(
                        &reading::UNKNOWN_KEY,
                        format!("{} has no key `{}`", self.what, key.value),
                    )
                    .at(&key.place, "unknown key")
                    .help(did_you_mean(&key.value, asked.iter().copied())),
                );
            }
        }
    }

    fn quantity(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<u64, String>,
        what: &str,
        example: &str,
    ) -> Option<Located<u64>> {
        let node = self.node(key)?;
        let (Value::Text(text) | Value::Bare(text)) = &node.value else {
            self.problems.add(
                wrong_type(&node.place, key, &format!("{what} with its unit"), &node.value)
                    .help(format!("write `{key} = \"{example}\"`")),
            );
            return None;
        };
        match parse(text) {
            Ok(value) => Some(Located::new(value, &node.place)),
            Err(help) => {
                self.problems.add(
                    Problem::error(&reading::VALUE, format!("`{text}` is not {what}"))
                        .at(&node.place, format!("not {what}"))
                        .help(help),
                );
                None
            }
        }
    }
}

/// A value that must be a text.
pub(crate) fn text_of(node: &Node, key: &str, problems: &Collector) -> Option<Located<String>> {
    match &node.value {
        Value::Text(text) | Value::Bare(text) => Some(Located::new(text.clone(), &node.place)),
        other => {
            problems.add(wrong_type(&node.place, key, "a string", other));
            None
        }
    }
}

/// A value that must be one of a few words.
fn choice_of<T: Copy>(
    node: &Node,
    key: &str,
    choices: &[(&str, T)],
    problems: &Collector,
) -> Option<Located<T>> {
    let text = text_of(node, key, problems)?;
    let chosen = choices.iter().find(|(name, _)| *name == text.value).map(|(_, value)| *value);
    if chosen.is_none() {
        problems.add(
            Problem::error(&reading::VALUE, format!("`{key}` cannot be `{}`", text.value))
                .at(&text.place, "not one of the choices")
                .help(did_you_mean(&text.value, choices.iter().map(|(name, _)| *name))),
        );
    }
    chosen.map(|chosen| text.map(|_| chosen))
}

/// A value that must be a whole number within a range.
pub(crate) fn integer_of<T>(
    node: &Node,
    key: &str,
    range: RangeInclusive<T>,
    problems: &Collector,
) -> Option<Located<T>>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    let number = match &node.value {
        Value::Integer(number) => Some(*number),
        Value::Bare(text) => parse_integer(text).map(Some),
        _ => None,
    };
    let Some(number) = number else {
        problems.add(wrong_type(&node.place, key, "an integer", &node.value));
        return None;
    };
    let number = number.and_then(|n| T::try_from(n).ok()).filter(|n| range.contains(n));
    if number.is_none() {
        problems.add(
            Problem::error(&reading::VALUE, format!("`{key}` is out of range"))
                .at(&node.place, "out of range")
                .help(format!("it can be {} to {}", range.start(), range.end())),
        );
    }
    number.map(|number| Located::new(number, &node.place))
}

/// The items of a value that must be an array.
pub(crate) fn items<'a>(node: &'a Node, key: &str, problems: &Collector) -> &'a [Node] {
    match &node.value {
        Value::Array(items) => items,
        other => {
            problems.add(wrong_type(&node.place, key, "an array", other));
            &[]
        }
    }
}

fn wrong_type(place: &Place, key: &str, wanted: &str, found: &Value) -> Problem {
    let help = match wanted {
        "a string" => format!("put it in double quotes: {key} = \"..\""),
        "an array" => format!("put it in brackets: {key} = [..]"),
        "an integer" => format!("write a number without quotes: {key} = 1"),
        _ => format!("write {key} = {wanted}"),
    };
    Problem::error(&reading::TYPE, format!("`{key}` must be {wanted}, not {}", found.kind()))
        .at(place, format!("{} where {wanted} is expected", found.kind()))
        .help(help)
}

fn parse_integer(text: &str) -> Option<i128> {
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
