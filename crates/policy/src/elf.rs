//! Programs as ELF files: what they are, and whether a subject can be made of them.
//!
//! [`File`] is any x86-64 ELF file with its Solo5 and Palisade notes. [`Program`] is one that a subject can run.

mod inspection;
mod program;

use std::fmt;
use std::sync::Arc;

use object::elf::{ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_EXEC, FileHeader64, PF_W, PF_X, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, pod};
use palisade_abi::note::{self, DeviceKind, ProgramNotes};

use crate::rules::{Rule, programs as rules};

pub use inspection::{InspectedSegment, Inspection};
pub use program::{InitStub, Program};

/// An ELF file, read but not judged.
#[derive(Debug, Clone)]
pub struct File {
    /// Address of the first instruction.
    pub entry: u64,
    /// Loadable segments with at least one byte of memory, in the order of their addresses.
    pub segments: Vec<Segment>,
    /// Solo5 ABI note, if there is one.
    pub abi: Option<note::Abi>,
    /// Devices of the Solo5 manifest, in the order of their handles.
    pub devices: Vec<Device>,
    /// Palisade note, if there is one.
    pub native: Option<note::Palisade>,
}

/// A loadable segment.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub address: u64,
    /// Bytes in memory.
    pub size: u64,
    /// Whether the program may write to it.
    pub writable: bool,
    /// Whether it holds instructions.
    pub executable: bool,
    /// Its bytes in the file; zeros follow up to `size`.
    pub bytes: Arc<[u8]>,
}

impl Segment {
    /// First byte after it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.address + self.size
    }

    /// Its rights as three letters.
    #[must_use]
    pub fn rights(&self) -> &'static str {
        match (self.writable, self.executable) {
            (false, false) => "r--",
            (true, false) => "rw-",
            (false, true) => "r-x",
            (true, true) => "rwx",
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:#x}..{:#x}, {} bytes in the file",
            self.rights(),
            self.address,
            self.end(),
            self.bytes.len()
        )
    }
}

/// A device that a unikernel wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
}

/// What is wrong with a program.
#[derive(Debug)]
pub struct Flaw {
    /// The rule that it breaks.
    pub rule: &'static Rule,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl Flaw {
    fn new(rule: &'static Rule, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { rule, message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Flaw {}

impl File {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// The first thing that makes it unreadable.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let header = header(bytes)?;
        let endian = LittleEndian;
        let headers = header.program_headers(endian, bytes).map_err(|_| cut_off("the program headers"))?;
        let mut segments = Vec::new();
        let mut notes = ProgramNotes::default();
        for segment in headers {
            let contents = || segment.data(endian, bytes).map_err(|()| cut_off("a segment"));
            match segment.p_type(endian) {
                // Linkers leave empty segments at odd addresses: they load nothing.
                PT_LOAD if segment.p_memsz(endian) > 0 => segments.push(load_segment(segment, contents()?)?),
                PT_NOTE => notes.add(contents()?).map_err(|error| damaged_notes(&error))?,
                _ => {}
            }
        }
        segments.sort_by_key(|segment| segment.address);
        let devices = notes.manifest.iter().flat_map(note::Manifest::devices);
        Ok(Self {
            entry: header.e_entry(endian),
            segments,
            abi: notes.abi,
            devices: devices.map(|d| Device { name: d.name.to_owned(), kind: d.kind }).collect(),
            native: notes.palisade,
        })
    }
}

fn header(bytes: &[u8]) -> Result<&FileHeader64<LittleEndian>, Flaw> {
    let help =
        "give a unikernel that was linked for the Solo5 target muen, a statically linked ELF file for x86-64";
    if !bytes.starts_with(b"\x7fELF") {
        let what =
            if bytes.is_empty() { "the file is empty" } else { "it does not begin with the ELF magic" };
        return Err(Flaw::new(&rules::ELF, format!("this is not an ELF file: {what}"), help));
    }
    let (header, _) =
        pod::from_bytes::<FileHeader64<LittleEndian>>(bytes).map_err(|()| cut_off("the ELF header"))?;
    let endian = LittleEndian;
    let wrong = if header.e_ident.class != ELFCLASS64 || header.e_ident.data != ELFDATA2LSB {
        Some("it is not for a 64-bit little-endian machine".to_owned())
    } else if header.e_machine(endian) != EM_X86_64 {
        Some(format!("it is for machine number {}, and x86-64 is {EM_X86_64}", header.e_machine(endian)))
    } else if header.e_type(endian) != ET_EXEC {
        Some("it is not an executable with fixed addresses".to_owned())
    } else {
        None
    };
    match wrong {
        Some(message) => Err(Flaw::new(&rules::ELF, message, help)),
        None => Ok(header),
    }
}

fn load_segment(
    segment: &<FileHeader64<LittleEndian> as FileHeader>::ProgramHeader,
    bytes: &[u8],
) -> Result<Segment, Flaw> {
    let endian = LittleEndian;
    let (address, size) = (segment.p_vaddr(endian), segment.p_memsz(endian));
    if bytes.len() as u64 > size || address.checked_add(size).is_none() {
        return Err(Flaw::new(
            &rules::ELF,
            format!("the segment at {address:#x} is larger in the file than in memory, or wraps around"),
            "the file is damaged; build it again",
        ));
    }
    let flags = segment.p_flags(endian);
    Ok(Segment {
        address,
        size,
        writable: flags.contains(PF_W),
        executable: flags.contains(PF_X),
        bytes: bytes.into(),
    })
}

fn cut_off(what: &str) -> Flaw {
    Flaw::new(
        &rules::ELF,
        format!("the ELF file is cut off: it ends before {what} does"),
        "the file is damaged; copy or build it again",
    )
}

fn damaged_notes(error: &note::NoteError) -> Flaw {
    Flaw::new(
        &rules::NOTES,
        format!("the notes of the ELF file are damaged: {error:?}"),
        "build the unikernel again with its own tools",
    )
}
