//! Which unikernels share a network, and what it has to be like for them.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use palisade_machine::{Claim, Forward, Interface, Protocol, UserNetwork, claim_ports};
use palisade_policy::{Planned, Publish, Subject};

use crate::command_line;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::published::Published;

/// The unikernels behind the system's card, and the network around them.
pub(crate) struct Neighbourhood<'a> {
    /// What suits all of them. Nothing is forwarded yet.
    user: UserNetwork,
    members: Vec<Neighbour<'a>>,
}

/// A unikernel in it.
pub(crate) struct Neighbour<'a> {
    subject: &'a Subject,
    interface: Interface,
}

impl<'a> Neighbourhood<'a> {
    /// That of a system.
    pub(crate) fn of(planned: &'a Planned) -> Result<Self, Failure> {
        let members = behind_card(planned).map(Neighbour::of).collect::<Result<Vec<_>, _>>()?;
        let interfaces: Vec<_> = members.iter().map(|member| member.interface.clone()).collect();
        let user = UserNetwork::around(&interfaces).map_err(|conflict| {
            let help = "there is one network with one router: give the unikernels addresses in it with \
                        --ipv4=ADDRESS/PREFIX and --ipv4-gateway=ADDRESS in their `bootparams`";
            Failure::message(Exit::Input, conflict, Some(help.into()))
        })?;
        Ok(Self { user, members })
    }

    /// The network, what is published of it, and what holds the ports, in the same order.
    pub(crate) fn publish(self) -> Result<(UserNetwork, Vec<Published>, Vec<Claim>), Failure> {
        let (mut forwards, mut leads_to) = (Vec::new(), Vec::new());
        for member in &self.members {
            for publish in &member.subject.publish {
                forwards.push(self.forward(&publish.value, member)?);
                leads_to.push(member.subject);
            }
        }
        let claims = claim_ports(&mut forwards).map_err(|error| {
            let help = error.help();
            Failure::message(Exit::Host, error, Some(help))
        })?;
        let published = forwards.iter().zip(leads_to);
        let published = published.map(|(forward, subject)| Published::new(*forward, subject)).collect();
        Ok((self.user, published, claims))
    }

    /// A unikernel without a fixed address has the first one that the DHCP server gives, if it is the only one that asks.
    fn forward(&self, publish: &Publish, to: &Neighbour<'_>) -> Result<Forward, Failure> {
        let asking = self.members.iter().filter(|member| member.interface.ipv4.is_none()).count();
        let address = match to.interface.ipv4 {
            Some(fixed) => fixed.address,
            None if asking == 1 => self.user.first_lease(),
            None => {
                let help = "give it a fixed one, such as --ipv4=10.0.2.15/24 --ipv4-gateway=10.0.2.2 in its `bootparams`";
                let message = format!(
                    "{publish} cannot be published: several unikernels ask for an address, and nobody knows which one {} gets",
                    to.interface.owner
                );
                return Err(Failure::message(Exit::Input, message, Some(help.into())));
            }
        };
        let protocol = match publish.protocol {
            palisade_policy::Protocol::Tcp => Protocol::Tcp,
            palisade_policy::Protocol::Udp => Protocol::Udp,
        };
        Ok(Forward { protocol, host: publish.host, guest: SocketAddrV4::new(address, publish.guest) })
    }

    /// What a unikernel gets if it asks for an address: the one after that of the unikernel before it.
    pub(crate) fn lease(&self, of: &Subject) -> Option<Ipv4Addr> {
        let mut asking = self.members.iter().filter(|member| member.interface.ipv4.is_none());
        let before = asking.position(|member| member.subject.name.value == of.name.value)?;
        Some(Ipv4Addr::from_bits(self.user.first_lease().to_bits() + u32::try_from(before).ok()?))
    }
}

impl<'a> Neighbour<'a> {
    /// What the command line of a unikernel says about it.
    pub(crate) fn of(subject: &'a Subject) -> Result<Self, Failure> {
        Ok(Self { subject, interface: interface(subject)? })
    }

    /// Its fixed addresses.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let ipv4 = self.interface.ipv4.map(|fixed| fixed.address.into());
        let ipv6 = self.interface.ipv6.map(|fixed| fixed.address.into());
        ipv4.into_iter().chain(ipv6).collect()
    }
}

/// The unikernels that share the card. One with several devices is listed once: its command line describes one interface.
fn behind_card(planned: &Planned) -> impl Iterator<Item = &Subject> {
    let mut numbers: Vec<_> = planned.system.ports().iter().map(|port| port.subject).collect();
    numbers.dedup();
    numbers.into_iter().filter_map(|number| planned.system.subjects.get(number))
}

fn interface(subject: &Subject) -> Result<Interface, Failure> {
    let name = &subject.name.value;
    command_line::interface(name, &subject.command_line.value)
        .map_err(|flaw| Failure::input(format!("subject {name}: {flaw}")))
}
