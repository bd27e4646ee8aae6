//! Ports of this computer that lead into the machine, and what answers there.

use std::net::{Ipv4Addr, SocketAddrV4};

use palisade_machine::{Forward, Protocol};
use palisade_policy::Subject;
use palisade_trust::server_certificate;
use rustls::pki_types::CertificateDer;

use crate::command_line;

/// A published port.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// Where it leads.
    pub(crate) forward: Forward,
    /// The subject there.
    pub(crate) subject: String,
    /// What the subject serves there, as far as that is known.
    pub(crate) service: Service,
}

/// What answers at a port.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    /// A website, over TLS with this certificate.
    Https(CertificateDer<'static>),
    /// A website.
    Http,
    /// Something else.
    Unknown,
}

impl Published {
    /// A port of `subject`.
    pub(crate) fn new(forward: Forward, subject: &Subject) -> Self {
        Self { forward, subject: subject.name.value.clone(), service: Service::of(subject, forward) }
    }

    /// The address to visit, if it is a website.
    pub(crate) fn url(&self) -> Option<String> {
        let (scheme, usual) = match self.service {
            Service::Https(_) => ("https", 443),
            Service::Http => ("http", 80),
            Service::Unknown => return None,
        };
        Some(match self.forward.host.port() {
            port if port == usual => format!("{scheme}://{}/", self.host()),
            port => format!("{scheme}://{}:{port}/", self.host()),
        })
    }

    /// Where this computer itself reaches it.
    pub(crate) fn local(&self) -> SocketAddrV4 {
        let address = *self.forward.host.ip();
        let address = if address.is_unspecified() { Ipv4Addr::LOCALHOST } else { address };
        SocketAddrV4::new(address, self.forward.host.port())
    }

    /// What to call this computer.
    pub(crate) fn host(&self) -> String {
        let address = *self.local().ip();
        if address == Ipv4Addr::LOCALHOST { "localhost".into() } else { address.to_string() }
    }
}

impl Service {
    /// The built-in website unikernel serves HTTPS and HTTP at the ports that its command line names, or at the usual ones.
    fn of(subject: &Subject, forward: Forward) -> Self {
        let data = |name: &str| subject.data.iter().find(|data| data.name.value == name);
        if data("site").is_none() || forward.protocol != Protocol::Tcp {
            return Self::Unknown;
        }
        let serves = |name, usual| {
            let port = command_line::port(&subject.command_line.value, name).unwrap_or(usual);
            port == forward.guest.port()
        };
        let certificate = data("certificate").and_then(|data| server_certificate(&data.contents));
        match certificate {
            Some(certificate) if serves("https", 443) => Self::Https(certificate),
            _ if serves("http", 80) => Self::Http,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_visited_where_this_computer_listens() {
        for (host, service, url) in [
            ("127.0.0.1:8080", Service::Http, Some("http://localhost:8080/")),
            ("0.0.0.0:80", Service::Http, Some("http://localhost/")),
            ("192.168.1.5:80", Service::Http, Some("http://192.168.1.5/")),
            ("127.0.0.1:443", Service::Https(vec![0].into()), Some("https://localhost/")),
            ("127.0.0.1:80", Service::Https(vec![0].into()), Some("https://localhost:80/")),
            ("127.0.0.1:7", Service::Unknown, None),
        ] {
            let host = host.parse().expect("an address");
            let guest = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 80);
            let forward = Forward { protocol: Protocol::Tcp, host, guest };
            let published = Published { forward, subject: "website".into(), service };
            assert_eq!(published.url().as_deref(), url);
        }
    }
}
