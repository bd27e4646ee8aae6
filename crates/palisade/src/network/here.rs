//! The network of a system that runs on this computer: this computer plays the rest of it.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use palisade_gateway::{Gateway, Listener, Outbound, Published as Leading, Subnet, World};
use palisade_hosted::{Network, PortAddresses, open_tap, own_addresses};
use palisade_machine::{Added, Claim, MacAddress};
use palisade_policy::{Host, Outbound as Allowed, Planned, Subject};

use super::neighbourhood::{Neighbour, Neighbourhood};
use crate::cli::NETWORK_PROCESS;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::published::Published;

/// What is around the unikernels that have network devices.
pub(crate) struct Here {
    pub(crate) network: Network,
    /// What leads to them.
    pub(crate) published: Vec<Published>,
}

/// The network of a system, if any of its unikernels has a device that leads there. With `tap`, it is what the tap device of
/// that name leads to, and nothing is published: everything can be reached.
pub(crate) fn connect(planned: &Planned, tap: Option<&str>) -> Result<Option<Here>, Failure> {
    let subjects = planned.system.ports().into_iter().map(|port| planned.system.subjects.get(port.subject));
    let subjects: Vec<&Subject> = subjects.flatten().collect();
    if subjects.is_empty() {
        return match tap {
            None => Ok(None),
            Some(_) => Err(Failure::input("--tap: no unikernel of this system has a network device")),
        };
    }
    if let Some(name) = tap {
        let device = open_tap(name).map_err(|error| {
            let help = "make it first, as root: ip tuntap add NAME mode tap user USER && ip link set NAME up";
            let message = format!("the tap device {name} cannot be used: {error}");
            Failure::message(Exit::Host, message, Some(help.into()))
        })?;
        let mac = MacAddress::of_name(&format!("{} {name}", planned.plan.name));
        let addresses = |subject: &&Subject| {
            Ok(PortAddresses { fixed: Neighbour::of(subject)?.addresses(), lease: None })
        };
        let ports = subjects.iter().map(addresses).collect::<Result<_, Failure>>()?;
        return Ok(Some(Here { network: network(World::Tap(device), mac, ports), published: Vec::new() }));
    }
    let neighbourhood = Neighbourhood::of(planned)?;
    let addresses = |subject: &&Subject| {
        let fixed = Neighbour::of(subject)?.addresses();
        Ok(PortAddresses { fixed, lease: neighbourhood.lease(subject) })
    };
    let ports = subjects.iter().map(addresses).collect::<Result<_, Failure>>()?;
    let (user, published, claims) = neighbourhood.publish()?;
    let leading = published.iter().zip(claims).map(|(published, claim)| Leading {
        listener: match claim {
            Claim::Tcp(listener) => Listener::Tcp(listener),
            Claim::Udp(socket) => Listener::Udp(socket),
        },
        guest: published.forward.guest.into(),
    });
    let outbound = match &planned.system.network.outbound {
        Allowed::Only(destinations) => {
            Outbound::Only(destinations.iter().map(|destination| destination.value.clone()).collect())
        }
        Allowed::Any => Outbound::Any,
    };
    let own_addresses = if names_a_host(&outbound) {
        own_addresses().map_err(|error| {
            let message = format!("the addresses of this computer cannot be learned: {error}");
            Failure::message(Exit::Host, message, None)
        })?
    } else {
        Vec::new()
    };
    let gateway = Gateway {
        ipv4: subnet(user.ipv4()),
        ipv6: user.ipv6().map(subnet),
        published: leading.collect(),
        outbound,
        name_servers: name_servers(&fs::read_to_string(RESOLVER).unwrap_or_default()),
        own_addresses,
    };
    Ok(Some(Here { network: network(World::Gateway(gateway), MacAddress::ALONE, ports), published }))
}

/// A network whose process is this program once more.
fn network(world: World, mac: MacAddress, ports: Vec<PortAddresses>) -> Network {
    let arguments = vec![c"palisade".to_owned(), NETWORK_PROCESS.to_owned()];
    Network { world, mac: mac.0, ports, program: "/proc/self/exe".into(), arguments }
}

fn subnet<A>(added: Added<A>) -> Subnet<A> {
    Subnet { prefix: added.prefix, router: added.router, name_server: added.name_server }
}

/// Whether something may leave to whatever a name stands for. Only then the addresses of this computer matter, which are none
/// that a name can stand for; and some sandboxes do not tell them (they have no netlink).
fn names_a_host(outbound: &Outbound) -> bool {
    match outbound {
        Outbound::Only(list) => list.iter().any(|destination| matches!(destination.host, Host::Name(_))),
        Outbound::Any => false,
    }
}

/// Whom this computer asks for names, as resolv.conf(5) says.
fn name_servers(configuration: &str) -> Vec<SocketAddr> {
    let servers = configuration.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok())?
    });
    servers.map(|address| SocketAddr::new(address, DNS)).collect()
}

const RESOLVER: &str = "/etc/resolv.conf";
const DNS: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_this_computer_are_asked_for_only_where_a_name_is_allowed() {
        let only = |list: &[&str]| {
            Outbound::Only(list.iter().map(|text| text.parse().expect("a destination")).collect())
        };
        assert!(names_a_host(&only(&["192.0.2.1:53/udp", "git.example.org:443"])));
        for outbound in [Outbound::Any, only(&[]), only(&["192.0.2.1:53/udp", "[2001:db8::1]:443"])] {
            assert!(!names_a_host(&outbound), "{outbound:?}");
        }
    }

    #[test]
    fn name_servers_are_those_of_the_computer() {
        let text = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 192.0.2.1\nnameserver\t2001:db8::1\nnameserver fe80::1%eth0\n";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().expect("an address"));
        assert_eq!(name_servers(text), expected);
    }
}
