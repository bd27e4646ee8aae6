//! Channels: the log channel of every subject, those of the description, and two for every port of the network; and where
//! they lie.

use palisade_abi::layout::{CHANNELS, LARGE_PAGE, PAGE, PRISTINE};

use super::events::{LOG, SUPERVISOR};
use super::memory::{OutOfMemory, Volatile};
use crate::plan::Channel;
use crate::system::{Port, System, input_name, output_name};

/// A channel before it has a place.
#[derive(Debug, Clone)]
pub(crate) struct ChannelPlan {
    pub(crate) name: String,
    pub(crate) writer: usize,
    pub(crate) writer_resource: String,
    pub(crate) reader: usize,
    pub(crate) reader_resource: String,
    pub(crate) size: u64,
}

/// Every channel of the system, in the order in which they get their places. Channels with an unknown end are left out.
pub(crate) fn channel_plans(system: &System) -> Vec<ChannelPlan> {
    // The log takes its channels in this order: what a subject said comes before what the supervisor says of it.
    let (supervisor, others): (Vec<_>, Vec<_>) = system
        .subjects
        .iter()
        .enumerate()
        .filter(|(id, _)| *id != LOG)
        .partition(|(id, _)| *id == SUPERVISOR);
    let logs = others.into_iter().chain(supervisor).map(|(id, subject)| ChannelPlan {
        name: format!("debuglog_{}", subject.name.value),
        writer: id,
        writer_resource: "debuglog".to_owned(),
        reader: LOG,
        reader_resource: format!("debuglog_{}", subject.name.value),
        size: subject.log_size.value,
    });
    let described = system.channels.iter().filter_map(|channel| {
        Some(ChannelPlan {
            name: channel.name.value.clone(),
            writer: system.subject_id(&channel.writer.value.subject)?,
            writer_resource: channel.writer.value.name.clone(),
            reader: system.subject_id(&channel.reader.value.subject)?,
            reader_resource: channel.reader.value.name.clone(),
            size: channel.size.value,
        })
    });
    logs.chain(described).chain(port_channels(system)).collect()
}

/// Two channels between the network driver and each of its ports.
fn port_channels(system: &System) -> Vec<ChannelPlan> {
    let Some(nic) = system.nic() else { return Vec::new() };
    let size = system.network.channel_size.value;
    let channels = |(number, port): (usize, Port<'_>)| {
        let name = |resource: &str| format!("{}:{resource}", system.subjects[port.subject].name.value);
        let (input, output) = (input_name(port.device), output_name(port.device));
        [
            ChannelPlan {
                name: name(&input),
                writer: nic,
                writer_resource: input_name(&port_name(number)),
                reader: port.subject,
                reader_resource: input,
                size,
            },
            ChannelPlan {
                name: name(&output),
                writer: port.subject,
                writer_resource: output,
                reader: nic,
                reader_resource: output_name(&port_name(number)),
                size,
            },
        ]
    };
    system.ports().into_iter().enumerate().flat_map(channels).collect()
}

/// What the network driver calls a port.
pub(crate) fn port_name(number: usize) -> String {
    format!("port{number}")
}

pub(super) fn allocate(system: &System, volatile: &mut Volatile) -> Result<Vec<Channel>, OutOfMemory> {
    let mut next = vec![CHANNELS; system.subjects.len()];
    let mut place = |subject: usize, size: u64| {
        let address = next_address(next[subject], size);
        next[subject] = address + size + PAGE;
        (subject as u16, address)
    };
    let allocate = |plan: ChannelPlan| {
        let writer = place(plan.writer, plan.size);
        let reader = place(plan.reader, plan.size);
        let phys = volatile.cleared_at(plan.size, writer.1, &format!("channel {}", plan.name))?;
        Ok(Channel { name: plan.name, writer, reader, size: plan.size, phys })
    };
    channel_plans(system).into_iter().map(allocate).collect()
}

/// Where a region of this size begins at the earliest from `address` on: on a large page, if it can be mapped with them.
pub(crate) fn next_address(address: u64, size: u64) -> u64 {
    if size >= LARGE_PAGE { address.next_multiple_of(LARGE_PAGE) } else { address }
}

/// Bytes of a subject's address space that are there for channels.
pub(crate) fn window_size() -> u64 {
    PRISTINE - CHANNELS
}
