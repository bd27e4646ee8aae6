//! Where the unikernel's addresses come from.

use core::net::{IpAddr, Ipv6Addr};
use core::task::Waker;

use alloc::vec::Vec;

use palisade_unikernel_core::arguments::{Arguments, DNS, IPV4, IPV4_GATEWAY, IPV6, IPV6_GATEWAY};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, dns};
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

/// What DHCP and the resolver need.
pub(super) struct Addresses {
    dhcp: Option<SocketHandle>,
    resolver: Option<SocketHandle>,
    /// A resolver from the command line is not replaced by one from DHCP.
    resolver_is_given: bool,
    waiting: Vec<Waker>,
}

impl Addresses {
    /// Gives the interface the addresses of the command line, and its link-local one; begins to ask for an IPv4 address if
    /// there is none.
    pub(super) fn start(
        arguments: &Arguments,
        interface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        hardware: [u8; 6],
    ) -> Self {
        let ipv4 = arguments.value(&IPV4).map(|ipv4| Ipv4Cidr::new(ipv4.address, ipv4.prefix));
        let ipv6 = arguments.value(&IPV6).map(|ipv6| Ipv6Cidr::new(ipv6.address, ipv6.prefix));
        let link_local = Ipv6Cidr::new(link_local(hardware), 64);
        let given = [ipv4.map(IpCidr::Ipv4), ipv6.map(IpCidr::Ipv6), Some(IpCidr::Ipv6(link_local))];
        // There is room for four.
        interface.update_ip_addrs(|addresses| addresses.extend(given.into_iter().flatten()));
        let routes = interface.routes_mut();
        // There is room for four here, too.
        let _ = arguments.value(&IPV4_GATEWAY).map(|router| routes.add_default_ipv4_route(router));
        let _ = arguments.value(&IPV6_GATEWAY).map(|router| routes.add_default_ipv6_route(router));
        let resolver = arguments.value(&DNS).map(IpAddress::from);
        let dhcp = ipv4.is_none().then(|| sockets.add(dhcpv4::Socket::new()));
        for address in given.into_iter().flatten() {
            log::info!(target: "net", "address {address}");
        }
        Self {
            dhcp,
            resolver: resolver.map(|server| sockets.add(dns::Socket::new(&[server], Vec::new()))),
            resolver_is_given: resolver.is_some(),
            waiting: Vec::new(),
        }
    }

    /// Takes over what DHCP has found out. Returns whether that was something.
    pub(super) fn review(&mut self, interface: &mut Interface, sockets: &mut SocketSet<'static>) -> bool {
        let Some(handle) = self.dhcp else { return false };
        let lease = match sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            None => return false,
            Some(dhcpv4::Event::Deconfigured) => None,
            Some(dhcpv4::Event::Configured(lease)) => {
                Some((lease.address, lease.router, lease.dns_servers.first().copied()))
            }
        };
        let had_address = interface.ipv4_addr().is_some();
        interface.update_ip_addrs(|addresses| {
            addresses.retain(|address| matches!(address, IpCidr::Ipv6(_)));
            // An IPv6 address and the link-local one leave room.
            let _ = lease.map(|(address, ..)| addresses.push(IpCidr::Ipv4(address)));
        });
        interface.routes_mut().remove_default_ipv4_route();
        match lease {
            // The socket says so at the start, too.
            None if had_address => log::warn!(target: "net", "no address from DHCP any more"),
            None => log::debug!(target: "net", "asking for an address by DHCP"),
            Some((address, router, server)) => {
                log::info!(target: "net", "address {address} from DHCP");
                let _ = router.map(|router| interface.routes_mut().add_default_ipv4_route(router));
                if let Some(server) = server.filter(|_| !self.resolver_is_given) {
                    self.ask(IpAddress::Ipv4(server), sockets);
                }
                self.waiting.drain(..).for_each(Waker::wake);
            }
        }
        true
    }

    pub(super) fn wake_when_configured(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    pub(super) fn resolver(&self) -> Option<SocketHandle> {
        self.resolver
    }

    /// The address that others can reach.
    pub(super) fn reachable(interface: &Interface) -> Option<IpAddr> {
        let ipv6 = interface.ip_addrs().iter().find_map(|address| match address {
            IpCidr::Ipv6(cidr) if !cidr.address().is_unicast_link_local() => Some(cidr.address()),
            _ => None,
        });
        interface.ipv4_addr().map(IpAddr::from).or_else(|| ipv6.map(IpAddr::from))
    }

    /// Whether a datagram between these ports can be for DHCP, or the answer of a resolver.
    pub(super) fn expects(&self, from_port: u16, to_port: u16) -> bool {
        self.dhcp.is_some() && to_port == DHCP_CLIENT || self.resolver.is_some() && from_port == RESOLVER
    }

    fn ask(&mut self, server: IpAddress, sockets: &mut SocketSet<'static>) {
        match self.resolver {
            Some(handle) => sockets.get_mut::<dns::Socket<'_>>(handle).update_servers(&[server]),
            None => self.resolver = Some(sockets.add(dns::Socket::new(&[server], Vec::new()))),
        }
    }
}

/// RFC 2131, 4.1.
const DHCP_CLIENT: u16 = 68;
/// RFC 1035, 4.2.1.
const RESOLVER: u16 = 53;

/// The link-local address that belongs to a hardware address (RFC 4291, appendix A).
fn link_local(hardware: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = hardware;
    let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f];
    octets[8] ^= 2;
    octets.into()
}
