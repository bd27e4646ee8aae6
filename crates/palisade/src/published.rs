//! Ports of this computer that lead into the machine, and what answers there.

use std::net::{Ipv4Addr, SocketAddrV4};

use palisade_machine::{Forward, Protocol};
use palisade_policy::Subject;
use palisade_trust::server_certificate;
use rustls::pki_types::CertificateDer;

use crate::command_line;
use crate::failure::{Failure, Message};
use crate::terminal::Terminal;

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
    /// A website, without TLS.
    Http,
    /// What sends the visitors of a website to where it is over TLS.
    Redirect,
    /// Something else.
    Unknown,
}

/// Tells who publishes a website without TLS what its visitors get.
pub(crate) fn advise(published: &[Published], terminal: &Terminal) -> Result<(), Failure> {
    for one in published {
        let Some(url) = one.url() else { continue };
        let is_over_tls =
            |other: &Published| other.subject == one.subject && matches!(other.service, Service::Https(_));
        match one.service {
            Service::Http => terminal.remark(format_args!("{url} is served without TLS")),
            Service::Redirect if !published.iter().any(is_over_tls) => {
                let text = format!("visitors of {url} are sent to HTTPS, which is not published");
                let help = format!(
                    "publish it, such as --publish 4433:443, or serve the site without TLS: --https=0 in the \
                     `bootparams` of {}",
                    one.subject
                );
                terminal.warning(&Message::warning(text, help))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the first website that these subjects publish over TLS will be, if this computer's port for it is a fixed one.
pub(crate) fn https_url(subjects: &[Subject]) -> Option<String> {
    let all = subjects.iter().flat_map(|subject| subject.publish.iter().map(move |it| (subject, &it.value)));
    all.filter(|(_, publish)| publish.protocol == palisade_policy::Protocol::Tcp && publish.host.port() != 0)
        .map(|(subject, publish)| (Service::of(subject, publish.guest), publish.host))
        .find(|(service, _)| matches!(service, Service::Https(_)))
        .and_then(|(service, host)| service.url(host))
}

impl Published {
    /// A port of `subject`.
    pub(crate) fn new(forward: Forward, subject: &Subject) -> Self {
        let service = match forward.protocol {
            Protocol::Tcp => Service::of(subject, forward.guest.port()),
            Protocol::Udp => Service::Unknown,
        };
        Self { forward, subject: subject.name.value.clone(), service }
    }

    /// The address to visit, if it is a website.
    pub(crate) fn url(&self) -> Option<String> {
        self.service.url(self.forward.host)
    }

    /// Where this computer itself reaches it.
    pub(crate) fn local(&self) -> SocketAddrV4 {
        local(self.forward.host)
    }

    /// What to call this computer.
    pub(crate) fn host(&self) -> String {
        name_of(self.forward.host)
    }
}

impl Service {
    /// The built-in website unikernel serves HTTPS and HTTP at the ports that its command line names, or at the usual ones.
    fn of(subject: &Subject, port: u16) -> Self {
        let data = |name: &str| subject.data.iter().find(|data| data.name.value == name);
        if data("site").is_none() {
            return Self::Unknown;
        }
        let at = |name, usual| command_line::port(&subject.command_line.value, name).unwrap_or(usual);
        let (https, http) = (at("https", 443), at("http", 80));
        let certificate = data("certificate").and_then(|data| server_certificate(&data.contents));
        match certificate.filter(|_| https != 0) {
            Some(certificate) if port == https => Self::Https(certificate),
            Some(_) if port == http => Self::Redirect,
            None if port == http => Self::Http,
            _ => Self::Unknown,
        }
    }

    /// The address to visit where this computer listens at `host`, if it is a website.
    fn url(&self, host: SocketAddrV4) -> Option<String> {
        let (scheme, usual) = match self {
            Self::Https(_) => ("https", 443),
            Self::Http | Self::Redirect => ("http", 80),
            Self::Unknown => return None,
        };
        Some(match host.port() {
            port if port == usual => format!("{scheme}://{}/", name_of(host)),
            port => format!("{scheme}://{}:{port}/", name_of(host)),
        })
    }
}

/// Where this computer itself reaches what listens there.
fn local(host: SocketAddrV4) -> SocketAddrV4 {
    let address = if host.ip().is_unspecified() { Ipv4Addr::LOCALHOST } else { *host.ip() };
    SocketAddrV4::new(address, host.port())
}

fn name_of(host: SocketAddrV4) -> String {
    let address = *local(host).ip();
    if address == Ipv4Addr::LOCALHOST { "localhost".into() } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_visited_where_this_computer_listens() {
        for (host, service, url) in [
            ("127.0.0.1:8080", Service::Http, Some("http://localhost:8080/")),
            ("0.0.0.0:80", Service::Http, Some("http://localhost/")),
            ("192.168.1.5:80", Service::Redirect, Some("http://192.168.1.5/")),
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
