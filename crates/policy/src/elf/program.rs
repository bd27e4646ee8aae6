//! A program that a subject can run: right target and version, segments that can be mapped as they are.

use std::sync::Arc;

use palisade_abi::layout::{INIT_STUB, INIT_TABLE, LOWEST, PAGE, PROGRAM, PROGRAM_END, page_align_up};
use palisade_abi::note::{Palisade, Target};
use palisade_abi::subject_info::{Version, VersionError};

use super::{Device, File, Flaw, Segment};
use crate::plan::InfoVersion;
use crate::rules::programs as rules;
use crate::units;

/// A program that a subject can run.
#[derive(Debug, Clone)]
pub struct Program {
    /// Address of its first instruction.
    pub entry: u64,
    /// Its segments, in the order of their addresses; two share a page only if they have the same rights.
    pub segments: Vec<Segment>,
    /// Version of the Solo5 ABI for target muen.
    pub abi_version: u32,
    /// Layout of the subject info that it expects.
    pub info_version: InfoVersion,
    /// The devices it wants.
    pub devices: Vec<Device>,
    /// Its Palisade note, if it is a native program.
    pub native: Option<Palisade>,
}

impl Program {
    /// Judges an ELF file.
    ///
    /// # Errors
    /// Everything that keeps it from running here.
    pub fn new(file: &File) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        check_segments(file, &mut flaws);
        check_stack(file, &mut flaws);
        match versions(file) {
            Ok((abi_version, info_version)) if flaws.is_empty() => Ok(Self {
                entry: file.entry,
                segments: file.segments.clone(),
                abi_version,
                info_version,
                devices: file.devices.clone(),
                native: file.native,
            }),
            Ok(_) => Err(flaws),
            // What was built for another target is laid out for that: more about it would only distract.
            Err(flaw) if flaw.rule.id == rules::TARGET.id => Err(vec![flaw]),
            Err(flaw) => {
                flaws.insert(0, flaw);
                Err(flaws)
            }
        }
    }

    /// First byte after its last segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(PROGRAM, Segment::end)
    }

    /// Where its RAM begins: the page after its last segment.
    #[must_use]
    pub fn ram_start(&self) -> u64 {
        page_align_up(self.end())
    }
}

/// The program that restores a subject's memory before the subject's own program starts.
#[derive(Debug, Clone)]
pub struct InitStub {
    /// Address of its first instruction.
    pub entry: u64,
    /// Its code, to be mapped at [`INIT_STUB`].
    pub code: Arc<[u8]>,
}

impl InitStub {
    /// Judges an ELF file: its only segments hold code between [`INIT_STUB`] and [`INIT_TABLE`].
    ///
    /// # Errors
    /// It is something else.
    pub fn new(file: &File) -> Result<Self, Flaw> {
        let range = INIT_STUB..INIT_TABLE;
        let fits = |s: &Segment| !s.writable && s.address >= range.start && s.end() <= range.end;
        if file.segments.is_empty() || !file.segments.iter().all(fits) || !range.contains(&file.entry) {
            return Err(Flaw::new(
                &rules::LAYOUT,
                "the init program has segments that are writable or lie outside its page",
                format!("link it to {:#x}..{:#x}, without data", range.start, range.end),
            ));
        }
        let mut code = vec![0; (INIT_TABLE - INIT_STUB) as usize];
        for segment in &file.segments {
            let start = (segment.address - INIT_STUB) as usize;
            code[start..start + segment.bytes.len()].copy_from_slice(&segment.bytes);
        }
        Ok(Self { entry: file.entry, code: code.into() })
    }
}

impl InfoVersion {
    /// The number in the magic.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V03 => 3,
            Self::V04 => 4,
            Self::V05 => 5,
        }
    }
}

/// ABI version and layout of the subject info.
fn versions(file: &File) -> Result<(u32, InfoVersion), Flaw> {
    let Some(abi) = file.abi else {
        // The native subjects of the system have no manifest and need no Solo5 note.
        return match file.native {
            Some(_) => Ok((NEWEST_ABI, InfoVersion::V05)),
            None => Err(Flaw::new(
                &rules::TARGET,
                "it has no Solo5 ABI note, so it is not a Solo5 unikernel",
                "link the unikernel for the Solo5 target muen",
            )),
        };
    };
    if abi.target != Target::Muen as u32 {
        let target = Target::from_number(abi.target);
        let name = target.map_or_else(|| format!("number {}", abi.target), |target| target.name().to_owned());
        return Err(Flaw::new(
            &rules::TARGET,
            format!("it was built for the Solo5 target {name}, and only target muen runs here"),
            "build it again for muen: `mirage configure -t muen`, or the muen bindings of Solo5",
        ));
    }
    let segments = file.segments.iter().map(|segment| &*segment.bytes);
    let version = Version::of_program(abi.version, segments).map_err(|error| match error {
        VersionError::UnknownAbi(version) => Flaw::new(
            &rules::ABI_VERSION,
            format!("it has ABI version {version} of target muen, which is not known"),
            "versions 2, 3 and 4 are known; build the unikernel with Solo5 0.6.5 to 0.12",
        ),
        VersionError::NoMagic | VersionError::SeveralMagics => Flaw::new(
            &rules::ABI_VERSION,
            "its ABI version 3 stands for two layouts of the subject info, and its code does not say which",
            "build it again with a Solo5 that has ABI version 4",
        ),
    })?;
    let info_version = match version {
        Version::V03 => InfoVersion::V03,
        Version::V04 => InfoVersion::V04,
        Version::V05 => InfoVersion::V05,
    };
    Ok((abi.version, info_version))
}

fn check_segments(file: &File, flaws: &mut Vec<Flaw>) {
    let segments = &file.segments;
    if segments.is_empty() {
        return flaws.push(Flaw::new(&rules::LAYOUT, "it loads nothing", "link it with its code"));
    }
    for segment in segments {
        if segment.writable && segment.executable {
            flaws.push(Flaw::new(
                &rules::W_XOR_X,
                format!("its segment at {:#x} is both writable and executable", segment.address),
                "keep code and data in segments of their own; linkers do with -z separate-code",
            ));
        }
        if segment.address < LOWEST || segment.end() > PROGRAM_END {
            flaws.push(Flaw::new(
                &rules::LAYOUT,
                format!("its segment at {:#x} lies outside the range for programs", segment.address),
                format!(
                    "programs lie in {LOWEST:#x}..{PROGRAM_END:#x}; use the linker script of target muen"
                ),
            ));
        }
    }
    for pair in segments.windows(2) {
        let (low, high) = (&pair[0], &pair[1]);
        let share_page = page_align_up(low.end()) > high.address & !(PAGE - 1);
        if low.end() > high.address {
            flaws.push(Flaw::new(
                &rules::LAYOUT,
                format!("its segments at {:#x} and {:#x} overlap", low.address, high.address),
                "the file is damaged; build it again",
            ));
        } else if share_page && low.rights() != high.rights() {
            flaws.push(Flaw::new(
                &rules::W_XOR_X,
                format!(
                    "its segments at {:#x} and {:#x} share a page and have rights of their own",
                    low.address, high.address
                ),
                "align segments to pages: -z max-page-size=0x1000 -z separate-code",
            ));
        }
    }
    let in_code =
        |segment: &Segment| segment.executable && (segment.address..segment.end()).contains(&file.entry);
    if !segments.iter().any(in_code) {
        flaws.push(Flaw::new(
            &rules::LAYOUT,
            format!("its entry point {:#x} lies outside its code", file.entry),
            "link it with an entry point in an executable segment",
        ));
    }
}

fn check_stack(file: &File, flaws: &mut Vec<Flaw>) {
    let Some(size) = file.native.map(|native| native.stack_size).filter(|size| *size > LARGEST_STACK) else {
        return;
    };
    flaws.push(Flaw::new(
        &rules::STACK,
        format!("it asks for a stack of {}", units::size(size.into())),
        format!("ask for {} or less", units::size(LARGEST_STACK.into())),
    ));
}

/// What fits between the fixed pages of a subject and the top of its stack.
const LARGEST_STACK: u32 = 64 << 20;
/// The ABI that native programs without a Solo5 note are taken to have.
const NEWEST_ABI: u32 = 4;
