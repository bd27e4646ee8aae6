//! What may leave, and where it goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use palisade_policy::{Destination, Host, Protocol};
use smoltcp::time::{Duration, Instant};

use crate::setup::Outbound;

/// The list of destinations, with the addresses that names stand for.
#[derive(Debug)]
pub(super) struct Permissions {
    outbound: Outbound,
    /// The addresses of this computer.
    own: Vec<IpAddr>,
    known: Vec<Known>,
}

/// An address that the name server gave for a name of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    address: IpAddr,
    until: Instant,
}

impl Permissions {
    pub(super) const fn new(outbound: Outbound, own: Vec<IpAddr>) -> Self {
        Self { outbound, own, known: Vec::new() }
    }

    /// Whether anything may leave.
    pub(super) fn allow_something(&self) -> bool {
        self.outbound != Outbound::Only(Vec::new())
    }

    /// Whether the name may be asked for.
    pub(super) fn allow_name(&self, name: &str) -> bool {
        match &self.outbound {
            Outbound::Any => true,
            Outbound::Only(list) => {
                list.iter().any(|one| matches!(&one.host, Host::Name(host) if host == name))
            }
        }
    }

    /// Notes what a name stands for, if it is on the list. An address of this computer itself is none that a name can stand
    /// for: who answers for the name would decide which of its own services is reached.
    pub(super) fn learn(&mut self, name: &str, address: IpAddr, seconds: u32, now: Instant) {
        let is_listed = matches!(self.outbound, Outbound::Only(_)) && self.allow_name(name);
        if !is_listed || !is_outside(address) || self.own.contains(&address) {
            return;
        }
        let until = now + Duration::from_secs(u64::from(seconds)).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        self.known.retain(|known| known.until > now && (known.name != name || known.address != address));
        let same = self.known.iter().filter(|known| known.name == name).count();
        if same >= MOST_ADDRESSES
            && let Some(oldest) = self.known.iter().position(|known| known.name == name)
        {
            self.known.remove(oldest);
        }
        self.known.push(Known { name: name.to_owned(), address, until });
    }

    /// Where what a unikernel sends to `to` goes, if it may leave. `is_router` says that this is the router's address, which
    /// stands for this computer itself.
    pub(super) fn allow(
        &self,
        protocol: Protocol,
        to: SocketAddr,
        is_router: bool,
        now: Instant,
    ) -> Option<SocketAddr> {
        let fits = |one: &&Destination| one.protocol == protocol && one.port == to.port();
        let listed = |matches: &dyn Fn(&Host) -> bool| match &self.outbound {
            Outbound::Any => true,
            Outbound::Only(list) => list.iter().filter(fits).any(|one| matches(&one.host)),
        };
        if is_router {
            let this: IpAddr = match to {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            let allowed = listed(&|host| match host {
                Host::Name(name) => name == LOCALHOST,
                Host::Address(address) => address.is_loopback(),
            });
            return allowed.then(|| SocketAddr::new(this, to.port()));
        }
        let is_known = |name: &str| {
            self.known.iter().any(|known| known.name == name && known.address == to.ip() && known.until > now)
        };
        let allowed = is_outside(to.ip())
            && to.port() != 0
            && listed(&|host| match host {
                Host::Name(name) => is_known(name),
                Host::Address(address) => *address == to.ip(),
            });
        allowed.then_some(to)
    }
}

/// Whether an address can be that of a single other computer, beyond the link.
fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_link_local()
                // RFC 1122, 3.2.1.3: this network, and what is reserved.
                || matches!(address.octets()[0], 0 | 240..=255))
        }
        IpAddr::V6(address) => {
            let is_ipv4 = address.to_ipv4_mapped().is_some() || address.to_ipv4().is_some();
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || is_ipv4)
        }
    }
}

/// The name of this computer itself (RFC 6761, 6.3).
pub(super) const LOCALHOST: &str = "localhost";

/// Most addresses of a name.
const MOST_ADDRESSES: usize = 32;
/// How long an address stands for a name: what the name's owner says, within limits. A unikernel that was told an address can
/// take a moment to use it.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_by_default() {
        let none = Permissions::new(Outbound::Only(Vec::new()), Vec::new());
        assert!(!none.allow_something() && !none.allow_name("a.example"));
        assert_eq!(none.allow(Protocol::Tcp, "192.0.2.1:443".parse().unwrap(), false, NOW), None);
        assert_eq!(none.allow(Protocol::Tcp, "10.0.2.2:443".parse().unwrap(), true, NOW), None);
    }

    #[test]
    fn a_listed_destination_is_allowed_with_its_port_and_protocol_only() {
        let some = only(&["192.0.2.1:443", "192.0.2.1:53/udp", "[2001:db8::1]:443"]);
        for (protocol, to, allowed) in [
            (Protocol::Tcp, "192.0.2.1:443", true),
            (Protocol::Udp, "192.0.2.1:53", true),
            (Protocol::Tcp, "[2001:db8::1]:443", true),
            (Protocol::Udp, "192.0.2.1:443", false),
            (Protocol::Tcp, "192.0.2.1:53", false),
            (Protocol::Tcp, "192.0.2.2:443", false),
        ] {
            assert_eq!(some.allow(protocol, to.parse().unwrap(), false, NOW).is_some(), allowed, "{to}");
        }
    }

    #[test]
    fn a_name_stands_for_the_addresses_that_were_told_until_they_are_too_old() {
        let mut some = only(&["git.example.org:443"]);
        let to: SocketAddr = "192.0.2.7:443".parse().unwrap();
        assert_eq!(some.allow(Protocol::Tcp, to, false, NOW), None);
        some.learn("other.example.org", to.ip(), 300, NOW);
        assert_eq!(some.allow(Protocol::Tcp, to, false, NOW), None);
        some.learn("git.example.org", to.ip(), 300, NOW);
        assert_eq!(some.allow(Protocol::Tcp, to, false, NOW), Some(to));
        assert_eq!(some.allow(Protocol::Tcp, SocketAddr::new(to.ip(), 80), false, NOW), None);
        assert_eq!(some.allow(Protocol::Tcp, to, false, NOW + Duration::from_secs(300)), None);
        for number in 0..100 {
            some.learn("git.example.org", Ipv4Addr::new(198, 51, 100, number).into(), 300, NOW);
        }
        assert_eq!(some.known.len(), MOST_ADDRESSES);
    }

    #[test]
    fn no_name_stands_for_this_computer_but_its_own() {
        let mut some = only(&["git.example.org:443", "localhost:5432"]);
        for address in
            ["127.0.0.1", "0.0.0.0", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1", "224.0.0.1"]
        {
            let address: IpAddr = address.parse().unwrap();
            some.learn("git.example.org", address, 300, NOW);
            assert_eq!(
                some.allow(Protocol::Tcp, SocketAddr::new(address, 443), false, NOW),
                None,
                "{address}"
            );
        }
        let router: SocketAddr = "10.0.2.2:5432".parse().unwrap();
        assert_eq!(some.allow(Protocol::Tcp, router, true, NOW), Some("127.0.0.1:5432".parse().unwrap()));
        assert_eq!(some.allow(Protocol::Tcp, SocketAddr::new(router.ip(), 443), true, NOW), None);
    }

    #[test]
    fn only_the_address_itself_stands_for_one_of_this_computer() {
        let to = SocketAddr::new(OWN, 443);
        let mut named = only(&["git.example.org:443"]);
        named.learn("git.example.org", OWN, 300, NOW);
        assert_eq!(named.allow(Protocol::Tcp, to, false, NOW), None);
        assert_eq!(only(&["192.0.2.200:443"]).allow(Protocol::Tcp, to, false, NOW), Some(to));
    }

    #[test]
    fn any_is_everything_outside_and_this_computer() {
        let any = Permissions::new(Outbound::Any, Vec::new());
        let to = |text: &str| any.allow(Protocol::Tcp, text.parse().unwrap(), false, NOW);
        assert!(to("192.0.2.1:1").is_some() && to("10.9.9.9:1").is_some() && any.allow_name("a.example"));
        assert!(
            to("127.0.0.1:1").is_none() && to("255.255.255.255:1").is_none() && to("192.0.2.1:0").is_none()
        );
        let router = "10.0.2.2:80".parse().unwrap();
        assert_eq!(any.allow(Protocol::Tcp, router, true, NOW), Some("127.0.0.1:80".parse().unwrap()));
    }

    fn only(list: &[&str]) -> Permissions {
        let list = list.iter().map(|text| text.parse().unwrap()).collect();
        Permissions::new(Outbound::Only(list), vec![OWN])
    }

    /// An address of this computer.
    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));
    const NOW: Instant = Instant::from_micros_const(1_000_000_000);
}
