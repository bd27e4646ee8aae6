//! The network of a machine that boots a system: around the addresses of the unikernels behind its card.

use std::env;
use std::net::SocketAddrV4;

use palisade_machine::{
    Forward, Interface, MacAddress, Network, PciAddress, Protocol, UserNetwork, Wire, claim_ports,
};
use palisade_policy::{Planned, Publish, Subject};

use crate::command_line;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::published::Published;

/// A machine's card with its network, and the ports of this computer that lead there.
pub(crate) struct Connection {
    pub(crate) network: Network,
    pub(crate) published: Vec<Published>,
}

/// The connection of the system's machine, if the system drives a network card. With `tap`, the card's wire leads to the
/// tap device of that name, and nothing is published: everything can be reached.
pub(crate) fn connect(planned: &Planned, tap: Option<&str>) -> Result<Option<Connection>, Failure> {
    let Some(card) = planned.plan.devices.first().map(|device| &device.hardware) else {
        return match tap {
            None => Ok(None),
            Some(_) => Err(Failure::input("--tap: no unikernel of this system has a network device")),
        };
    };
    let address = PciAddress { device: (card.bdf >> 3 & 0x1f) as u8, function: (card.bdf & 7) as u8 };
    if let Some(name) = tap {
        let mac = MacAddress::of_name(&format!("{} {name}", planned.plan.name));
        let network = Network { address, mac, wire: Wire::Tap(name.to_owned()) };
        return Ok(Some(Connection { network, published: Vec::new() }));
    }
    let (user, published) = user_network(planned)?;
    let network = Network { address, mac: MacAddress::ALONE, wire: Wire::User(user) };
    Ok(Some(Connection { network, published }))
}

fn user_network(planned: &Planned) -> Result<(UserNetwork, Vec<Published>), Failure> {
    let subjects = behind_card(planned);
    let interfaces = subjects.iter().map(|subject| interface(subject)).collect::<Result<Vec<_>, _>>()?;
    let mut user = UserNetwork::around(&interfaces).map_err(|conflict| {
        let help = "the emulator plays one network with one router: give the unikernels addresses in it with \
                    --ipv4=ADDRESS/PREFIX and --ipv4-gateway=ADDRESS in their `bootparams`";
        Failure::message(Exit::Input, conflict, Some(help.into()))
    })?;
    let mut leads_to = Vec::new();
    for (subject, interface) in subjects.iter().zip(&interfaces) {
        for publish in &subject.publish {
            user.forwards.push(forward(&publish.value, interface, &interfaces, &user)?);
            leads_to.push(*subject);
        }
    }
    claim_ports(&mut user.forwards).map_err(|error| {
        let help = error.help();
        Failure::message(Exit::Host, error, Some(help))
    })?;
    user.extra = env::var(EXTRA_OPTIONS).unwrap_or_default();
    let published = user.forwards.iter().zip(leads_to);
    let published = published.map(|(forward, subject)| Published::new(*forward, subject)).collect();
    Ok((user, published))
}

/// The unikernels that share the card. One with several devices is listed once: its command line describes one interface.
fn behind_card(planned: &Planned) -> Vec<&Subject> {
    let mut numbers: Vec<_> = planned.system.ports().iter().map(|port| port.subject).collect();
    numbers.dedup();
    numbers.into_iter().filter_map(|number| planned.system.subjects.get(number)).collect()
}

fn interface(subject: &Subject) -> Result<Interface, Failure> {
    let name = &subject.name.value;
    command_line::interface(name, &subject.command_line.value)
        .map_err(|flaw| Failure::input(format!("subject {name}: {flaw}")))
}

/// A unikernel without a fixed address has the first one that the DHCP server gives, if it is the only one that asks.
fn forward(
    publish: &Publish,
    to: &Interface,
    all: &[Interface],
    network: &UserNetwork,
) -> Result<Forward, Failure> {
    let asking = all.iter().filter(|interface| interface.ipv4.is_none()).count();
    let address = match to.ipv4 {
        Some(fixed) => fixed.address,
        None if asking == 1 => network.first_lease(),
        None => {
            let help = "give it a fixed one, such as --ipv4=10.0.2.15/24 --ipv4-gateway=10.0.2.2 in its `bootparams`";
            let message = format!(
                "{publish} cannot be published: several unikernels ask for an address, and nobody knows which one {} gets",
                to.owner
            );
            return Err(Failure::message(Exit::Input, message, Some(help.into())));
        }
    };
    let protocol = match publish.protocol {
        palisade_policy::Protocol::Tcp => Protocol::Tcp,
        palisade_policy::Protocol::Udp => Protocol::Udp,
    };
    Ok(Forward { protocol, host: publish.host, guest: SocketAddrV4::new(address, publish.guest) })
}

/// More options for QEMU's `-netdev`, as its users have them in their environment.
const EXTRA_OPTIONS: &str = "QEMU_NETDEV_EXTRA_OPTS";
