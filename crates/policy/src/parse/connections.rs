//! `[[channel]]` and `[[event]]`.

use palisade_abi::plan::source_action;

use crate::document::{Fields, Node, Value};
use crate::problem::{Collector, Problem};
use crate::rules::{connections as rules, reading};
use crate::source::Located;
use crate::system::{Arrival, Channel, End, Event};

/// The channels that have both ends; the others are reported.
pub(super) fn channels(fields: &Fields<'_>, problems: &Collector) -> Vec<Channel> {
    fields.array("channel").iter().filter_map(|node| channel(node, problems)).collect()
}

/// The events that have both ends; the others are reported.
pub(super) fn events(fields: &Fields<'_>, problems: &Collector) -> Vec<Event> {
    fields.array("event").iter().filter_map(|node| event(node, problems)).collect()
}

fn channel(node: &Node, problems: &Collector) -> Option<Channel> {
    let fields = Fields::of(node, &node.place, "channel", problems)?;
    let name = fields.required_text("name", "every channel has a name: name = \"requests\"");
    let writer = end(&fields, "writer", &rules::CHANNEL_ENDS, problems);
    let reader = end(&fields, "reader", &rules::CHANNEL_ENDS, problems);
    let size = fields.size("size").unwrap_or_else(|| Located::new(DEFAULT_SIZE, &node.place));
    let signal = fields.boolean("signal").is_some_and(|signal| signal.value);
    fields.finish();
    Some(Channel { name: name?, writer: writer?, reader: reader?, size, signal })
}

fn event(node: &Node, problems: &Collector) -> Option<Event> {
    let fields = Fields::of(node, &node.place, "event", problems)?;
    let from = end(&fields, "from", &rules::EVENT_ENDS, problems);
    let to = end(&fields, "to", &rules::EVENT_ENDS, problems);
    let action = fields.choice("action", &ACTIONS).map_or(source_action::NONE, |action| action.value);
    let arrival = arrival(&fields, node, problems);
    let handover = fields.boolean("handover").unwrap_or_else(|| Located::new(false, &node.place));
    fields.finish();
    Some(Event { from: from?, to: to?, action, arrival, handover })
}

/// An end of the form `subject:name`. Missing and doubled ends break `rule`.
fn end(
    fields: &Fields<'_>,
    key: &'static str,
    rule: &'static crate::rules::Rule,
    problems: &Collector,
) -> Option<Located<End>> {
    let help = format!("write {key} = \"subject:name\", with one subject of the system and the name it uses");
    let Some(node) = fields.node(key) else {
        problems.add(
            Problem::error(rule, format!("there is no `{key}`"))
                .at(&fields.place, format!("`{key}` is missing here"))
                .help(help),
        );
        return None;
    };
    if let Value::Array(_) = &node.value {
        problems.add(
            Problem::error(rule, format!("`{key}` is one end, not several"))
                .at(&node.place, "several ends")
                .help(help),
        );
        return None;
    }
    let text = fields.text(key)?;
    match text.value.split_once(':') {
        Some((subject, name)) if !subject.is_empty() && !name.is_empty() => {
            let end = End { subject: subject.to_owned(), name: name.to_owned() };
            Some(text.map(|_| end))
        }
        _ => {
            problems.add(
                Problem::error(&reading::VALUE, format!("`{}` is no end", text.value))
                    .at(&text.place, "not of the form `subject:name`")
                    .help(help),
            );
            None
        }
    }
}

/// `wake`, `reset` or `inject:VECTOR`.
fn arrival(fields: &Fields<'_>, node: &Node, problems: &Collector) -> Located<Arrival> {
    let Some(text) = fields.text("arrival") else { return Located::new(Arrival::Wake, &node.place) };
    let vector = |vector: &str| vector.parse().ok().filter(|vector| *vector >= FIRST_VECTOR);
    let arrival = match text.value.as_str() {
        "wake" => Some(Arrival::Wake),
        "reset" => Some(Arrival::Reset),
        other => other.strip_prefix("inject:").and_then(vector).map(Arrival::Inject),
    };
    if arrival.is_none() {
        problems.add(
            Problem::error(&reading::VALUE, format!("`arrival` cannot be `{}`", text.value))
                .at(&text.place, "not one of the choices")
                .help(format!(
                    "there are: wake, reset, inject:VECTOR with a vector of {FIRST_VECTOR} to 255"
                )),
        );
    }
    text.map(|_| arrival.unwrap_or(Arrival::Wake))
}

const ACTIONS: [(&str, u8); 3] =
    [("none", source_action::NONE), ("sleep", source_action::SLEEP), ("yield", source_action::YIELD)];
const DEFAULT_SIZE: u64 = 1 << 20;
/// The processor keeps the vectors below for its exceptions.
const FIRST_VECTOR: u8 = 32;
