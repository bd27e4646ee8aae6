//! `[network]`, and what a subject publishes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::document::{Fields, Node, Value, items, text_of};
use crate::problem::{Collector, Problem};
use crate::rules::{network as rules, reading};
use crate::source::{Located, Place, Source};
use crate::system::{Network, Outbound, Protocol, Publish, System};

/// The table; without it, the defaults.
pub(super) fn network(root: &Fields<'_>, start: &Place, problems: &Collector) -> Network {
    let default = |place: &Place| Network {
        device: None,
        channel_size: Located::new(DEFAULT_CHANNEL_SIZE, place),
        outbound: Outbound::default(),
    };
    let Some((key, node)) = root.entry("network") else { return default(start) };
    let Some(fields) = Fields::of(node, &key.place, "network", problems) else { return default(&key.place) };
    let network = Network {
        device: fields.text("device"),
        channel_size: fields.size("channel").unwrap_or_else(|| default(&key.place).channel_size),
        outbound: fields.node("outbound").map(|node| outbound(node, problems)).unwrap_or_default(),
    };
    fields.finish();
    network
}

/// `"any"`, or a list of destinations; what is none is reported and left out.
fn outbound(node: &Node, problems: &Collector) -> Outbound {
    if let Value::Text(text) | Value::Bare(text) = &node.value
        && text == "any"
    {
        return Outbound::Any;
    }
    let destination = |node: &Node| {
        let text = text_of(node, "outbound", problems)?;
        let destination = text.value.parse().ok();
        if destination.is_none() {
            problems.add(
                Problem::error(&reading::VALUE, format!("`{}` is no destination", text.value))
                    .at(&text.place, "not of the form `git.example.org:443`")
                    .help(
                        "write \"HOST:PORT\" with a name, an IPv4 address or an IPv6 address in brackets; behind it may \
                         stand \"/udp\"; outbound = \"any\" lets everything leave",
                    ),
            );
        }
        Some(Located::new(destination?, &text.place))
    };
    Outbound::Only(items(node, "outbound", problems).iter().filter_map(destination).collect())
}

/// A list of published ports; what is none is reported and left out.
pub(super) fn publish(nodes: &[Node], problems: &Collector) -> Vec<Located<Publish>> {
    let published = |node: &Node| {
        let text = text_of(node, "publish", problems)?;
        let publish = parse_publish(&text.value);
        if publish.is_none() {
            problems.add(
                Problem::error(&reading::VALUE, format!("`{}` publishes nothing", text.value))
                    .at(&text.place, "not of the form `4433:443`")
                    .help(
                        "write \"PORT:PORT\": this computer's port, then the unikernel's; before them may stand this \
                         computer's address, \"127.0.0.1:8053:53\", behind them \"/udp\"",
                    ),
            );
        }
        Some(Located::new(publish?, &text.place))
    };
    nodes.iter().filter_map(published).collect()
}

/// Publishes what the command line says in place of what the description does.
pub(super) fn publish_instead(texts: &[String], system: &mut System, problems: &Collector) {
    let nodes: Vec<Node> = texts.iter().map(|text| option(text)).collect();
    let Some(first) = nodes.first() else { return };
    let mut behind_card: Vec<usize> = system.ports().iter().map(|port| port.subject).collect();
    behind_card.dedup();
    match behind_card[..] {
        [subject] => system.subjects[subject].publish = publish(&nodes, problems),
        // What a program that could not be read has is not known.
        [] if system.subjects.iter().any(|subject| subject.program.is_none()) => {}
        [] => problems.add(
            Problem::error(&rules::PUBLISH, "no unikernel of the system has a network to publish")
                .at(&first.place, "leads nowhere")
                .help("leave it out, or boot a unikernel with a network device"),
        ),
        [one, ..] => {
            let name = &system.subjects[one].name.value;
            problems.add(
                Problem::error(&rules::PUBLISH, "several unikernels have a network")
                    .at(&first.place, "leads to one of them")
                    .help(format!("say which: --set {name}.publish='[\"4433:443\"]'")),
            );
        }
    }
}

/// An option's text as a value with a place.
fn option(text: &str) -> Node {
    let source = Arc::new(Source { name: "--publish".to_owned(), text: text.to_owned() });
    Node { place: Place { source, range: 0..text.len() }, value: Value::Text(text.to_owned()) }
}

/// `4433:443`, `127.0.0.1:8053:53/udp`: where this computer listens, and the port that it leads to.
pub(crate) fn parse_publish(text: &str) -> Option<Publish> {
    let (ports, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some(_) => return None,
    };
    let (host, guest) = ports.rsplit_once(':')?;
    let (address, port) = match host.rsplit_once(':') {
        Some((address, port)) => (address.parse().ok()?, port),
        None => (Ipv4Addr::LOCALHOST, host),
    };
    let guest = number(guest).filter(|guest| *guest != 0)?;
    Some(Publish { protocol, host: SocketAddrV4::new(address, number(port)?), guest })
}

/// A port number without the sign that the standard library allows.
fn number(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Room for 1383 frames: what arrives in 16 ms at a gigabit per second.
const DEFAULT_CHANNEL_SIZE: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports_are_read_in_every_form() {
        let form = |text: &str| parse_publish(text).map(|publish| publish.to_string());
        let same = |text: &str, long: &str| assert_eq!(form(text).as_deref(), Some(long));
        same("4433:443", "127.0.0.1:4433:443/tcp");
        same("4433:443/tcp", "127.0.0.1:4433:443/tcp");
        same("8053:53/udp", "127.0.0.1:8053:53/udp");
        same("0.0.0.0:8053:53/udp", "0.0.0.0:8053:53/udp");
        same("0:80", "127.0.0.1:0:80/tcp");
    }

    #[test]
    fn what_publishes_nothing_is_refused() {
        for text in [
            "",
            "443",
            ":443",
            "1:",
            "1:0",
            "1:65536",
            "+1:80",
            "x:1:2",
            "::1:1:2",
            "1:2/sctp",
            "1:2/udp/tcp",
        ] {
            assert_eq!(parse_publish(text), None, "{text}");
        }
    }
}
