//! Whether boot loaders will find the kernel's headers, and load what follows the kernel.
//!
//! QEMU reads the Multiboot 1 header, GRUB on the disc the Multiboot 2 header. Both must give zero as the end addresses of
//! what is loaded: then a loader takes everything up to the end of the file, and the same kernel fits every image.

use palisade_abi::layout::IMAGE_BASE;

use crate::elf::FILE_OFFSET;

/// Checks the headers in the kernel's bytes, which begin at [`FILE_OFFSET`] in the file.
pub(crate) fn check(kernel: &[u8]) -> Result<(), &'static str> {
    let words: Vec<u32> =
        kernel.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
    version_1(&words)?;
    version_2(&words)
}

/// Multiboot specification 0.6.96, section 3.1.
fn version_1(words: &[u32]) -> Result<(), &'static str> {
    let at =
        find(words, MAGIC_1, 1, 3, SEARCHED_1).ok_or("it has no Multiboot 1 header in its first 4 KiB")?;
    let header = words.get(at..at + 8).ok_or("its Multiboot 1 header is cut off")?;
    if header[1] & HAS_ADDRESSES == 0 || !loads_everything(&header[3..7], at) {
        return Err("its Multiboot 1 header does not ask for the whole file to be loaded at 1 MiB");
    }
    Ok(())
}

/// Multiboot 2 specification 2.0, section 3.1. Without an address tag a loader goes by the image's ELF header, which is as good.
fn version_2(words: &[u32]) -> Result<(), &'static str> {
    let at =
        find(words, MAGIC_2, 2, 4, SEARCHED_2).ok_or("it has no Multiboot 2 header in its first 28 KiB")?;
    let mut tags = &words[at + 4..];
    loop {
        let [kind, size, value @ ..] = tags else { return Err("its Multiboot 2 header is cut off") };
        match kind & 0xffff {
            TAG_END => return Ok(()),
            TAG_ADDRESSES if !value.get(..4).is_some_and(|value| loads_everything(value, at)) => {
                return Err("its Multiboot 2 header does not ask for the whole file to be loaded at 1 MiB");
            }
            _ => {}
        }
        let next = (*size as usize).max(8).next_multiple_of(8) / 4;
        tags = tags.get(next..).unwrap_or(&[]);
    }
}

/// The index of the first word of a header, whose first `summed` words add up to zero.
fn find(words: &[u32], magic: u32, alignment: usize, summed: usize, searched: usize) -> Option<usize> {
    let candidates = (0..words.len().min(searched / 4)).step_by(alignment);
    candidates.into_iter().find(|at| {
        let header = words.get(*at..at + summed).unwrap_or(&[]);
        header.first() == Some(&magic) && header.iter().fold(0_u32, |sum, word| sum.wrapping_add(*word)) == 0
    })
}

/// The address fields of both versions: the header's own address, where loading begins, where it ends, the end of the
/// memory that is cleared behind it. Zero means the end of the file, and nothing cleared.
fn loads_everything(fields: &[u32], header: usize) -> bool {
    let own_address = IMAGE_BASE + 4 * header as u64;
    fields.iter().map(|field| u64::from(*field)).eq([own_address, IMAGE_BASE, 0, 0])
}

const MAGIC_1: u32 = 0x1bad_b002;
/// How far loaders search: 8 and 32 KiB of the file, which begins with the image's ELF header.
const SEARCHED_1: usize = 8192 - FILE_OFFSET;
const SEARCHED_2: usize = 32768 - FILE_OFFSET;
/// Flag 16 of version 1: the address fields are valid.
const HAS_ADDRESSES: u32 = 1 << 16;
const MAGIC_2: u32 = 0xe852_50d6;
const TAG_END: u32 = 0;
const TAG_ADDRESSES: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::boot_headers;

    fn problem(change: impl FnOnce(&mut Vec<u8>)) -> &'static str {
        let mut headers = boot_headers();
        change(&mut headers);
        check(&headers).unwrap_err()
    }

    #[test]
    fn both_headers_are_found_where_loaders_look() {
        assert_eq!(check(&boot_headers()), Ok(()));
        assert!(problem(|h| h[8] ^= 1).starts_with("it has no Multiboot 1"));
        assert!(problem(|h| drop(h.splice(..0, vec![0; 4096]))).starts_with("it has no Multiboot 1"));
        assert!(problem(|h| h[32] ^= 1).starts_with("it has no Multiboot 2"));
        assert!(problem(|h| h.truncate(32)).starts_with("it has no Multiboot 2"));
        assert!(problem(|h| h.truncate(72)).starts_with("its Multiboot 2 header is cut off"));
    }

    #[test]
    fn nothing_but_the_whole_file_is_accepted() {
        for field in 12..28 {
            assert!(problem(|h| h[field] ^= 1).starts_with("its Multiboot 1 header does not"), "{field}");
        }
        for field in 56..72 {
            assert!(problem(|h| h[field] ^= 1).starts_with("its Multiboot 2 header does not"), "{field}");
        }
    }

    #[test]
    fn a_tag_without_a_size_does_not_stop_the_check() {
        assert!(problem(|h| h[72..80].fill(0xff)).contains("cut off"));
        assert_eq!(
            check(&[boot_headers()[..48].to_vec(), vec![9, 0, 0, 0, 0, 0, 0, 0], vec![0; 8]].concat()),
            Ok(())
        );
    }
}
