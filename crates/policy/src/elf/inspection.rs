//! What `palisade inspect` tells about a program.

use palisade_abi::layout::{PAGE, page_align_up};
use palisade_abi::note::{DeviceKind, Target};
use serde::Serialize;

use super::{File, Flaw, Program};

/// A program in figures; any Solo5 target, so that it can say why a file does not run here.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Name of the Solo5 target, or its number if it has none; `None` without a Solo5 note.
    pub target: Option<String>,
    /// Version of the target's ABI.
    pub abi_version: Option<u32>,
    /// Version of the subject info that it expects: 3, 4 or 5, if it runs here.
    pub subject_info: Option<u8>,
    /// Whether it is a native program, which reports its exit status.
    pub native: bool,
    /// Bytes of the guarded stack that it asks for.
    pub stack_size: Option<u32>,
    /// Address of its first instruction.
    pub entry: u64,
    /// Its segments.
    pub segments: Vec<InspectedSegment>,
    /// Its devices.
    pub devices: Vec<InspectedDevice>,
    /// Bytes of memory that its segments take, in whole pages. RAM comes on top.
    pub memory: u64,
    /// Why it cannot run here; empty if it can.
    pub obstacles: Vec<String>,
}

/// A segment in figures.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedSegment {
    /// First byte.
    pub address: u64,
    /// Bytes in memory.
    pub size: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Rights, such as `r-x`.
    pub rights: &'static str,
}

/// A device of the manifest.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedDevice {
    /// Its name.
    pub name: String,
    /// `network` or `block`.
    pub kind: &'static str,
}

impl Inspection {
    /// Looks at an ELF file.
    ///
    /// # Errors
    /// It is no ELF file for x86-64, or damaged.
    pub fn of(bytes: &[u8]) -> Result<Self, Flaw> {
        let file = File::parse(bytes)?;
        let program = Program::new(&file);
        let target = |abi: palisade_abi::note::Abi| {
            Target::from_number(abi.target)
                .map_or_else(|| abi.target.to_string(), |target| target.name().to_owned())
        };
        Ok(Self {
            target: file.abi.map(target),
            abi_version: file.abi.map(|abi| abi.version),
            subject_info: program.as_ref().ok().map(|program| program.info_version.number()),
            native: file.native.is_some(),
            stack_size: file.native.map(|native| native.stack_size),
            entry: file.entry,
            segments: file.segments.iter().map(InspectedSegment::of).collect(),
            devices: file.devices.iter().map(InspectedDevice::of).collect(),
            memory: file.segments.iter().map(pages).fold(0, u64::saturating_add),
            obstacles: program.err().into_iter().flatten().map(|flaw| flaw.message).collect(),
        })
    }
}

impl InspectedSegment {
    fn of(segment: &super::Segment) -> Self {
        Self {
            address: segment.address,
            size: segment.size,
            file_size: segment.bytes.len() as u64,
            rights: segment.rights(),
        }
    }
}

impl InspectedDevice {
    fn of(device: &super::Device) -> Self {
        let kind = match device.kind {
            DeviceKind::Block => "block",
            DeviceKind::Network => "network",
        };
        Self { name: device.name.clone(), kind }
    }
}

fn pages(segment: &super::Segment) -> u64 {
    let start = segment.address & !(PAGE - 1);
    page_align_up(segment.end()) - start
}
