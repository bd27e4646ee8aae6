//! What can be the value of an argument.

use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A type of values. Its text form is what stands behind the argument's equals sign.
pub trait Value: Sized + Sync + 'static {
    /// What a text must be to be such a value, as it completes the sentence "it must be ...".
    const FORM: &'static str;

    /// Reads a value. `None` if the text is none.
    fn parse(text: &str) -> Option<Self>;

    /// Writes the value as [`Value::parse`] reads it.
    ///
    /// # Errors
    ///
    /// Those of the formatter.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Whether this is the absence of a value.
    fn is_nothing(&self) -> bool {
        false
    }
}

/// A value whose type is not known.
pub(super) trait Shown: Sync {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    fn is_nothing(&self) -> bool;
}

impl<T: Value> Shown for T {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Value::show(self, f)
    }

    fn is_nothing(&self) -> bool {
        Value::is_nothing(self)
    }
}

/// An address of this host and the length of its network's prefix: `10.0.0.2/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr<A> {
    /// The host's address.
    pub address: A,
    /// How many leading bits of the address name the network.
    pub prefix: u8,
}

impl Value for Cidr<Ipv4Addr> {
    const FORM: &'static str = "an IPv4 address of a host with the length of its prefix, such as 10.0.0.2/24";

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = cidr::<Ipv4Addr>(text, 32)?;
        let host = !(address.is_unspecified() || address.is_broadcast() || address.is_multicast());
        host.then_some(Self { address, prefix })
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Value for Cidr<Ipv6Addr> {
    const FORM: &'static str = "an IPv6 address of a host with the length of its prefix, such as fd00::2/64";

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = cidr::<Ipv6Addr>(text, 128)?;
        let host = !(address.is_unspecified() || address.is_multicast());
        host.then_some(Self { address, prefix })
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Value for String {
    const FORM: &'static str = "a text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.into())
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }

    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// A value that need not be there.
impl<T: Value> Value for Option<T> {
    const FORM: &'static str = T::FORM;

    fn parse(text: &str) -> Option<Self> {
        T::parse(text).map(Some)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().map_or(Ok(()), |value| value.show(f))
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

/// Types whose own text form is the one on the command line.
macro_rules! plain {
    ($($type:ty: $form:literal,)*) => {
        $(impl Value for $type {
            const FORM: &'static str = $form;

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        })*
    };
}

plain! {
    bool: "true or false",
    u16: "a number from 0 to 65535",
    u32: "a number from 0 to 4294967295",
    u64: "a number",
    usize: "a number",
    IpAddr: "an IPv4 or IPv6 address",
    Ipv4Addr: "an IPv4 address",
    Ipv6Addr: "an IPv6 address",
}

fn cidr<A: core::str::FromStr>(text: &str, longest: u8) -> Option<(A, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest)?;
    Some((address.parse().ok()?, prefix))
}
