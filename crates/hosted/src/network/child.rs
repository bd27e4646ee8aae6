//! The life of the network process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use palisade_abi::frame_channel::Overruns;
use palisade_gateway::{Gateway, Listener, Network, Outbound, Port, Published, Setup, World};
use rustix::io::dup2;

use super::message::{GatewayMessage, Message};
use crate::memory::{Access, ForeignMemory};
use crate::spawn::inherited;
use crate::{confine, spawn};

/// Is the network of a run: for the program that [`super::Network::program`] names, if it was started with those arguments. It
/// returns when the network has ended, or cannot begin, with the exit status of the process.
#[must_use]
pub fn serve() -> i32 {
    let Some(mut descriptors) = inherited(END) else { return FAILED };
    let mut next = || descriptors.next();
    let (Some(end), Some(lines), Some(mut start), Some(message), Some(writable), Some(readable), Some(wake)) =
        (next(), next(), next(), next(), next(), next(), next())
    else {
        return FAILED;
    };
    let memory = ForeignMemory { writable, readable };
    // It has started. The number is that of the runtime's own messages: those of a panic are lines like others, and do not go to
    // whoever would have the number next.
    if dup2(&lines, &mut start).is_err() {
        return FAILED;
    }
    let mut lines = File::from(lines);
    let mut say = |line: &str| {
        // Nobody listens once the host is gone.
        let _ = writeln!(lines, "{line}");
    };
    let result = prepare(end, message, &memory, wake, descriptors).and_then(|(setup, opens_sockets)| {
        let network = Network::prepare(setup).map_err(|error| error.to_string())?;
        drop(memory);
        spawn::die_with_parent();
        spawn::hide_memory();
        confine::network(opens_sockets)?;
        network.serve(&mut say).map_err(|error| error.to_string())
    });
    match result {
        Ok(()) => 0,
        Err(error) => {
            say(&format!("the network cannot go on: {error}"));
            FAILED
        }
    }
}

/// Makes the network's parts of what the process was given.
fn prepare(
    end: OwnedFd,
    message: OwnedFd,
    memory: &ForeignMemory,
    wake: OwnedFd,
    mut descriptors: impl Iterator<Item = OwnedFd>,
) -> Result<(Setup, bool), String> {
    let mut text = Vec::new();
    File::from(message).read_to_end(&mut text).map_err(|error| error.to_string())?;
    let message: Message = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let missing = || "a descriptor is missing".to_owned();
    let mut ports = Vec::new();
    for port in message.ports {
        let channel = |place, access| memory.map_for_good(place, access).map_err(|error| error.to_string());
        ports.push(Port {
            input: channel(port.input, Access::Write)?,
            output: channel(port.output, Access::Read)?,
            overruns: if port.recovers { Overruns::Recovered } else { Overruns::Fatal },
            ready: descriptors.next().ok_or_else(missing)?,
            subject: port.subject,
            device: port.device,
            addresses: port.fixed,
            lease: port.lease,
        });
    }
    let opens_sockets = message
        .gateway
        .as_ref()
        .is_some_and(|gateway| gateway.outbound.as_ref().is_none_or(|list| !list.is_empty()));
    let world = match message.gateway {
        None => World::Tap(descriptors.next().ok_or_else(missing)?),
        Some(gateway) => World::Gateway(prepare_gateway(gateway, descriptors).ok_or_else(missing)?),
    };
    let setup =
        Setup { ports, wake, generation: message.generation, mac: message.mac, world, end: Some(end) };
    Ok((setup, opens_sockets))
}

fn prepare_gateway(
    message: GatewayMessage,
    mut descriptors: impl Iterator<Item = OwnedFd>,
) -> Option<Gateway> {
    let published = message.published.iter().map(|(is_tcp, guest)| {
        let socket = descriptors.next()?;
        let listener = if *is_tcp {
            Listener::Tcp(TcpListener::from(socket))
        } else {
            Listener::Udp(UdpSocket::from(socket))
        };
        Some(Published { listener, guest: *guest })
    });
    let published = published.collect::<Option<_>>()?;
    let outbound = match message.outbound {
        None => Outbound::Any,
        Some(list) => Outbound::Only(list.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?),
    };
    Some(Gateway {
        ipv4: message.ipv4.into(),
        ipv6: message.ipv6.map(Into::into),
        published,
        outbound,
        name_servers: message.name_servers,
        own_addresses: message.own_addresses,
    })
}

/// Descriptors: what ends with the host, what takes lines, what takes the reason why nothing came of the process. What it has
/// to know, the shared memory to be written and to be read, and its waking follow, then one for each port, then the sockets.
const END: u32 = 0;
pub(super) const START: u32 = 2;

/// Exit status of a network that could not go on.
const FAILED: i32 = 1;
