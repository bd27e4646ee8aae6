//! The memory map.

use crate::Lack;
use crate::tree::Tree;

/// The memory of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes altogether.
    pub(crate) installed: u64,
    /// Usable ranges between 1 MiB and 4 GiB in whole pages, as (start, size), the lowest first.
    pub(crate) usable: Vec<(u64, u64)>,
}

/// Reads the firmware's map; where Linux does not show that, its own list of what lies at which address.
pub(crate) fn read(tree: &Tree<'_>) -> Result<Memory, Lack> {
    let ranges = match tree.names(FIRMWARE_MAP) {
        names if names.is_empty() => from_kernel(tree)?,
        names => from_firmware(tree, &names)?,
    };
    let mut usable: Vec<_> = ranges.iter().filter_map(|range| clip(*range)).collect();
    usable.sort_unstable();
    let total: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    // What the firmware keeps of the lowest memory does not count as installed, but what lies behind it must.
    let end = usable.last().map_or(0, |(start, size)| start + size);
    let installed = if total < FOUR_GIBIBYTES { total.max(end) } else { total };
    if usable.is_empty() {
        return Err(tree.unusable(FIRMWARE_MAP, WHAT, "lists no usable memory from 1 MiB on"));
    }
    Ok(Memory { installed: installed.next_multiple_of(1 << 20), usable })
}

/// Directories with a range each: first and last address, and what it is.
fn from_firmware(tree: &Tree<'_>, names: &[String]) -> Result<Vec<(u64, u64)>, Lack> {
    let mut ranges = Vec::new();
    for name in names {
        let read = |file: &str| tree.text(&format!("{FIRMWARE_MAP}/{name}/{file}"), WHAT);
        if read("type")?.trim() != RAM {
            continue;
        }
        let (first, last) = (hexadecimal(&read("start")?), hexadecimal(&read("end")?));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(tree.unusable(&format!("{FIRMWARE_MAP}/{name}"), WHAT, "is no range"));
        };
        ranges.extend((first <= last).then_some((first, last)));
    }
    Ok(ranges)
}

/// Lines such as `00100000-bfffffff : System RAM`; parts of a range are set in by spaces.
fn from_kernel(tree: &Tree<'_>) -> Result<Vec<(u64, u64)>, Lack> {
    let ranges = resources(tree, WHAT, |indent, name| indent == 0 && name == RAM)?;
    // Whoever is not root reads zeros.
    if ranges.iter().all(|(_, last)| *last == 0) {
        return Err(Lack::Forbidden { what: WHAT, path: tree.path(KERNEL_MAP) });
    }
    Ok(ranges)
}

/// The ranges in the kernel's list that are wanted, by how far they are set in and by their name; asked in the order of the list.
pub(crate) fn resources(
    tree: &Tree<'_>,
    what: &'static str,
    mut is_wanted: impl FnMut(usize, &str) -> bool,
) -> Result<Vec<(u64, u64)>, Lack> {
    let text = tree.text(KERNEL_MAP, what)?;
    let ranges = text.lines().filter_map(|line| {
        let (range, name) = line.split_once(" : ")?;
        let (first, last) = range.trim().split_once('-')?;
        let indent = range.len() - range.trim_start().len();
        is_wanted(indent, name.trim()).then_some((hexadecimal(first)?, hexadecimal(last)?))
    });
    Ok(ranges.filter(|(first, last)| first <= last).collect())
}

/// The part of a range that a system can use.
fn clip((first, last): (u64, u64)) -> Option<(u64, u64)> {
    let start = first.max(ONE_MEBIBYTE).next_multiple_of(PAGE);
    let end = last.saturating_add(1).min(FOUR_GIBIBYTES) & !(PAGE - 1);
    (start < end).then(|| (start, end - start))
}

/// `0x9fbff`, or without the prefix.
pub(crate) fn hexadecimal(text: &str) -> Option<u64> {
    let text = text.trim();
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

const WHAT: &str = "the memory";
const FIRMWARE_MAP: &str = "sys/firmware/memmap";
const KERNEL_MAP: &str = "proc/iomem";
const RAM: &str = "System RAM";
const PAGE: u64 = 4096;
const ONE_MEBIBYTE: u64 = 1 << 20;
const FOUR_GIBIBYTES: u64 = 1 << 32;
