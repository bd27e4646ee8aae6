//! Time: partitions, groups, and the minor frames of each CPU.

use palisade_abi::layout::PAGE;

use super::memory::{OutOfMemory, Volatile};
use crate::plan::Partition;
use crate::system::{self, System};

/// The schedule of a system.
pub(crate) struct Times {
    /// Partitions with their subjects.
    pub(crate) partitions: Vec<Partition>,
    /// Minor frames of each CPU in use: (end in microseconds, partition).
    pub(crate) frames: Vec<Vec<(u32, u16)>>,
    /// Where each subject runs, by its identifier.
    pub(crate) places: Vec<SubjectPlace>,
    pub(crate) major_frame_us: u32,
}

/// Where a subject runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SubjectPlace {
    pub(crate) cpu: u16,
    pub(crate) partition: u16,
    /// Index over the groups of all partitions.
    pub(crate) group: u16,
}

pub(crate) fn schedule(system: &System, volatile: &mut Volatile) -> Result<Times, OutOfMemory> {
    let described = system.partitions();
    let mut partitions = Vec::new();
    let mut places = vec![SubjectPlace::default(); system.subjects.len()];
    let mut group = 0;
    for (number, partition) in (0..).zip(&described) {
        let mut groups = Vec::new();
        for members in &partition.groups {
            let ids = members.iter().filter_map(|member| system.subject_id(&member.value));
            let ids: Vec<u16> = ids.map(|id| id as u16).collect();
            for id in &ids {
                places[usize::from(*id)] =
                    SubjectPlace { cpu: partition.cpu.value, partition: number, group };
            }
            groups.push(ids);
            group += 1;
        }
        let name = partition.name.value.clone();
        let owner = format!("partition {name}: scheduling info");
        partitions.push(Partition {
            scheduling_info: volatile.cleared(PAGE, &owner)?,
            name,
            cpu: partition.cpu.value,
            groups,
        });
    }
    let cpus = described.iter().map(|partition| partition.cpu.value + 1).max().unwrap_or(1);
    let frames: Vec<_> = (0..cpus).map(|cpu| ends(&frames_of(system, &described, cpu), &described)).collect();
    let major_frame_us = frames.first().and_then(|frames| frames.last()).map_or(0, |(end, _)| *end);
    Ok(Times { partitions, frames, places, major_frame_us })
}

/// The minor frames of a CPU as (partition name, length in microseconds): as described, or its partitions in turn.
pub(crate) fn frames_of<'a>(
    system: &'a System,
    partitions: &'a [system::Partition],
    cpu: u16,
) -> Vec<(&'a str, u64)> {
    match system.schedule.cpus.iter().find(|frames| frames.cpu.value == cpu) {
        Some(described) => described
            .frames
            .iter()
            .map(|(partition, length)| (partition.value.as_str(), length.value))
            .collect(),
        None => {
            let own = partitions.iter().filter(|partition| partition.cpu.value == cpu);
            own.map(|partition| (partition.name.value.as_str(), system.schedule.minor_frame.value)).collect()
        }
    }
}

fn ends(frames: &[(&str, u64)], partitions: &[system::Partition]) -> Vec<(u32, u16)> {
    let mut end = 0;
    let frame = |(name, length): &(&str, u64)| {
        end += *length as u32;
        let partition = partitions.iter().position(|partition| partition.name.value == *name);
        (end, partition.unwrap_or_default() as u16)
    };
    frames.iter().map(frame).collect()
}
