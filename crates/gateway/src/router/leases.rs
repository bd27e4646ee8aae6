//! The DHCP server (RFC 2131): every port of the switch has at most one address to be given.

use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
};

use super::emit::{self, Buffer, Ends};
use crate::setup::Subnet;

/// Answers the message of a client whose address is to be `lease`. `None` if there is nothing to be said, or the message was
/// for another server.
pub(super) fn answer(
    message: &[u8],
    ends: Ends,
    lease: Ipv4Addr,
    network: Subnet<Ipv4Addr>,
    buffer: &mut Buffer,
) -> Option<usize> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let asked = DhcpRepr::parse(&packet).ok()?;
    if asked.client_hardware_address != ends.destination
        || asked.server_identifier.is_some_and(|server| server != network.router)
    {
        return None;
    }
    let wanted = asked.requested_ip.unwrap_or(asked.client_ip);
    let message_type = match asked.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if wanted == lease => DhcpMessageType::Ack,
        DhcpMessageType::Request => DhcpMessageType::Nak,
        _ => return None,
    };
    let given = message_type != DhcpMessageType::Nak;
    let answer = DhcpRepr {
        message_type,
        transaction_id: asked.transaction_id,
        secs: 0,
        client_hardware_address: asked.client_hardware_address,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: if given { lease } else { Ipv4Addr::UNSPECIFIED },
        server_ip: network.router,
        router: given.then_some(network.router),
        subnet_mask: given.then(|| mask(network.prefix)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: asked.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(network.router),
        parameter_request_list: None,
        dns_servers: given.then(|| [network.name_server].into_iter().collect()),
        max_size: None,
        lease_duration: given.then_some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    // RFC 2131, 4.1: to the address that is given, at the MAC address that has asked; to all, if the client wants it so.
    let is_broadcast = asked.broadcast || !given;
    let to = if is_broadcast { Ipv4Addr::BROADCAST } else { lease };
    let destination = if is_broadcast { EthernetAddress::BROADCAST } else { ends.destination };
    let start = emit::datagram_payload(to.into());
    let length = answer.buffer_len();
    let bytes = buffer.get_mut(start..start + length)?;
    bytes.fill(0);
    answer.emit(&mut DhcpPacket::new_unchecked(bytes)).ok()?;
    let from = SocketAddr::from((network.router, DHCP_SERVER_PORT));
    let to = SocketAddr::from((to, DHCP_CLIENT_PORT));
    emit::datagram(buffer, Ends { source: ends.source, destination }, from, to, length)
}

fn mask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

/// Seconds for which an address is given: it is nobody else's at any time.
const LEASE: u32 = 24 * 60 * 60;
