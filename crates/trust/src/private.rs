//! Names that exist on one computer or in a private network only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name that is nobody's on the Internet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PrivateName {
    /// A host name.
    Host(String),
    /// An address.
    Address(IpAddr),
}

impl PrivateName {
    /// Reads a host name or an address, if it is private.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(address) => is_private(address).then_some(Self::Address(address)),
            Err(_) => is_local(text).then(|| Self::Host(text.to_owned())),
        }
    }
}

impl fmt::Display for PrivateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Whether a host name is `localhost` or below it, in the characters that host names have.
fn is_local(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.rsplit('.').next() == Some(LOCALHOST) && name.split('.').all(is_label)
}

fn is_private(address: IpAddr) -> bool {
    NETWORKS.iter().any(|(network, prefix)| shared_bits(*network, address) >= *prefix)
}

/// Leading bits that two addresses of one family share; of different families, none.
fn shared_bits(a: IpAddr, b: IpAddr) -> u8 {
    let bits = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    };
    u8::try_from(bits).unwrap_or(u8::MAX)
}

/// The host name that every computer has for itself.
pub(crate) const LOCALHOST: &str = "localhost";

/// Loopback, private use and link-local: RFC 1122, RFC 1918, RFC 3927; RFC 4291, RFC 4193, RFC 4291.
pub(crate) const NETWORKS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_localhost_are_local() {
        for local in ["localhost", "website.localhost", "a.b-c.localhost"] {
            assert_eq!(PrivateName::parse(local), Some(PrivateName::Host(local.into())));
        }
        for other in
            ["", "example.org", "localhost.org", "notlocalhost", ".localhost", "*.localhost", "a b.localhost"]
        {
            assert_eq!(PrivateName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for private in
            ["127.0.0.1", "10.0.2.15", "172.31.9.9", "192.168.254.10", "169.254.1.1", "::1", "fd00::1"]
        {
            assert!(is_private(private.parse().expect("an address")), "{private}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "192.169.0.1", "128.0.0.1", "::2", "2001:db8::1"] {
            assert!(!is_private(public.parse().expect("an address")), "{public}");
        }
    }
}
