//! The network of a machine that boots a system: around the addresses of the unikernels behind its card.

use std::env;

use palisade_abi::note::DeviceKind;
use palisade_machine::{Interface, MacAddress, Network, PciAddress, UserNetwork, Wire};
use palisade_policy::Planned;
use palisade_policy::plan::{Driver, SubjectKind};

use crate::command_line;
use crate::exit::Exit;
use crate::failure::Failure;

/// The network card of the system's machine, if the system drives one, and the network that it leads to.
pub(crate) fn network(planned: &Planned) -> Result<Option<Network>, Failure> {
    let mut devices = planned.plan.devices.iter().map(|device| &device.hardware);
    let Some(card) = devices.find(|hardware| hardware.driver == Driver::VirtioNet) else { return Ok(None) };
    let interfaces = interfaces(planned)?;
    let mut user = UserNetwork::around(&interfaces).map_err(|conflict| {
        let help = "the emulator plays one network with one router: give the unikernels addresses in it with \
                    --ipv4=ADDRESS/PREFIX and --ipv4-gateway=ADDRESS in their `bootparams`";
        Failure::message(Exit::Input, conflict, Some(help.into()))
    })?;
    user.extra = env::var(EXTRA_OPTIONS).unwrap_or_default();
    let [device, function] = [card.bdf >> 3 & 0x1f, card.bdf & 7].map(|number| number as u8);
    let address = PciAddress { device, function };
    Ok(Some(Network { address, mac: MacAddress::ALONE, wire: Wire::User(user) }))
}

/// The interfaces of the unikernels behind the card, as their command lines describe them.
fn interfaces(planned: &Planned) -> Result<Vec<Interface>, Failure> {
    let unikernels = planned.system.subjects.iter().filter(|subject| subject.kind == SubjectKind::Unikernel);
    let mut interfaces = Vec::new();
    for subject in unikernels {
        let devices = subject.program.iter().flat_map(|program| &program.devices);
        if devices.filter(|device| device.kind == DeviceKind::Network).count() == 0 {
            continue;
        }
        let name = &subject.name.value;
        let interface = command_line::interface(name, &subject.command_line.value);
        interfaces.push(interface.map_err(|flaw| Failure::input(format!("subject {name}: {flaw}")))?);
    }
    Ok(interfaces)
}

/// More options for QEMU's `-netdev`, as its users have them in their environment.
const EXTRA_OPTIONS: &str = "QEMU_NETDEV_EXTRA_OPTS";
