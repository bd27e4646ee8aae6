//! Rules for the machine's network card and the unikernels behind it.

use palisade_abi::needs::UNCONFINED;
use palisade_abi::nic_config::MAX_PORTS;
use palisade_abi::subject_info::MAX_NAME;

use super::{Check, Rule};
use crate::allocate::signal_name;
use crate::document::did_you_mean;
use crate::problem::{Collector, Problem};
use crate::source::Located;
use crate::system::{MachineRight, Outbound, Publish, Subject, System, output_name};
use crate::units;

pub(crate) static CARD: Rule = Rule {
    id: "network-card",
    specification: "The device that `[network]` chooses is a network card of the machine, and who may restart the network has one.",
    check: Check::System(check_card),
};

pub(crate) static PORTS: Rule = Rule {
    id: "network-ports",
    specification: "A network card has at most 32 network devices behind it, with names of 1 to 53 printable ASCII characters and channels of 64 KiB at least.",
    check: Check::System(check_ports),
};

pub(crate) static PUBLISH: Rule = Rule {
    id: "publish",
    specification: "A published port leads to a unikernel behind the network card, and no two are the same port of this computer.",
    check: Check::System(check_published),
};

pub(crate) static OUTBOUND: Rule = Rule {
    id: "outbound",
    specification: "What may leave is any connection, or those to at most 64 destinations, each of which is named once.",
    check: Check::System(check_outbound),
};

pub(crate) static DMA_UNCONFINED: Rule = Rule {
    id: "dma-unconfined",
    specification: "A device that reads and writes memory by itself is confined by an IOMMU (a warning, for machines that have none).",
    check: Check::System(warn_of_unconfined_device),
};

fn check_card(system: &System, problems: &Collector) {
    check_restarts(system, problems);
    let (Some(chosen), Some(machine)) = (&system.network.device, &system.machine) else { return };
    if system.network_card().is_some() {
        return;
    }
    let name = &machine.value.machine.name;
    let cards: Vec<&str> = machine.value.network_cards().map(|card| card.name.as_str()).collect();
    let help = if cards.is_empty() {
        format!("{name} has none; a machine file describes one under [[device]]")
    } else {
        did_you_mean(&chosen.value, cards.into_iter())
    };
    problems.add(
        Problem::error(&CARD, format!("{name} has no network card `{}`", chosen.value))
            .at(&chosen.place, "no such card")
            .help(help),
    );
}

fn check_restarts(system: &System, problems: &Collector) {
    let may = |subject: &&Subject| subject.rights.contains(&MachineRight::RestartNetwork);
    for subject in system.subjects.iter().filter(may).filter(|_| system.nic().is_none()) {
        let name = &subject.name;
        problems.add(
            Problem::error(&CARD, format!("`{}` may restart the network, and there is none", name.value))
                .at(&name.place, "has the right `restart-network`")
                .help("a system has a network driver if a unikernel has a network device that no channels connect"),
        );
    }
}

fn check_ports(system: &System, problems: &Collector) {
    let ports = system.ports();
    let place = |id: usize| &system.subjects[id].program_name.place;
    if let Some(first_too_many) = ports.get(MAX_PORTS) {
        problems.add(
            Problem::error(&PORTS, format!("{} network devices share the card", ports.len()))
                .at(place(first_too_many.subject), "the first one too many")
                .help(format!("keep to {MAX_PORTS}, or connect some by channels")),
        );
    }
    let longest = MAX_NAME - signal_name(&output_name("")).len();
    for port in &ports {
        let name = port.device;
        if name.is_empty() || name.len() > longest || !name.chars().all(|c| c.is_ascii_graphic()) {
            problems.add(
                Problem::error(&PORTS, format!("`{}` is no name for a network device", name.escape_debug()))
                    .at(place(port.subject), "has a device of this name")
                    .help(format!(
                        "build the unikernel with one of 1 to {longest} printable ASCII characters"
                    )),
            );
        }
    }
    let size = &system.network.channel_size;
    if size.value < SMALLEST_CHANNEL {
        problems.add(
            Problem::error(&PORTS, format!("a channel of {} holds too few frames", units::size(size.value)))
                .at(&size.place, "too small")
                .help(format!("make it {} or more", units::size(SMALLEST_CHANNEL))),
        );
    }
}

fn check_published(system: &System, problems: &Collector) {
    let ports = system.ports();
    let mut seen: Vec<&Located<Publish>> = Vec::new();
    for (id, subject) in system.subjects.iter().enumerate() {
        let is_behind_card = ports.iter().any(|port| port.subject == id);
        if let (Some(first), false, Some(_)) = (subject.publish.first(), is_behind_card, &subject.program) {
            problems.add(
                Problem::error(&PUBLISH, format!("`{}` has no network to publish", subject.name.value))
                    .at(&first.place, "leads nowhere")
                    .help("publish ports of unikernels whose network device no channel connects"),
            );
        }
        for publish in &subject.publish {
            if let Some(first) = seen.iter().find(|other| collide(&other.value, &publish.value)) {
                let (protocol, host) = (publish.value.protocol, publish.value.host);
                problems.add(
                    Problem::error(&PUBLISH, format!("{host} ({protocol}) is published twice"))
                        .at(&publish.place, "the second time")
                        .at(&first.place, "the first time")
                        .help("give one of them another port of this computer"),
                );
            }
            seen.push(publish);
        }
    }
}

/// Whether two published ports are one port of this computer. Port 0 is any that nobody uses.
fn collide(one: &Publish, other: &Publish) -> bool {
    let (first, second) = (one.host.ip(), other.host.ip());
    let shared = first == second || first.is_unspecified() || second.is_unspecified();
    let port = one.host.port();
    shared && one.protocol == other.protocol && port == other.host.port() && port != 0
}

fn check_outbound(system: &System, problems: &Collector) {
    let Outbound::Only(destinations) = &system.network.outbound else { return };
    if let Some(first_too_many) = destinations.get(MOST_DESTINATIONS) {
        problems.add(
            Problem::error(&OUTBOUND, format!("{} destinations are too many", destinations.len()))
                .at(&first_too_many.place, "the first one too many")
                .help(format!("keep to {MOST_DESTINATIONS}, or write outbound = \"any\"")),
        );
    }
    for (number, destination) in destinations.iter().enumerate() {
        if let Some(first) = destinations[..number].iter().find(|first| first.value == destination.value) {
            problems.add(
                Problem::error(&OUTBOUND, format!("{} is named twice", destination.value))
                    .at(&destination.place, "the second time")
                    .at(&first.place, "the first time")
                    .help("leave one of them out"),
            );
        }
    }
}

fn warn_of_unconfined_device(system: &System, problems: &Collector) {
    let ports = system.ports();
    let (Some(nic), Some(card), Some(port)) = (system.nic(), system.network_card(), ports.first()) else {
        return;
    };
    if system.machine.as_ref().is_none_or(|machine| machine.value.machine.iommu.is_some()) {
        return;
    }
    let (card, nic) = (&card.name, &system.subjects[nic].name.value);
    problems.add(
        Problem::warning(
            &DMA_UNCONFINED,
            format!("{card}{UNCONFINED}"),
        )
        .at(&system.subjects[port.subject].program_name.place, format!("has the network device `{}`", port.device))
        .help(format!(
            "the walls hold against every program but the driver `{nic}` and the card itself: both must be trusted"
        )),
    );
}

/// Every connection that leaves is looked up among them.
const MOST_DESTINATIONS: usize = 64;
/// Room for 43 frames.
const SMALLEST_CHANNEL: u64 = 64 << 10;
