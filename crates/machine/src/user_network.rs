//! The network that the emulator plays: a router, a name server and a DHCP server around the addresses that the system
//! behind the card has chosen.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use crate::subnet::{Address, Subnet};

/// A network around a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNetwork {
    ipv4: Surroundings<Ipv4Addr>,
    /// Where the DHCP server begins to give addresses.
    first_lease: Ipv4Addr,
    /// If nobody behind the card has a fixed address, the emulator announces a prefix of its own.
    ipv6: Option<Surroundings<Ipv6Addr>>,
    /// Ports of this computer that lead into the system.
    pub forwards: Vec<Forward>,
    /// Whether nothing leaves it. What is forwarded into it, and the answers, still pass.
    pub is_closed: bool,
    /// More options for the emulator, as they are; nothing if empty.
    pub extra: String,
}

/// An interface behind the card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Whose it is, for messages.
    pub owner: String,
    /// Its fixed address; without one it asks the DHCP server.
    pub ipv4: Option<Fixed<Ipv4Addr>>,
    /// Its fixed address; without one it makes one from the announced prefix.
    pub ipv6: Option<Fixed<Ipv6Addr>>,
}

/// A fixed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed<A> {
    /// The address.
    pub address: A,
    /// Bits of it that name the network.
    pub prefix: u8,
    /// The router, if there is one.
    pub gateway: Option<A>,
}

/// What is added to a network in which a system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added<A> {
    /// Bits that all addresses of the network share.
    pub prefix: u8,
    /// The router.
    pub router: A,
    /// The name server.
    pub name_server: A,
}

/// A port of this computer that leads to a port behind the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// What is forwarded.
    pub protocol: Protocol,
    /// Where this computer listens.
    pub host: SocketAddrV4,
    /// Where it leads.
    pub guest: SocketAddrV4,
}

/// What is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Why no single network suits all interfaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Two interfaces are in different networks.
    #[error("{} has {}, and {} has {}: they are in different networks", .0.0, .0.1, .1.0, .1.1)]
    Networks((String, String), (String, String)),
    /// Two interfaces have one address.
    #[error("{first} and {second} have the same address {address}")]
    Addresses {
        /// An owner.
        first: String,
        /// The other one.
        second: String,
        /// The address.
        address: String,
    },
    /// Two interfaces want different routers, none of which is behind the card.
    #[error("{} wants the gateway {}, and {} wants {}: the emulator is one router only", .0.0, .0.1, .1.0, .1.1)]
    Gateways((String, String), (String, String)),
    /// A router that its interface cannot reach.
    #[error("{owner} has {address}, but its gateway {gateway} is not in that network")]
    GatewayOutside {
        /// Whose it is.
        owner: String,
        /// Its address with the prefix.
        address: String,
        /// The gateway.
        gateway: String,
    },
    /// An interface that is its own router.
    #[error("{owner} has its own address {address} as its gateway")]
    OwnGateway {
        /// Whose it is.
        owner: String,
        /// The address.
        address: String,
    },
    /// An address that names a network, or all of it.
    #[error("{owner} has {address}, which names a network and nobody in it")]
    NoHost {
        /// Whose it is.
        owner: String,
        /// Its address with the prefix.
        address: String,
    },
    /// The network is too small for what the emulator adds.
    #[error("the network {0} has no room for the emulator's router, name server and DHCP server")]
    Full(String),
    /// A prefix with which the emulator cannot be started.
    #[error("{owner} has {address}: the emulator's networks have prefixes of {least} to {most} bits")]
    Prefix {
        /// Whose it is.
        owner: String,
        /// Its address with the prefix.
        address: String,
        /// Fewest bits.
        least: u8,
        /// Most bits.
        most: u8,
    },
}

impl UserNetwork {
    /// A network in which all of `interfaces` find the router that they expect.
    ///
    /// # Errors
    /// [`Conflict`], if no single network is that.
    pub fn around(interfaces: &[Interface]) -> Result<Self, Conflict> {
        let fixed = fixed(interfaces, |interface| interface.ipv4);
        let (ipv4, free) = Surroundings::around(&fixed, DEFAULT_NETWORK)?;
        let clients = interfaces.iter().filter(|interface| interface.ipv4.is_none()).count();
        let first_lease = free.run_of(clients.max(1), USUAL_LEASE).ok_or_else(|| full(&ipv4.subnet))?;
        let fixed = self::fixed(interfaces, |interface| interface.ipv6);
        let ipv6 = match fixed.as_slice() {
            [] => None,
            [(_, one), ..] => {
                let default = Subnet::of(one.address, one.prefix);
                Some(Surroundings::around(&fixed, default)?.0)
            }
        };
        Ok(Self { ipv4, first_lease, ipv6, forwards: Vec::new(), is_closed: false, extra: String::new() })
    }

    /// The address of the first that asks the DHCP server.
    #[must_use]
    pub const fn first_lease(&self) -> Ipv4Addr {
        self.first_lease
    }

    /// What is added to the IPv4 network.
    #[must_use]
    pub fn ipv4(&self) -> Added<Ipv4Addr> {
        self.ipv4.added()
    }

    /// What is added to the IPv6 network, if anybody behind the card has a fixed address in one.
    #[must_use]
    pub fn ipv6(&self) -> Option<Added<Ipv6Addr>> {
        self.ipv6.as_ref().map(Surroundings::added)
    }

    /// The part of the value of `-netdev` behind the identifier.
    pub(crate) fn options(&self) -> String {
        let Surroundings { subnet, router, name_server } = &self.ipv4;
        let mut options =
            format!("net={subnet},host={router},dns={name_server},dhcpstart={}", self.first_lease);
        if let Some(Surroundings { subnet, router, name_server }) = &self.ipv6 {
            let (network, length) = (subnet.first(), subnet.prefix());
            options += &format!(
                ",ipv6-prefix={network},ipv6-prefixlen={length},ipv6-host={router},ipv6-dns={name_server}"
            );
        }
        for forward in &self.forwards {
            options += &format!(",hostfwd={forward}");
        }
        if self.is_closed {
            options += ",restrict=on";
        }
        if !self.extra.is_empty() {
            options += &format!(",{}", self.extra);
        }
        options
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.protocol, self.host, self.guest)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// What the emulator adds to a network.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Surroundings<A> {
    subnet: Subnet<A>,
    router: A,
    name_server: A,
}

/// Addresses of a network that nobody has.
struct Free<A> {
    subnet: Subnet<A>,
    taken: Vec<A>,
}

impl<A: Address> Surroundings<A> {
    /// What suits all of `fixed`; `default` is for nobody. Also what is left.
    fn around(fixed: &[(String, Fixed<A>)], default: Subnet<A>) -> Result<(Self, Free<A>), Conflict> {
        for (owner, one) in fixed {
            check(owner, one)?;
        }
        for (number, (owner, one)) in fixed.iter().enumerate() {
            check_pair(&fixed[0], owner, one)?;
            if let Some((first, _)) = fixed[..number].iter().find(|(_, other)| other.address == one.address) {
                let (first, second) = (first.clone(), owner.clone());
                return Err(Conflict::Addresses { first, second, address: one.address.to_string() });
            }
        }
        let subnet = fixed.first().map_or(default, |(_, one)| Subnet::of(one.address, one.prefix));
        let mut free = Free { subnet, taken: fixed.iter().map(|(_, one)| one.address).collect() };
        let router = match router(fixed)? {
            Some(router) => router,
            None => free.run_of(1, USUAL_ROUTER).ok_or_else(|| full(&subnet))?,
        };
        free.taken.push(router);
        let name_server = free.run_of(1, USUAL_NAME_SERVER).ok_or_else(|| full(&subnet))?;
        free.taken.push(name_server);
        Ok((Self { subnet, router, name_server }, free))
    }

    fn added(&self) -> Added<A> {
        Added { prefix: self.subnet.prefix(), router: self.router, name_server: self.name_server }
    }
}

impl<A: Address> Free<A> {
    /// The first of `count` free addresses in a row: the usual one if that is possible, else the lowest.
    fn run_of(&self, count: usize, usual: u128) -> Option<A> {
        let is_free = |number: u128| {
            let run = (number..).take(count).map(|number| self.subnet.host(number));
            run.into_iter().all(|address| address.is_some_and(|address| !self.taken.contains(&address)))
        };
        // Each address in use spoils at most `count` places.
        let places = u128::try_from((self.taken.len() + 1) * count).unwrap_or(u128::MAX);
        let number = [usual].into_iter().chain(1..=places).find(|number| is_free(*number))?;
        self.subnet.host(number)
    }
}

/// The fixed addresses of one family, with their owners.
fn fixed<A>(
    interfaces: &[Interface],
    of: impl Fn(&Interface) -> Option<Fixed<A>>,
) -> Vec<(String, Fixed<A>)> {
    let fixed = interfaces.iter().map(|interface| Some((interface.owner.clone(), of(interface)?)));
    fixed.flatten().collect()
}

fn check<A: Address>(owner: &str, one: &Fixed<A>) -> Result<(), Conflict> {
    let owner = owner.to_owned();
    let address = with_prefix(one);
    let (least, most) = A::PREFIXES;
    if !(least..=most).contains(&one.prefix) {
        return Err(Conflict::Prefix { owner, address, least, most });
    }
    let subnet = Subnet::of(one.address, one.prefix);
    if !subnet.is_host(one.address) {
        return Err(Conflict::NoHost { owner, address });
    }
    match one.gateway {
        Some(gateway) if gateway == one.address => {
            Err(Conflict::OwnGateway { owner, address: gateway.to_string() })
        }
        Some(gateway) if !subnet.is_host(gateway) => {
            Err(Conflict::GatewayOutside { owner, address, gateway: gateway.to_string() })
        }
        _ => Ok(()),
    }
}

fn check_pair<A: Address>(
    (first, other): &(String, Fixed<A>),
    owner: &str,
    one: &Fixed<A>,
) -> Result<(), Conflict> {
    if Subnet::of(other.address, other.prefix) == Subnet::of(one.address, one.prefix) {
        return Ok(());
    }
    Err(Conflict::Networks((first.clone(), with_prefix(other)), (owner.to_owned(), with_prefix(one))))
}

/// The gateway that the emulator has to be: one that is nobody's address behind the card.
fn router<A: Address>(fixed: &[(String, Fixed<A>)]) -> Result<Option<A>, Conflict> {
    let is_inside = |gateway: &A| fixed.iter().any(|(_, other)| other.address == *gateway);
    let mut wanted = fixed.iter().filter_map(|(owner, one)| {
        let gateway = one.gateway.filter(|gateway| !is_inside(gateway))?;
        Some((owner, gateway))
    });
    let Some((first, router)) = wanted.next() else { return Ok(None) };
    match wanted.find(|(_, gateway)| *gateway != router) {
        None => Ok(Some(router)),
        Some((owner, gateway)) => {
            Err(Conflict::Gateways((first.clone(), router.to_string()), (owner.clone(), gateway.to_string())))
        }
    }
}

fn with_prefix<A: Address>(one: &Fixed<A>) -> String {
    format!("{}/{}", one.address, one.prefix)
}

fn full<A: Address>(subnet: &Subnet<A>) -> Conflict {
    Conflict::Full(subnet.to_string())
}

/// QEMU's own network, and its own places in it.
const DEFAULT_NETWORK: Subnet<Ipv4Addr> = Subnet::default_ipv4();
const USUAL_ROUTER: u128 = 2;
const USUAL_NAME_SERVER: u128 = 3;
const USUAL_LEASE: u128 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_fixed_addresses_the_network_is_the_usual_one() {
        let network = UserNetwork::around(&[interface("a", None, None)]).expect("nothing conflicts");
        let usual = "net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15";
        assert_eq!(network.options(), usual);
        assert_eq!(network.first_lease(), Ipv4Addr::new(10, 0, 2, 15));
    }

    #[test]
    fn the_router_is_the_gateway_that_the_system_expects() {
        let network = around(&[interface("a", Some("192.168.254.10/24"), Some("192.168.254.1"))]);
        let expected = "net=192.168.254.0/24,host=192.168.254.1,dns=192.168.254.3,dhcpstart=192.168.254.15";
        assert_eq!(network.expect("nothing conflicts"), expected);
    }

    #[test]
    fn nothing_that_the_emulator_adds_takes_an_address_of_the_system() {
        let interfaces = [2, 3, 15, 1].map(|last| interface("a", Some(&format!("10.1.1.{last}/24")), None));
        let expected = "net=10.1.1.0/24,host=10.1.1.4,dns=10.1.1.5,dhcpstart=10.1.1.6";
        assert_eq!(around(&interfaces).expect("there is room"), expected);
    }

    #[test]
    fn leases_for_all_who_ask_are_in_a_row_of_free_addresses() {
        let fixed = interface("a", Some("10.1.1.16/28"), None);
        assert!(matches!(around(&[fixed]), Err(Conflict::NoHost { .. })));
        let fixed = interface("a", Some("10.1.1.4/28"), None);
        let asking = || interface("b", None, None);
        let lease = |interfaces: &[Interface]| {
            UserNetwork::around(interfaces).map(|network| network.first_lease().octets()[3])
        };
        assert_eq!(lease(&[fixed.clone(), asking()]), Ok(1));
        assert_eq!(lease(&[fixed.clone(), asking(), asking()]), Ok(5));
        let many: Vec<_> = [fixed].into_iter().chain((0..11).map(|_| asking())).collect();
        assert_eq!(lease(&many), Err(Conflict::Full("10.1.1.0/28".into())));
    }

    #[test]
    fn a_gateway_among_the_interfaces_is_not_the_emulators() {
        let inner = interface("inner", Some("10.0.0.3/24"), Some("10.0.0.2"));
        let outer = interface("outer", Some("10.0.0.2/24"), Some("10.0.0.1"));
        let options = around(&[inner, outer]).expect("one router is outside");
        assert!(options.contains("host=10.0.0.1,"), "{options}");
    }

    #[test]
    fn what_no_network_can_satisfy_is_refused_with_both_sides() {
        let a = || interface("a", Some("10.0.0.2/24"), Some("10.0.0.1"));
        let cases = [
            (interface("b", Some("10.0.1.2/24"), None), ["a has 10.0.0.2/24", "b has 10.0.1.2/24"]),
            (interface("b", Some("10.0.0.3/16"), None), ["a has 10.0.0.2/24", "b has 10.0.0.3/16"]),
            (interface("b", Some("10.0.0.2/24"), None), ["a and b", "10.0.0.2"]),
            (interface("b", Some("10.0.0.3/24"), Some("10.0.0.9")), ["10.0.0.1", "10.0.0.9"]),
            (interface("b", Some("10.0.0.3/24"), Some("10.0.1.1")), ["10.0.0.3/24", "10.0.1.1"]),
            (interface("b", Some("10.0.0.3/24"), Some("10.0.0.3")), ["its own address", "10.0.0.3"]),
            (interface("b", Some("10.0.0.255/24"), None), ["b has", "10.0.0.255/24"]),
            (interface("b", Some("10.0.0.3/2"), None), ["b has 10.0.0.3/2", "4 to 30"]),
        ];
        for (b, parts) in cases {
            let conflict = around(&[a(), b]).expect_err("they conflict").to_string();
            assert!(parts.iter().all(|part| conflict.contains(part)), "{conflict}");
        }
    }

    #[test]
    fn a_network_without_room_is_refused() {
        let tight = interface("a", Some("10.0.0.2/30"), Some("10.0.0.1"));
        assert_eq!(around(&[tight]), Err(Conflict::Full("10.0.0.0/30".into())));
    }

    #[test]
    fn fixed_addresses_of_ipv6_have_their_network_too() {
        let address = "fd00::10".parse().expect("an address");
        let ipv6 = Some(Fixed { address, prefix: 64, gateway: Some("fd00::1".parse().expect("an address")) });
        let options = around(&[Interface { ipv6, ..interface("a", None, None) }]).expect("nothing conflicts");
        let expected = ",ipv6-prefix=fd00::,ipv6-prefixlen=64,ipv6-host=fd00::1,ipv6-dns=fd00::3";
        assert!(options.ends_with(expected), "{options}");
    }

    #[test]
    fn forwards_and_extra_options_come_last() {
        let mut network = UserNetwork::around(&[]).expect("nothing conflicts");
        network.forwards.push(Forward {
            protocol: Protocol::Udp,
            host: "127.0.0.1:8053".parse().expect("an address"),
            guest: "10.0.2.15:53".parse().expect("an address"),
        });
        network.extra = "hostfwd=tcp::4433-192.168.254.10:4433".into();
        network.is_closed = true;
        let expected =
            ",hostfwd=udp:127.0.0.1:8053-10.0.2.15:53,restrict=on,hostfwd=tcp::4433-192.168.254.10:4433";
        assert!(network.options().ends_with(expected), "{}", network.options());
    }

    fn around(interfaces: &[Interface]) -> Result<String, Conflict> {
        UserNetwork::around(interfaces).map(|network| network.options())
    }

    fn interface(owner: &str, ipv4: Option<&str>, gateway: Option<&str>) -> Interface {
        let ipv4 = ipv4.and_then(|text| text.split_once('/')).map(|(address, prefix)| Fixed {
            address: address.parse().expect("an address"),
            prefix: prefix.parse().expect("a number"),
            gateway: gateway.map(|gateway| gateway.parse().expect("an address")),
        });
        Interface { owner: owner.into(), ipv4, ipv6: None }
    }
}
