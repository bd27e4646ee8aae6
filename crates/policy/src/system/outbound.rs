//! What may leave a system while this computer plays its network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::Protocol;
use crate::source::Located;

/// Which connections and datagrams of unikernels go beyond their own network.
#[derive(Debug, Clone)]
pub enum Outbound {
    /// Those to these destinations; without any, nothing leaves.
    Only(Vec<Located<Destination>>),
    /// All of them.
    Any,
}

/// A service outside: `git.example.org:443`, `192.0.2.1:53/udp`, `[2001:db8::1]:443`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Where it is.
    pub host: Host,
    /// Its port; never 0.
    pub port: u16,
    /// How it is reached.
    pub protocol: Protocol,
}

/// A computer outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// By its name in the domain name system: lower case, without a dot at the end. `localhost` is the computer that plays
    /// the network.
    Name(String),
    /// By its address.
    Address(IpAddr),
}

/// A text that names no [`Destination`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoDestination;

impl Default for Outbound {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl FromStr for Destination {
    type Err = NoDestination;

    fn from_str(text: &str) -> Result<Self, NoDestination> {
        let (place, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((place, "tcp")) => (place, Protocol::Tcp),
            Some((place, "udp")) => (place, Protocol::Udp),
            Some(_) => return Err(NoDestination),
        };
        let (host, port) = place.rsplit_once(':').ok_or(NoDestination)?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port != 0).ok_or(NoDestination)?;
        Ok(Self { host: host.parse()?, port, protocol })
    }
}

impl FromStr for Host {
    type Err = NoDestination;

    fn from_str(text: &str) -> Result<Self, NoDestination> {
        if let Some(ipv6) = text.strip_prefix('[') {
            let address: Option<Ipv6Addr> = ipv6.strip_suffix(']').and_then(|ipv6| ipv6.parse().ok());
            return address.map(|address| Self::Address(address.into())).ok_or(NoDestination);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_host_name(&name) { Ok(Self::Name(name)) } else { Err(NoDestination) }
    }
}

/// Whether it is a host's name (RFC 1123, 2.1) and cannot be mistaken for an address.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.protocol)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_in_every_form() {
        for (text, long) in [
            ("git.example.org:443", "git.example.org:443/tcp"),
            ("Git.Example.ORG.:443/tcp", "git.example.org:443/tcp"),
            ("192.0.2.1:53/udp", "192.0.2.1:53/udp"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443/tcp"),
            ("localhost:5432", "localhost:5432/tcp"),
            ("_dns.3com.example:1", "_dns.3com.example:1/tcp"),
        ] {
            let destination: Destination = text.parse().expect(text);
            assert_eq!(destination.to_string(), long);
            assert_eq!(long.parse(), Ok(destination), "what is written can be read");
        }
    }

    #[test]
    fn what_names_no_destination_is_refused() {
        let long = format!("{}:1", ["a"; 128].join("."));
        for text in [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1/sctp",
            "a:1/udp/tcp",
            "1.2.3:4",
            "1.2.3.4.5:6",
            "-a:1",
            "a-:1",
            "a..b:1",
            "a b:1",
            "::1:1",
            "[::1:1",
            "::1]:1",
            "[1.2.3.4]:1",
            "*.example.org:443",
            &long,
        ] {
            assert_eq!(text.parse::<Destination>(), Err(NoDestination), "{text}");
        }
    }
}
