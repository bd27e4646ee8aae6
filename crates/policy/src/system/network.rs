//! The network of a system: which unikernels are behind the machine's card, and what is published of them.

use std::fmt;
use std::net::SocketAddrV4;

use palisade_abi::note::DeviceKind;

use super::{Outbound, Subject, System};
use crate::plan::{MachineDevice, SubjectKind};
use crate::source::Located;

/// `[network]`: how the driver of the machine's network card serves the unikernels.
#[derive(Debug, Clone)]
pub struct Network {
    /// The machine's device, if the description chooses one; else the machine's first network card.
    pub device: Option<Located<String>>,
    /// Bytes of each of the two channels between the driver and a port.
    pub channel_size: Located<u64>,
    /// What may leave while this computer plays the network.
    pub outbound: Outbound,
}

/// A network device of a unikernel that no channel connects: a port of the driver's switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port<'a> {
    /// Identifier of the unikernel.
    pub subject: usize,
    /// Name of its network device.
    pub device: &'a str,
}

/// A port of this computer that leads to one of a unikernel, while an emulator runs the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// What is forwarded.
    pub protocol: Protocol,
    /// Where this computer listens; port 0 stands for any that nobody uses.
    pub host: SocketAddrV4,
    /// The unikernel's port.
    pub guest: u16,
}

/// What is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl System {
    /// The network card that the system uses if it has ports: the one it chooses, or the machine's first.
    #[must_use]
    pub fn network_card(&self) -> Option<&MachineDevice> {
        let chosen = self.network.device.as_ref().map(|name| name.value.as_str());
        self.machine.as_ref()?.value.network_card(chosen)
    }

    /// The ports of the driver, in the order of the unikernels and of their devices.
    #[must_use]
    pub fn ports(&self) -> Vec<Port<'_>> {
        let devices =
            |(id, subject)| self.unconnected(subject).map(move |device| Port { subject: id, device });
        self.subjects.iter().enumerate().flat_map(devices).collect()
    }

    /// Identifier of the subject that drives the network card.
    #[must_use]
    pub fn nic(&self) -> Option<usize> {
        self.subjects.iter().position(|subject| subject.kind == SubjectKind::Nic)
    }

    /// Whether channels connect the incoming and the outgoing side of a subject's network device.
    pub(crate) fn connections(&self, subject: &Subject, device: &str) -> (bool, bool) {
        let own = |end: &super::End, name: &str| end.subject == subject.name.value && end.name == name;
        let (input, output) = (input_name(device), output_name(device));
        (
            self.channels.iter().any(|channel| own(&channel.reader.value, &input)),
            self.channels.iter().any(|channel| own(&channel.writer.value, &output)),
        )
    }

    /// The network devices of a subject that have no channel at all.
    fn unconnected<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a str> {
        let devices = subject.program.iter().flat_map(|program| &program.devices);
        devices
            .filter(|device| device.kind == DeviceKind::Network)
            .filter(|device| self.connections(subject, &device.name) == (false, false))
            .map(|device| device.name.as_str())
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.guest, self.protocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The channel that a network device reads.
pub(crate) fn input_name(device: &str) -> String {
    format!("{device}|in")
}

/// The channel that a network device writes.
pub(crate) fn output_name(device: &str) -> String {
    format!("{device}|out")
}
