//! The network of a system: around the addresses of the unikernels in it. Here, that of a machine.

mod here;
mod neighbourhood;

use std::env;

use palisade_machine::{MacAddress, Network, PciAddress, UserNetwork, Wire};
use palisade_policy::{Outbound, Planned};

use self::neighbourhood::Neighbourhood;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::published::Published;

pub(crate) use here::connect as connect_here;

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

/// Nothing keeps the ports: the emulator takes them.
fn user_network(planned: &Planned) -> Result<(UserNetwork, Vec<Published>), Failure> {
    let (mut user, published, _) = Neighbourhood::of(planned)?.publish()?;
    user.is_closed = match &planned.system.network.outbound {
        Outbound::Any => false,
        Outbound::Only(destinations) if destinations.is_empty() => true,
        Outbound::Only(_) => {
            let help = "`palisade run` keeps to it; for the emulator let everything leave, --set network.outbound=any, or nothing, \
                        --set network.outbound=[]";
            let message = "the emulator's network cannot keep to the destinations of `outbound`";
            return Err(Failure::message(Exit::Input, message, Some(help.into())));
        }
    };
    user.extra = env::var(EXTRA_OPTIONS).unwrap_or_default();
    user.forwards = published.iter().map(|published| published.forward).collect();
    Ok((user, published))
}

/// More options for QEMU's `-netdev`, as its users have them in their environment.
const EXTRA_OPTIONS: &str = "QEMU_NETDEV_EXTRA_OPTS";
