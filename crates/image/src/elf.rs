//! The image as an ELF file: one segment that every loader can place.
//!
//! The segment is readable, writable and executable only for the loader; the kernel's own page tables, which are in
//! effect soon after its first instruction, give precise rights. There are no sections, and the file ends where the image
//! ends, because the Multiboot 1 header asks for everything up to the end of the file.

use palisade_abi::layout::{IMAGE_BASE, PAGE};

/// Writes the headers of an image's file, whose loaded bytes are at [`FILE_OFFSET`] already.
pub(crate) fn write_headers(file: &mut [u8], entry: u64) {
    let size = file.len().saturating_sub(FILE_OFFSET) as u64;
    let headers = headers(size, entry);
    file[..headers.len()].copy_from_slice(&headers);
}

/// The headers of a file with `size` loaded bytes.
fn headers(size: u64, entry: u64) -> Vec<u8> {
    let mut headers = IDENTIFICATION.to_vec();
    for half in [ET_EXEC, EM_X86_64] {
        headers.extend(half.to_le_bytes());
    }
    headers.extend(1_u32.to_le_bytes());
    for word in [entry, FILE_HEADER_SIZE, 0] {
        headers.extend(word.to_le_bytes());
    }
    headers.extend(0_u32.to_le_bytes());
    for half in [FILE_HEADER_SIZE as u16, PROGRAM_HEADER_SIZE, 1, SECTION_HEADER_SIZE, 0, 0] {
        headers.extend(half.to_le_bytes());
    }
    for word in [PT_LOAD, PF_R | PF_W | PF_X] {
        headers.extend(word.to_le_bytes());
    }
    for word in [FILE_OFFSET as u64, IMAGE_BASE, IMAGE_BASE, size, size, PAGE] {
        headers.extend(word.to_le_bytes());
    }
    headers
}

/// Where the loaded bytes begin in the file. Multiboot wants its header in the first 8 KiB (version 1) or 32 KiB (version 2)
/// of the file; it lies at the start of the kernel.
pub(crate) const FILE_OFFSET: usize = PAGE as usize;

/// Magic; 64-bit, little-endian, version 1, no particular operating system.
const IDENTIFICATION: [u8; 16] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ET_EXEC: u16 = 2;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
const FILE_HEADER_SIZE: u64 = 64;
const PROGRAM_HEADER_SIZE: u16 = 56;
const SECTION_HEADER_SIZE: u16 = 64;

#[cfg(test)]
mod tests {
    use object::{Object, ObjectSegment};

    use super::*;

    #[test]
    fn a_foreign_reader_sees_one_segment_that_ends_with_the_file() {
        let loaded: Vec<u8> = (0..0x3000_u32).map(|i| i as u8).collect();
        let mut file = vec![0; FILE_OFFSET];
        file.extend(&loaded);
        write_headers(&mut file, IMAGE_BASE + 0x20);
        let elf = object::File::parse(&*file).unwrap();
        let segments: Vec<_> = elf.segments().collect();
        assert_eq!(elf.entry(), IMAGE_BASE + 0x20);
        assert_eq!(segments.len(), 1);
        assert_eq!((segments[0].address(), segments[0].size()), (IMAGE_BASE, 0x3000));
        assert_eq!(segments[0].file_range(), (0x1000, 0x3000));
        assert_eq!(segments[0].data().unwrap(), loaded);
        assert_eq!(file.len(), 0x4000);
        assert_eq!(elf.sections().count(), 0);
    }
}
