//! A TOML text as a tree of values that remember where they stand, and readers that collect every mistake in it.
//!
//! The TOML parser's own spanned tree is turned into [`Table`]s in the order of the text; overrides from the command
//! line are put into the same tree, so that they are read, checked and reported like values of the file.

mod fields;
mod suggest;

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::problem::{Collector, Problem};
use crate::rules::reading;
use crate::source::{Located, Place, Source};

pub(crate) use fields::{Fields, integer_of, items, text_of};
pub(crate) use suggest::did_you_mean;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The values that occur in descriptions.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    /// Text of an override, whose type is decided by what is wanted.
    Bare(String),
    /// `None` if it does not fit.
    Integer(Option<i128>),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A type that no key has, by name.
    Other(&'static str),
}

impl Value {
    /// Its type as messages call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Bare(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Keys and values in the order of the text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<(Located<String>, Node)>,
}

impl Table {
    /// The entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&(Located<String>, Node)> {
        self.entries.iter().find(|(name, _)| name.value == key)
    }

    /// Sets the value of a dotted path, making the tables on the way. Gives the path's part that is no table, if so.
    fn set(&mut self, path: &[&str], key: &Place, place: &Place, value: Value) -> Result<(), String> {
        let Some((first, rest)) = path.split_first() else { return Ok(()) };
        let at = match self.entries.iter().position(|(name, _)| name.value == *first) {
            Some(at) => at,
            None => {
                let name = Located::new((*first).to_owned(), key);
                self.entries
                    .push((name, Node { place: place.clone(), value: Value::Table(Self::default()) }));
                self.entries.len() - 1
            }
        };
        let node = &mut self.entries[at].1;
        if rest.is_empty() {
            *node = Node { place: place.clone(), value };
            return Ok(());
        }
        match &mut node.value {
            Value::Table(table) => table.set(rest, key, place, value),
            _ => Err((*first).to_owned()),
        }
    }
}

/// Reads a TOML text. Every syntax error is reported; what could be read is given.
pub(crate) fn parse(source: &Arc<Source>, problems: &Collector) -> Table {
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        let place = Place { source: source.clone(), range };
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        problems.add(
            Problem::error(&reading::SYNTAX, "this is not TOML")
                .at(&place, message)
                .help("keys are `name = value`, texts stand in double quotes, tables begin with `[name]`"),
        );
    }
    convert_table(source, tree.get_ref())
}

/// Puts overrides of the form (path, text) into the tree. `hello.ram` means `subject.hello.ram`.
pub(crate) fn apply_overrides(table: &mut Table, overrides: &[(String, String)], problems: &Collector) {
    for (path, text) in overrides {
        let source = Arc::new(Source { name: "--set".to_owned(), text: format!("{path}={text}") });
        let key = Place { source: source.clone(), range: 0..path.len() };
        let value = Place { source: source.clone(), range: path.len() + 1..source.text.len() };
        let parts = override_path(path);
        if let Some(unknown) = unknown_subject(table, &parts) {
            problems.add(unknown.at(&key, "no such subject"));
            continue;
        }
        if let Err(part) = table.set(&parts, &key, &value, override_value(text)) {
            problems.add(
                Problem::error(&reading::TYPE, format!("`{part}` has no keys of its own"))
                    .at(&key, "not a table")
                    .help("write an override as `subject.key=value` or `key=value`"),
            );
        }
    }
}

fn override_path(path: &str) -> Vec<&str> {
    let parts: Vec<&str> = path.split('.').map(str::trim).collect();
    match parts[..] {
        ["subject" | "schedule" | "network", ..] | [_] => parts,
        _ => [&["subject"], &parts[..]].concat(),
    }
}

/// An override changes a subject; it does not add one.
fn unknown_subject(table: &Table, path: &[&str]) -> Option<Problem> {
    let ["subject", name, ..] = path else { return None };
    let subjects = match table.get("subject") {
        Some((_, Node { value: Value::Table(subjects), .. })) => subjects.entries.as_slice(),
        _ => &[],
    };
    if subjects.iter().any(|(known, _)| known.value == *name) {
        return None;
    }
    let known = subjects.iter().map(|(known, _)| known.value.as_str());
    Some(
        Problem::error(&reading::UNKNOWN_KEY, format!("the system has no subject called `{name}`"))
            .help(did_you_mean(name, known)),
    )
}

/// Arrays and quoted texts are TOML; everything else is taken as it stands.
fn override_value(text: &str) -> Value {
    let source = Arc::new(Source { name: "--set".to_owned(), text: text.to_owned() });
    match DeValue::parse(text) {
        Ok(value) if matches!(value.get_ref(), DeValue::Array(_)) || text.starts_with(['"', '\'']) => {
            convert(&source, &value).value
        }
        _ => Value::Bare(text.to_owned()),
    }
}

fn convert_table(source: &Arc<Source>, table: &DeTable<'_>) -> Table {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let place = Place { source: source.clone(), range: key.span() };
            (Located { value: key.get_ref().to_string(), place }, convert(source, value))
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.place.range.start);
    Table { entries }
}

fn convert(source: &Arc<Source>, node: &Spanned<DeValue<'_>>) -> Node {
    let value = match node.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Integer(integer(number)),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| convert(source, item)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(source, table)),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { place: Place { source: source.clone(), range: node.span() }, value }
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}
