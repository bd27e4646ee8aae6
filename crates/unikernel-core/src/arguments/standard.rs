//! The arguments that every unikernel has.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Argument, Cidr, Description};
use crate::logs::Filter;

/// The IPv4 address. Without it, DHCP provides one.
pub static IPV4: Argument<Option<Cidr<Ipv4Addr>>> =
    Argument::new("ipv4", "ADDRESS/PREFIX", "IPv4 address; if there is none, DHCP is asked.", None);

/// The router to other IPv4 networks.
pub static IPV4_GATEWAY: Argument<Option<Ipv4Addr>> =
    Argument::new("ipv4-gateway", "ADDRESS", "IPv4 router to everybody beyond the network.", None);

/// The IPv6 address, besides the link-local one.
pub static IPV6: Argument<Option<Cidr<Ipv6Addr>>> =
    Argument::new("ipv6", "ADDRESS/PREFIX", "IPv6 address, besides the link-local one.", None);

/// The router to other IPv6 networks.
pub static IPV6_GATEWAY: Argument<Option<Ipv6Addr>> =
    Argument::new("ipv6-gateway", "ADDRESS", "IPv6 router to everybody beyond the network.", None);

/// The resolver.
pub static DNS: Argument<Option<IpAddr>> =
    Argument::new("dns", "ADDRESS", "Resolver of names; if there is none, the one that DHCP names.", None);

/// How many TCP connections there may be at once.
pub static CONNECTIONS: Argument<Option<usize>> = Argument::new(
    "connections",
    "NUMBER",
    "TCP connections at once; the default is what fits into half of the memory.",
    None,
);

/// What is logged.
pub static LOGS: Argument<Filter> = Argument::new(
    "logs",
    "LEVEL",
    "What is logged: off, error, warning, info, debug or trace, or such as *:info,net:debug.",
    Filter::INFO,
)
.or_short('l');

/// All of them.
pub static STANDARD: [Description; 7] = [
    IPV4.describe(),
    IPV4_GATEWAY.describe(),
    IPV6.describe(),
    IPV6_GATEWAY.describe(),
    DNS.describe(),
    CONNECTIONS.describe(),
    LOGS.describe(),
];
