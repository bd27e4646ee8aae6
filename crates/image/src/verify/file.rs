//! The image as a file: ELF, its one segment, and the headers that loaders look for.

use palisade_abi::layout::{IMAGE_BASE, PAGE};

use super::bytes::{first_nonzero, part, u16_at, u32_at, u64_at};
use super::rules::{Findings, IMAGE_IS_ELF, MULTIBOOT, NO_HIDDEN_BYTES, ONE_SEGMENT};

/// The loaded content of an image, by physical address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    content: &'a [u8],
    /// Where a loader jumps to.
    pub(super) entry: u64,
}

impl<'a> Image<'a> {
    /// Reads the file; `None` if it has no content that could be judged.
    pub(super) fn read(file: &'a [u8], findings: &mut Findings) -> Option<Self> {
        let Some((header, segments)) = elf(file) else {
            findings.add(&IMAGE_IS_ELF, || "the file is not a 64-bit x86 ELF executable".to_owned());
            return None;
        };
        let [segment] = segments.as_slice() else {
            findings
                .add(&ONE_SEGMENT, || format!("the file has {} program headers, not one", segments.len()));
            return None;
        };
        let plain = header.end == ELF_HEADER + PROGRAM_HEADER && header.sections == 0;
        findings.require(plain, &IMAGE_IS_ELF, || {
            "the file has sections, or its program header is not where it should be".to_owned()
        });
        let image = Self { content: one_segment(file, segment, findings)?, entry: header.entry };
        let gap = file.get(header.end..SEGMENT_OFFSET as usize).unwrap_or(&[]);
        if let Some(at) = first_nonzero(gap) {
            findings.add(&NO_HIDDEN_BYTES, || {
                format!(
                    "the file has content at offset {:#x}, between its headers and its segment",
                    header.end + at
                )
            });
        }
        Some(image)
    }

    /// First physical address.
    pub(super) const fn start(&self) -> u64 {
        IMAGE_BASE
    }

    /// First physical address after the image.
    pub(super) const fn end(&self) -> u64 {
        IMAGE_BASE + self.content.len() as u64
    }

    /// The `size` bytes at a physical address, if all of them are content.
    pub(super) fn at(&self, phys: u64, size: u64) -> Option<&'a [u8]> {
        part(self.content, phys.checked_sub(IMAGE_BASE)?, size)
    }

    /// The page at a physical address.
    pub(super) fn page(&self, phys: u64) -> Option<&'a [u8]> {
        self.at(phys, PAGE)
    }

    /// Checks that loaders find their headers, load the whole file and enter the kernel, which ends at `kernel_end`.
    pub(super) fn check_multiboot(&self, kernel_end: u64, findings: &mut Findings) {
        if let Err(problem) = multiboot1(self.content, kernel_end) {
            findings.add(&MULTIBOOT, || format!("Multiboot 1: {problem}"));
        }
        if let Err(problem) = multiboot2(self.content, kernel_end) {
            findings.add(&MULTIBOOT, || format!("Multiboot 2: {problem}"));
        }
    }
}

/// A loadable part of an ELF file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// Whether it is loaded at all.
    pub(super) load: bool,
    /// Bits: 1 execute, 2 write, 4 read.
    pub(super) flags: u32,
    offset: u64,
    /// Physical and virtual address.
    pub(super) address: u64,
    physical: u64,
    file_size: u64,
    /// Bytes in memory.
    pub(super) size: u64,
}

/// What the kernel's own ELF file says.
pub(super) struct KernelFile {
    pub(super) entry: u64,
    /// Its loadable segments in order of their addresses.
    pub(super) segments: Vec<Segment>,
    /// Their bytes as they lie in memory.
    pub(super) flat: Vec<u8>,
}

/// Reads the kernel's own ELF file.
pub(super) fn flatten_kernel(file: &[u8]) -> Option<KernelFile> {
    let (header, segments) = elf(file)?;
    let mut loads: Vec<Segment> = segments.into_iter().filter(|s| s.load && s.size > 0).collect();
    loads.sort_by_key(|s| s.address);
    let mut flat = Vec::new();
    for segment in &loads {
        let content = part(file, segment.offset, segment.file_size)?;
        let start = usize::try_from(segment.address.checked_sub(IMAGE_BASE)?).ok()?;
        let end = start.checked_add(usize::try_from(segment.size).ok()?)?;
        if start < flat.len() || end > MOST_KERNEL_BYTES || content.len() > end - start {
            return None;
        }
        flat.resize(start, 0);
        flat.extend_from_slice(content);
        flat.resize(end.next_multiple_of(PAGE as usize), 0);
    }
    Some(KernelFile { entry: header.entry, segments: loads, flat })
}

struct ElfHeader {
    entry: u64,
    /// Offset of the first byte after ELF header and program headers.
    end: usize,
    sections: u16,
}

fn elf(file: &[u8]) -> Option<(ElfHeader, Vec<Segment>)> {
    const IDENT: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];
    const EXECUTABLE: u16 = 2;
    const X86_64: u16 = 62;
    let executable = u16_at(file, 16)? == EXECUTABLE && u16_at(file, 18)? == X86_64;
    let sizes = u16_at(file, 52)? as usize == ELF_HEADER && u16_at(file, 54)? as usize == PROGRAM_HEADER;
    if !file.starts_with(&IDENT) || !executable || !sizes {
        return None;
    }
    let first = usize::try_from(u64_at(file, 32)?).ok()?;
    let count = usize::from(u16_at(file, 56)?);
    let end = first.checked_add(count * PROGRAM_HEADER)?;
    let headers = file.get(first..end)?;
    let segments = headers.chunks_exact(PROGRAM_HEADER).map(segment).collect::<Option<_>>()?;
    let sections = u16_at(file, 60)?;
    Some((ElfHeader { entry: u64_at(file, 24)?, end: end.max(ELF_HEADER), sections }, segments))
}

fn segment(header: &[u8]) -> Option<Segment> {
    const LOAD: u32 = 1;
    Some(Segment {
        load: u32_at(header, 0)? == LOAD,
        flags: u32_at(header, 4)?,
        offset: u64_at(header, 8)?,
        address: u64_at(header, 16)?,
        physical: u64_at(header, 24)?,
        file_size: u64_at(header, 32)?,
        size: u64_at(header, 40)?,
    })
}

fn one_segment<'a>(file: &'a [u8], segment: &Segment, findings: &mut Findings) -> Option<&'a [u8]> {
    let place = segment.load
        && segment.offset == SEGMENT_OFFSET
        && segment.address == IMAGE_BASE
        && segment.physical == IMAGE_BASE;
    findings.require(place, &ONE_SEGMENT, || {
        format!(
            "the segment is at offset {:#x} and address {:#x}, not at {SEGMENT_OFFSET:#x} and {IMAGE_BASE:#x}",
            segment.offset, segment.address
        )
    });
    findings.require(segment.file_size == segment.size, &ONE_SEGMENT, || {
        format!(
            "the segment has {:#x} bytes in the file but {:#x} in memory",
            segment.file_size, segment.size
        )
    });
    let rest = file.get(SEGMENT_OFFSET as usize..).unwrap_or(&[]);
    findings.require(rest.len() as u64 == segment.file_size, &ONE_SEGMENT, || {
        format!(
            "the segment has {:#x} bytes, but {:#x} follow its start in the file",
            segment.file_size,
            rest.len()
        )
    });
    let content = part(rest, 0, segment.file_size).unwrap_or(rest);
    findings.require(segment.flags == 7, &ONE_SEGMENT, || {
        format!("the segment's rights are {:#x}: loaders expect read, write and execute", segment.flags)
    });
    place.then_some(content)
}

fn multiboot1(content: &[u8], kernel_end: u64) -> Result<(), String> {
    const MAGIC: u32 = 0x1bad_b002;
    /// Aligned modules and memory map wanted, address fields valid.
    const FLAGS: u32 = 0x1_0003;
    const SEARCHED: usize = 8192 - SEGMENT_OFFSET as usize;
    let at = find(content, MAGIC, 4, SEARCHED).ok_or("no header in the first 8 KiB of the file")?;
    let field = |number: usize| u32_at(content, at + 4 * number).unwrap_or(0);
    let sum = field(0).wrapping_add(field(1)).wrapping_add(field(2));
    if field(1) != FLAGS || sum != 0 {
        return Err(format!("the header at {:#x} has wrong flags or a wrong checksum", address(at)));
    }
    if u64::from(field(3)) != address(at) || u64::from(field(4)) != IMAGE_BASE {
        return Err("the header does not lead a loader to the start of the segment".to_owned());
    }
    whole_file(field(5), field(6))?;
    entry_in_kernel(field(7), kernel_end)
}

fn multiboot2(content: &[u8], kernel_end: u64) -> Result<(), String> {
    const MAGIC: u32 = 0xe852_50d6;
    const SEARCHED: usize = 32768 - SEGMENT_OFFSET as usize;
    const END: u16 = 0;
    const ADDRESSES: u16 = 2;
    const ENTRY: u16 = 3;
    let at = find(content, MAGIC, 8, SEARCHED).ok_or("no header in the first 32 KiB of the file")?;
    let field = |number: usize| u32_at(content, at + 4 * number).unwrap_or(0);
    let length = field(2) as usize;
    let sum = (0..4).fold(0, |sum: u32, number| sum.wrapping_add(field(number)));
    if field(1) != 0 || sum != 0 {
        return Err(format!("the header at {:#x} is not for x86, or has a wrong checksum", address(at)));
    }
    let header = content.get(at..).and_then(|h| h.get(..length)).ok_or("the header is cut off")?;
    let mut tag = 16;
    loop {
        let size = u32_at(header, tag + 4).ok_or("the header has no end tag")? as usize;
        let value = |number: usize| u32_at(header, tag + 8 + 4 * number).unwrap_or(0);
        match u16_at(header, tag).ok_or("the header has no end tag")? {
            END => return Ok(()),
            ADDRESSES => {
                if u64::from(value(0)) != address(at) || u64::from(value(1)) != IMAGE_BASE {
                    return Err("the address tag does not lead to the start of the segment".to_owned());
                }
                whole_file(value(2), value(3))?;
            }
            ENTRY => entry_in_kernel(value(0), kernel_end)?,
            _ => {}
        }
        tag += size.max(8).next_multiple_of(8);
    }
}

/// The end addresses of a header are 0: the segment goes to the end of the file and nothing follows it in memory. So the
/// kernel's bytes are the same in every image.
fn whole_file(load_end: u32, bss_end: u32) -> Result<(), String> {
    if load_end == 0 && bss_end == 0 {
        Ok(())
    } else {
        Err(format!(
            "the load end {load_end:#x} and the end of zeroed memory {bss_end:#x} must be 0: the whole file"
        ))
    }
}

fn entry_in_kernel(entry: u32, kernel_end: u64) -> Result<(), String> {
    if (IMAGE_BASE..kernel_end).contains(&u64::from(entry)) {
        Ok(())
    } else {
        Err(format!("the entry point {entry:#x} is outside the kernel"))
    }
}

fn find(content: &[u8], magic: u32, align: usize, searched: usize) -> Option<usize> {
    (0..searched).step_by(align).find(|at| u32_at(content, *at) == Some(magic))
}

const fn address(offset: usize) -> u64 {
    IMAGE_BASE + offset as u64
}

/// Where the segment begins in the file.
const SEGMENT_OFFSET: u64 = 0x1000;
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const MOST_KERNEL_BYTES: usize = 64 << 20;
