//! What the network process has to know, in a form that travels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use palisade_gateway::{Listener, Outbound, Subnet, World};
use serde::{Deserialize, Serialize};

/// Everything but descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) generation: u64,
    pub(super) mac: [u8; 6],
    pub(super) ports: Vec<PortMessage>,
    /// `None` for a tap device.
    pub(super) gateway: Option<GatewayMessage>,
}

/// A port of the switch. Its event descriptor has the same place among those of the ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PortMessage {
    pub(super) subject: String,
    pub(super) device: String,
    /// Where the channel to the unikernel lies in the shared memory, and its size.
    pub(super) input: (u64, u64),
    /// The same for the channel from it.
    pub(super) output: (u64, u64),
    pub(super) recovers: bool,
    pub(super) fixed: Vec<IpAddr>,
    pub(super) lease: Option<Ipv4Addr>,
}

/// The gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GatewayMessage {
    pub(super) ipv4: SubnetMessage<Ipv4Addr>,
    pub(super) ipv6: Option<SubnetMessage<Ipv6Addr>>,
    /// Where the published sockets lead, in their order, and whether they are for connections.
    pub(super) published: Vec<(bool, SocketAddr)>,
    /// Destinations as descriptions write them; `None` for all.
    pub(super) outbound: Option<Vec<String>>,
    pub(super) name_servers: Vec<SocketAddr>,
    pub(super) own_addresses: Vec<IpAddr>,
}

/// A network with the gateway's addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubnetMessage<A> {
    prefix: u8,
    router: A,
    name_server: A,
}

impl Message {
    pub(super) fn new(generation: u64, mac: [u8; 6], ports: Vec<PortMessage>, world: &World) -> Self {
        let gateway = match world {
            World::Tap(_) => None,
            World::Gateway(gateway) => {
                let is_tcp = |listener: &Listener| matches!(listener, Listener::Tcp(_));
                let published = gateway.published.iter();
                Some(GatewayMessage {
                    ipv4: gateway.ipv4.into(),
                    ipv6: gateway.ipv6.map(Into::into),
                    published: published.map(|p| (is_tcp(&p.listener), p.guest)).collect(),
                    outbound: match &gateway.outbound {
                        Outbound::Any => None,
                        Outbound::Only(list) => Some(list.iter().map(ToString::to_string).collect()),
                    },
                    name_servers: gateway.name_servers.clone(),
                    own_addresses: gateway.own_addresses.clone(),
                })
            }
        };
        Self { generation, mac, ports, gateway }
    }
}

impl<A> From<Subnet<A>> for SubnetMessage<A> {
    fn from(Subnet { prefix, router, name_server }: Subnet<A>) -> Self {
        Self { prefix, router, name_server }
    }
}

impl<A> From<SubnetMessage<A>> for Subnet<A> {
    fn from(SubnetMessage { prefix, router, name_server }: SubnetMessage<A>) -> Self {
        Self { prefix, router, name_server }
    }
}
