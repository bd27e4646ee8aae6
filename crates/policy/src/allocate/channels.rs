//! Channels: the log channel of every subject, then those of the description; and where they lie.

use palisade_abi::layout::{CHANNELS, LARGE_PAGE, PAGE, PRISTINE};

use super::events::{LOG, SUPERVISOR};
use super::memory::{OutOfMemory, Volatile};
use crate::plan::Channel;
use crate::system::System;

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
    logs.chain(described).collect()
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

/// Where a channel of this size begins at the earliest from `address` on.
pub(crate) fn next_address(address: u64, size: u64) -> u64 {
    if size >= LARGE_PAGE { address.next_multiple_of(LARGE_PAGE) } else { address }
}

/// Bytes of a subject's address space that are there for channels.
pub(crate) fn window_size() -> u64 {
    PRISTINE - CHANNELS
}
