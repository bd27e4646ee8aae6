//! Ports of this computer that are to lead into a system.

use std::io;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};

use crate::{Forward, Protocol};

/// Why this computer cannot listen somewhere.
#[derive(Debug, thiserror::Error)]
#[error("{address} ({protocol}) cannot be published: {}", self.reason())]
pub struct PortError {
    /// What was to be listened for.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddrV4,
    /// What the operating system says.
    pub error: io::Error,
}

/// A socket for a port of this computer.
#[derive(Debug)]
pub enum Claim {
    /// For connections. It listens already.
    Tcp(TcpListener),
    /// For datagrams.
    Udp(UdpSocket),
}

/// Takes all of `forwards`' ports of this computer at once. A host port 0 becomes one that nobody uses. The claims have the
/// order of the forwards.
///
/// Where an emulator is to listen, nothing of this can be kept: another process can then be faster than the emulator, which
/// fails and says so.
///
/// # Errors
/// [`PortError`] for the first that cannot be had.
pub fn claim_ports(forwards: &mut [Forward]) -> Result<Vec<Claim>, PortError> {
    let mut claims = Vec::new();
    for forward in forwards {
        let (socket, port) = listen(forward.protocol, forward.host).map_err(|error| PortError {
            protocol: forward.protocol,
            address: forward.host,
            error,
        })?;
        forward.host.set_port(port);
        claims.push(socket);
    }
    Ok(claims)
}

impl PortError {
    /// What the reader can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                "end the program that uses it, or publish on another port: --publish PORT:GUEST-PORT".into()
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 are the administrator's: publish on another one, such as --publish 4433:443"
                    .into()
            }
            io::ErrorKind::AddrNotAvailable => {
                "this computer does not have that address; 0.0.0.0 stands for all that it has".into()
            }
            _ => "publish on another port: --publish PORT:GUEST-PORT".into(),
        }
    }

    fn reason(&self) -> String {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => "the port is in use".into(),
            io::ErrorKind::PermissionDenied => "this user may not use the port".into(),
            _ => self.error.to_string(),
        }
    }
}

fn listen(protocol: Protocol, address: SocketAddrV4) -> io::Result<(Claim, u16)> {
    match protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(address)?;
            let port = listener.local_addr()?.port();
            Ok((Claim::Tcp(listener), port))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(address)?;
            let port = socket.local_addr()?.port();
            Ok((Claim::Udp(socket), port))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let port = holder.local_addr().expect("it is bound").port();
        let error = claim_ports(&mut [forward(Protocol::Tcp, port)]).expect_err("it is in use");
        assert_eq!(
            error.to_string(),
            format!("127.0.0.1:{port} (tcp) cannot be published: the port is in use")
        );
        assert!(error.help().contains("--publish"));
    }

    #[test]
    fn port_0_becomes_free_ports_all_different() {
        let mut forwards = [Protocol::Tcp, Protocol::Tcp, Protocol::Udp].map(|protocol| forward(protocol, 0));
        claim_ports(&mut forwards).expect("there are free ports");
        let [a, b, c] = forwards.map(|forward| forward.host.port());
        assert!(a != 0 && b != 0 && c != 0 && a != b);
        claim_ports(&mut [forward(Protocol::Tcp, a)]).expect("it was given back");
    }

    #[test]
    fn one_port_is_not_published_twice() {
        let mut found = [forward(Protocol::Udp, 0)];
        claim_ports(&mut found).expect("there is a free port");
        assert!(claim_ports(&mut [found[0], found[0]]).is_err());
    }

    fn forward(protocol: Protocol, port: u16) -> Forward {
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Forward { protocol, host, guest: SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 80) }
    }
}
