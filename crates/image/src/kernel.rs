//! The kernel: read from its ELF file, checked, and flattened to the bytes that lie in memory.

use object::LittleEndian;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use palisade_abi::layout::{IMAGE_BASE, PAGE, page_align_up};
use palisade_policy::plan::Rights;

use crate::error::PackError;
use crate::multiboot;

/// The kernel as it lies in memory from [`IMAGE_BASE`] on.
pub(crate) struct Kernel {
    /// Its bytes, up to a page boundary.
    pub(crate) bytes: Vec<u8>,
    /// Its first instruction.
    pub(crate) entry: u64,
    /// Its segments in the order of their addresses.
    pub(crate) segments: Vec<Segment>,
}

/// A segment of the kernel: whole pages with one set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) rights: Rights,
}

impl Kernel {
    /// Reads and checks the kernel's ELF file.
    pub(crate) fn read(file: &[u8]) -> Result<Self, PackError> {
        let elf = ElfFile64::<LittleEndian>::parse(file).map_err(|e| refuse(e.to_string()))?;
        let endian = elf.endian();
        let header = elf.elf_header();
        if header.e_machine(endian) != elf::EM_X86_64 || header.e_type(endian) != elf::ET_EXEC {
            return Err(refuse("it is not a static x86-64 executable"));
        }
        let mut bytes = Vec::new();
        let mut segments: Vec<Segment> = Vec::new();
        for program in elf.elf_program_headers() {
            if program.p_type(endian) != elf::PT_LOAD || program.p_memsz(endian) == 0 {
                continue;
            }
            let content = program.data(endian, file).map_err(|()| refuse("a segment is cut off"))?;
            let segment = segment(program)?;
            let end = segments.last().map_or(IMAGE_BASE, |s| s.address + s.size);
            if segments.is_empty() && segment.address != IMAGE_BASE {
                return Err(refuse(format!("its first segment is at {:#x}, not {end:#x}", segment.address)));
            }
            if segment.address < end {
                return Err(refuse(format!(
                    "its segments overlap or are not in order at {:#x}",
                    segment.address
                )));
            }
            bytes.resize(usize::try_from(segment.address - IMAGE_BASE).unwrap_or(usize::MAX), 0);
            bytes.extend(content);
            bytes.resize(
                usize::try_from(segment.address + segment.size - IMAGE_BASE).unwrap_or(usize::MAX),
                0,
            );
            segments.push(segment);
        }
        let entry = header.e_entry(endian);
        let runs =
            |s: &Segment| s.rights == Rights::ReadExecute && (s.address..s.address + s.size).contains(&entry);
        if !segments.iter().any(runs) {
            return Err(refuse(format!("its entry point {entry:#x} is in no executable segment")));
        }
        multiboot::check(&bytes).map_err(refuse)?;
        Ok(Self { bytes, entry, segments })
    }

    /// First byte after the kernel; a page boundary.
    pub(crate) fn end(&self) -> u64 {
        IMAGE_BASE + self.bytes.len() as u64
    }
}

fn segment(program: &elf::ProgramHeader64<LittleEndian>) -> Result<Segment, PackError> {
    let endian = LittleEndian;
    let (address, size) = (program.p_vaddr(endian), program.p_memsz(endian));
    if program.p_paddr(endian) != address || !address.is_multiple_of(PAGE) {
        return Err(refuse(format!(
            "its segment at {address:#x} is not page-aligned or not mapped one to one"
        )));
    }
    if program.p_filesz(endian) > size || size > MAX_SIZE || address > IMAGE_BASE + MAX_SIZE {
        return Err(refuse(format!("its segment at {address:#x} has an impossible size")));
    }
    let flags = program.p_flags(endian);
    let rights = match (flags.contains(elf::PF_W), flags.contains(elf::PF_X)) {
        (false, false) => Rights::Read,
        (true, false) => Rights::ReadWrite,
        (false, true) => Rights::ReadExecute,
        (true, true) => {
            return Err(refuse(format!("its segment at {address:#x} is both writable and executable")));
        }
    };
    Ok(Segment { address, size: page_align_up(size), rights })
}

fn refuse(why: impl Into<String>) -> PackError {
    PackError::Kernel(why.into())
}

/// Far more than any kernel needs; bounds what is allocated for a damaged file.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{FakeKernel, FakeSegment};

    fn reason(kernel: &FakeKernel) -> String {
        Kernel::read(&kernel.file()).err().expect("must be refused").to_string()
    }

    #[test]
    fn segments_are_flattened_with_zeros_between_and_behind() {
        let kernel = Kernel::read(&FakeKernel::default().file()).unwrap();
        assert_eq!(kernel.end(), 0x10_5000);
        assert_eq!(
            kernel.segments[0],
            Segment { address: 0x10_0000, size: 0x1000, rights: Rights::ReadExecute }
        );
        assert_eq!(
            kernel.segments[2],
            Segment { address: 0x10_3000, size: 0x2000, rights: Rights::ReadWrite }
        );
        assert_eq!(&kernel.bytes[0x1000..0x1004], &[0; 4]);
        assert_eq!(&kernel.bytes[0x2000..0x2004], b"read");
        assert_eq!(&kernel.bytes[0x3000..0x3005], b"data\0");
        assert!(kernel.bytes[0x3005..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a_kernel_that_breaks_a_rule_is_refused_with_the_reason() {
        let with = |change: fn(&mut FakeKernel)| {
            let mut kernel = FakeKernel::default();
            change(&mut kernel);
            reason(&kernel)
        };
        assert!(with(|k| k.segments[0].flags = 7).contains("both writable and executable"));
        assert!(with(|k| k.segments[0].address = 0x20_0000).contains("first segment is at 0x200000"));
        assert!(with(|k| k.segments[1].address = 0x10_2010).contains("not page-aligned"));
        assert!(with(|k| k.segments[1].address = 0x10_0000).contains("overlap"));
        assert!(with(|k| k.segments[2].memory_size = u64::MAX).contains("impossible size"));
        assert!(with(|k| k.entry = 0x10_3000).contains("entry point"));
        assert!(with(|k| k.machine = 3).contains("x86-64"));
        assert!(with(|k| k.segments[0].content[8] ^= 1).contains("Multiboot 1 header"));
        assert!(
            with(|k| k.segments = vec![FakeSegment::default()]).contains("entry point"),
            "nothing to load"
        );
    }

    #[test]
    fn a_kernel_cut_off_anywhere_is_refused_or_whole() {
        let file = FakeKernel::default().file();
        for length in 0..file.len() {
            assert!(Kernel::read(&file[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_kernel_never_makes_the_builder_panic(at in 0..300_usize, bytes in any::<[u8; 8]>(), length in 1..9_usize) {
            let mut file = FakeKernel::default().file();
            for (to, from) in file.iter_mut().skip(at).zip(&bytes[..length]) {
                *to = *from;
            }
            if let Ok(kernel) = Kernel::read(&file) {
                prop_assert!(kernel.segments.iter().all(|s| s.address >= IMAGE_BASE));
                prop_assert_eq!(kernel.segments.last().map(|s| s.address + s.size), Some(kernel.end()));
            }
        }
    }
}
