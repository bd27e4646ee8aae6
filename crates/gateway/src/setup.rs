//! What the network process is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use palisade_abi::frame_channel::Overruns;
use palisade_abi::volatile::Shared;
use palisade_policy::Destination;

/// A network to be.
#[derive(Debug)]
pub struct Setup {
    /// The ports of the switch, in the order of the system's; 32 at most.
    pub ports: Vec<Port>,
    /// An event counter (`eventfd`) that unikernels add to when they have written frames. Whether it blocks does not matter:
    /// nobody else reads it, and it is read when it is readable.
    pub wake: OwnedFd,
    /// How often the network was started, from 1. From 2 on, frames that were written before are given up.
    pub generation: u64,
    /// The MAC address of the gateway, from which those of the ports are derived as behind a card.
    pub mac: [u8; 6],
    /// What is outside.
    pub world: World,
    /// When it becomes readable, or its other end is closed, the network ends.
    pub end: Option<OwnedFd>,
}

/// A port of the switch: a network device of a unikernel.
#[derive(Debug)]
pub struct Port {
    /// Name of the unikernel.
    pub subject: String,
    /// Name of its network device.
    pub device: String,
    /// The channel to the unikernel, which this process writes.
    pub input: Shared<'static>,
    /// The channel from it, which this process only reads.
    pub output: Shared<'static>,
    /// What it does after an overrun of `input`.
    pub overruns: Overruns,
    /// An event counter to which 1 is added when frames were written into `input`. It must not block.
    pub ready: OwnedFd,
    /// Its fixed addresses, which no other port can use.
    pub addresses: Vec<IpAddr>,
    /// What it gets if it asks for an IPv4 address; without one its question has no answer.
    pub lease: Option<Ipv4Addr>,
}

/// What the wire of the switch leads to.
#[derive(Debug)]
pub enum World {
    /// A tap device, opened with `IFF_TAP`, `IFF_NO_PI` and `IFF_VNET_HDR`, and a header of 10 bytes; it must not block. It
    /// may hand over checksums to be completed (`TUN_F_CSUM`) and segments of TCP to be cut (`TUN_F_TSO4` and
    /// `TUN_F_TSO6`).
    Tap(OwnedFd),
    /// A gateway to the networks that this computer reaches.
    Gateway(Gateway),
}

/// A gateway: a router, a name server and a DHCP server, and what they let through.
#[derive(Debug)]
pub struct Gateway {
    /// The IPv4 network that it plays.
    pub ipv4: Subnet<Ipv4Addr>,
    /// The IPv6 network, if it plays one.
    pub ipv6: Option<Subnet<Ipv6Addr>>,
    /// Ports of this computer that lead into the network.
    pub published: Vec<Published>,
    /// What leads out of it.
    pub outbound: Outbound,
    /// Whom its name server asks, in this order; those of `/etc/resolv.conf`, usually.
    pub name_servers: Vec<SocketAddr>,
    /// The addresses of this computer. No name stands for one of them.
    pub own_addresses: Vec<IpAddr>,
}

/// A network with the addresses that the gateway has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet<A> {
    /// Bits that all its addresses share.
    pub prefix: u8,
    /// The router.
    pub router: A,
    /// The name server.
    pub name_server: A,
}

/// A port of this computer that leads to a unikernel.
#[derive(Debug)]
pub struct Published {
    /// The socket, which is bound already, and listens if it is one for connections.
    pub listener: Listener,
    /// Where it leads.
    pub guest: SocketAddr,
}

/// A socket that is bound.
#[derive(Debug)]
pub enum Listener {
    /// For connections.
    Tcp(TcpListener),
    /// For datagrams.
    Udp(UdpSocket),
}

/// What may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound {
    /// Connections and datagrams to these destinations.
    Only(Vec<Destination>),
    /// All of them.
    Any,
}
