//! A subject's program in its address space: code and constants as they are, writable data as volatile memory that the
//! init stub restores from a pristine copy.

use palisade_abi::init_table::Operation;
use palisade_abi::layout::{PAGE, PRISTINE, page_align_up};

use super::memory::{OutOfMemory, Volatile};
use crate::elf::{Program, Segment};
use crate::plan::{Backing, Region, Rights};

/// The regions of a program and what restores them.
pub(crate) struct Loaded {
    pub(crate) regions: Vec<Region>,
    pub(crate) operations: Vec<Operation>,
}

/// Places a program.
pub(crate) fn load(program: &Program, owner: &str, volatile: &mut Volatile) -> Result<Loaded, OutOfMemory> {
    let mut loaded = Loaded { regions: Vec::new(), operations: Vec::new() };
    let mut pristine = PRISTINE;
    for area in areas(&program.segments) {
        let (name, rights, backing) = match area.rights() {
            Rights::ReadWrite => {
                restore(&area, &mut pristine, &mut loaded);
                let phys = volatile.kept_at(area.size(), area.start, &format!("{owner}: data"))?;
                ("data", Rights::ReadWrite, Backing::Volatile(phys))
            }
            Rights::Read => ("rodata", Rights::Read, area.content()),
            Rights::ReadExecute => ("text", Rights::ReadExecute, area.content()),
        };
        loaded.regions.push(Region {
            name: name.to_owned(),
            address: area.start,
            size: area.size(),
            rights,
            backing,
        });
    }
    Ok(loaded)
}

/// Bytes of the machine's memory that a program takes: its pages, pristine copies and stack. RAM comes on top.
pub(crate) fn memory_size(program: &Program) -> u64 {
    let size = |segment: &Segment| {
        let pristine = if segment.writable { page_align_up(segment.bytes.len() as u64) } else { 0 };
        page_align_up(segment.size).saturating_add(pristine)
    };
    let stack = program.native.map_or(0, |native| u64::from(native.stack_size));
    program.segments.iter().map(size).fold(stack, u64::saturating_add)
}

/// Whole pages with the same rights, from one segment or from several that share pages.
struct Area<'a> {
    start: u64,
    end: u64,
    segments: Vec<&'a Segment>,
}

impl Area<'_> {
    fn size(&self) -> u64 {
        self.end - self.start
    }

    fn rights(&self) -> Rights {
        match self.segments.first() {
            Some(segment) if segment.writable => Rights::ReadWrite,
            Some(segment) if segment.executable => Rights::ReadExecute,
            _ => Rights::Read,
        }
    }

    /// Its bytes up to the last one that is not padding.
    fn content(&self) -> Backing {
        let mut bytes = Vec::new();
        for segment in &self.segments {
            bytes.resize((segment.address - self.start) as usize, 0);
            bytes.extend_from_slice(&segment.bytes);
        }
        Backing::Content(bytes.into())
    }
}

fn areas(segments: &[Segment]) -> Vec<Area<'_>> {
    let mut areas: Vec<Area<'_>> = Vec::new();
    for segment in segments {
        let (start, end) = (segment.address & !(PAGE - 1), page_align_up(segment.end()));
        match areas.last_mut() {
            Some(last) if start < last.end => {
                last.end = last.end.max(end);
                last.segments.push(segment);
            }
            _ => areas.push(Area { start, end, segments: vec![segment] }),
        }
    }
    areas
}

/// Copies the initialised bytes of writable pages from pristine memory and zeroes the others.
fn restore(area: &Area<'_>, pristine: &mut u64, loaded: &mut Loaded) {
    let mut done = area.start;
    for segment in &area.segments {
        zero(done, segment.address, loaded);
        done = segment.address;
        let size = segment.bytes.len() as u64;
        if size > 0 {
            loaded.regions.push(Region {
                name: "pristine data".to_owned(),
                address: *pristine,
                size: page_align_up(size),
                rights: Rights::Read,
                backing: Backing::Content(segment.bytes.clone()),
            });
            loaded.operations.push(Operation::copy(done, *pristine, size));
            *pristine += page_align_up(size);
            done += size;
        }
    }
    zero(done, area.end, loaded);
}

fn zero(start: u64, end: u64, loaded: &mut Loaded) {
    if end > start {
        loaded.operations.push(Operation::fill(start, end - start, 0));
    }
}
