//! `[schedule]`.

use crate::document::{Fields, Node, items, text_of};
use crate::problem::Collector;
use crate::source::{Located, Place};
use crate::system::{CpuFrames, Partition, Schedule};

/// The schedule; without the table, the default one.
pub(super) fn schedule(root: &Fields<'_>, start: &Place, problems: &Collector) -> Schedule {
    let default = |place: &Place| Schedule {
        minor_frame: Located::new(DEFAULT_MINOR_FRAME, place),
        partitions: Vec::new(),
        cpus: Vec::new(),
    };
    let Some((key, node)) = root.entry("schedule") else { return default(start) };
    let Some(fields) = Fields::of(node, &key.place, "schedule", problems) else { return default(&key.place) };
    let minor_frame = fields.duration("minor_frame");
    let minor_frame = minor_frame.unwrap_or_else(|| Located::new(DEFAULT_MINOR_FRAME, &key.place));
    let partitions = fields.array("partition").iter().filter_map(|node| partition(node, problems)).collect();
    let cpus = fields.array("cpu").iter().zip(0..);
    let cpus = cpus.filter_map(|(node, position)| cpu(node, position, &minor_frame, problems)).collect();
    fields.finish();
    Schedule { minor_frame, partitions, cpus }
}

fn partition(node: &Node, problems: &Collector) -> Option<Partition> {
    let fields = Fields::of(node, &node.place, "partition", problems)?;
    let name = fields.required_text("name", "every partition has a name: name = \"main\"");
    let cpu = fields.integer("cpu", 0..=u16::MAX).unwrap_or_else(|| Located::new(0, &node.place));
    if !fields.has("groups") {
        fields.missing("groups", "list its subjects: groups = [[\"time\"], [\"log\"]]");
    }
    let group = |node| {
        items(node, "a group", problems).iter().filter_map(|member| text_of(member, "a member", problems))
    };
    let groups = fields.array("groups").iter().map(|node| group(node).collect()).collect();
    fields.finish();
    Some(Partition { name: name?, cpu, groups })
}

fn cpu(node: &Node, position: u16, minor_frame: &Located<u64>, problems: &Collector) -> Option<CpuFrames> {
    let fields = Fields::of(node, &node.place, "CPU of the schedule", problems)?;
    let cpu = fields.integer("cpu", 0..=u16::MAX).unwrap_or_else(|| Located::new(position, &node.place));
    if !fields.has("frames") {
        fields.missing(
            "frames",
            "list its minor frames: frames = [{ partition = \"main\", length = \"5 ms\" }]",
        );
    }
    let frame = |node: &Node| {
        let fields = Fields::of(node, &node.place, "minor frame", problems)?;
        let partition = fields.required_text("partition", "say which partition the frame belongs to");
        let length = fields.duration("length").unwrap_or_else(|| minor_frame.clone());
        fields.finish();
        Some((partition?, length))
    };
    let frames = fields.array("frames").iter().filter_map(frame).collect();
    fields.finish();
    Some(CpuFrames { cpu, frames })
}

/// Microseconds.
const DEFAULT_MINOR_FRAME: u64 = 5000;
