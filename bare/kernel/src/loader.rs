//! The loader's map of available memory: Multiboot 1 (specification 0.6.96, section 3.3) and Multiboot 2 (2.0, section 3.6.8).

use core::ptr;

use crate::arch::boot::{MULTIBOOT1_LOADED, MULTIBOOT2_LOADED};

/// The loader's memory map, read where it lies.
#[derive(Clone, Copy)]
pub(crate) struct MemoryMap {
    format: Format,
    /// Next entry.
    at: u64,
    end: u64,
}

#[derive(Clone, Copy)]
enum Format {
    /// Each entry begins with its size, which does not count itself.
    Multiboot1,
    /// All entries have this size.
    Multiboot2 { entry_size: u32 },
}

/// Why there is no memory map.
pub(crate) enum NoMap {
    /// The loader speaks neither protocol.
    UnknownLoader,
    /// The loader gave none.
    Missing,
}

impl MemoryMap {
    /// The map that the loader described by `magic` left at `information`.
    ///
    /// # Safety
    /// `magic` and `information` are what the loader left in EAX and EBX, and nothing was overwritten since.
    pub(crate) unsafe fn of_loader(magic: u32, information: u32) -> Result<Self, NoMap> {
        let base = u64::from(information);
        match magic {
            // SAFETY: the loader's information, of 116 bytes, lies at `base`.
            MULTIBOOT1_LOADED => unsafe {
                if read_u32(base) & 1 << 6 == 0 {
                    return Err(NoMap::Missing);
                }
                let (length, at) = (u64::from(read_u32(base + 44)), u64::from(read_u32(base + 48)));
                Ok(Self { format: Format::Multiboot1, at, end: at + length })
            },
            // SAFETY: tags follow each other from `base + 8` to the total size that `base` begins with.
            MULTIBOOT2_LOADED => unsafe {
                let end = base + u64::from(read_u32(base));
                let mut tag = base + 8;
                while tag + 16 <= end {
                    let (kind, size) = (read_u32(tag), u64::from(read_u32(tag + 4)));
                    if kind == 6 {
                        let entry_size = read_u32(tag + 8);
                        return Ok(Self {
                            format: Format::Multiboot2 { entry_size },
                            at: tag + 16,
                            end: end.min(tag + size),
                        });
                    }
                    tag += size.max(8).next_multiple_of(8);
                }
                Err(NoMap::Missing)
            },
            _ => Err(NoMap::UnknownLoader),
        }
    }
}

/// The available ranges: first byte, and first byte after.
impl Iterator for MemoryMap {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        while self.at + 24 <= self.end {
            let entry = self.at;
            // SAFETY: the entry lies inside the map that the loader described.
            let (start, length, kind) = unsafe {
                match self.format {
                    Format::Multiboot1 => {
                        self.at += u64::from(read_u32(entry)) + 4;
                        (read_u64(entry + 4), read_u64(entry + 12), read_u32(entry + 20))
                    }
                    Format::Multiboot2 { entry_size } => {
                        self.at += u64::from(entry_size.max(24));
                        (read_u64(entry), read_u64(entry + 8), read_u32(entry + 16))
                    }
                }
            };
            if kind == AVAILABLE {
                return Some((start, start.saturating_add(length)));
            }
        }
        None
    }
}

/// # Safety
/// Four readable bytes lie at `address`, below 4 GiB.
unsafe fn read_u32(address: u64) -> u32 {
    // SAFETY: promised by the caller.
    unsafe { ptr::read_unaligned(address as *const u32) }
}

/// # Safety
/// Eight readable bytes lie at `address`, below 4 GiB.
unsafe fn read_u64(address: u64) -> u64 {
    // SAFETY: promised by the caller.
    unsafe { ptr::read_unaligned(address as *const u64) }
}

/// Kind of a range of memory that may be used.
const AVAILABLE: u32 = 1;
