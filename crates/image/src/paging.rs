//! Four-level page tables in every format an image contains.
//!
//! One mapper, three encodings: the tables of a processor's own paging (subjects and kernel), AMD's nested tables and
//! Intel's extended page tables. All have 512 entries of 8 bytes per page and the same division of an address.
//!
//! The tables of one set are contiguous, root first, and refer to each other by the address they are made for. No entry
//! needs to be written by a processor: accessed and dirty bits are set from the start.

use palisade_abi::layout::{LARGE_PAGE, PAGE};
use palisade_policy::plan::Rights;

/// How an entry is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A processor's own paging; pages belong to the supervisor (AMD manual, volume 2, 5.3).
    Native,
    /// AMD nested paging: every access of a guest is a user access there (AMD manual, volume 2, 15.25.5).
    AmdNested,
    /// Intel extended page tables (Intel manual, volume 3, "EPT translation mechanism").
    IntelExtended,
    /// What AMD's IOMMU translates for a device (AMD I/O virtualization specification 48882, 2.2.3).
    AmdDevice,
    /// What Intel's translates: second-level tables (VT-d specification, 3.7 and 9.8).
    IntelDevice,
}

/// The largest page that a mapping may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Largest {
    Page,
    LargePage,
}

/// How memory behind a mapping is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caching {
    WriteBack,
    /// Device registers.
    Uncached,
}

/// One mapping: `size` bytes at `from` are found at `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) size: u64,
    pub(crate) rights: Rights,
    pub(crate) caching: Caching,
}

/// Why something cannot be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapError {
    /// This address is mapped already.
    Overlap(u64),
    /// This address or the size is no multiple of a page, or too large for four levels.
    Range(u64),
}

/// A set of tables.
pub(crate) struct Tables {
    format: Format,
    largest: Largest,
    base: u64,
    tables: Vec<[u64; ENTRIES]>,
}

impl Tables {
    /// Makes a set that maps nothing yet; its tables lie from `base` on, in the address space that the entries refer to.
    pub(crate) fn new(format: Format, largest: Largest, base: u64) -> Self {
        Self { format, largest, base, tables: vec![[format.absent(); ENTRIES]] }
    }

    /// Adds a mapping; uses large pages where both addresses and the size allow.
    pub(crate) fn map(&mut self, mapping: &Mapping) -> Result<(), MapError> {
        let Mapping { from, to, size, .. } = *mapping;
        let range_fits = from.checked_add(size).is_some_and(|end| end <= ADDRESSES)
            && to.checked_add(size).is_some_and(|end| end <= PHYSICAL_ADDRESSES);
        if !range_fits || !(from | to | size).is_multiple_of(PAGE) {
            return Err(MapError::Range(from));
        }
        let mut done = 0;
        while done < size {
            let large = self.largest == Largest::LargePage
                && (from + done).is_multiple_of(LARGE_PAGE)
                && (to + done).is_multiple_of(LARGE_PAGE)
                && size - done >= LARGE_PAGE;
            let level = if large { Level::LargePage } else { Level::Page };
            let entry = self.format.leaf(to + done, level, mapping.rights, mapping.caching);
            let absent = self.format.absent();
            let slot = self.slot(from + done, level)?;
            if *slot != absent {
                return Err(MapError::Overlap(from + done));
            }
            *slot = entry;
            done += if large { LARGE_PAGE } else { PAGE };
        }
        Ok(())
    }

    /// Bytes of all tables.
    pub(crate) fn size(&self) -> u64 {
        self.tables.len() as u64 * PAGE
    }

    /// The tables as they lie in memory.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.tables.iter().flatten().flat_map(|entry| entry.to_le_bytes()).collect()
    }

    /// The entry that ends the walk for `address` at `level`; makes the tables on the way.
    fn slot(&mut self, address: u64, level: Level) -> Result<&mut u64, MapError> {
        let mut table = 0;
        for step in (level as u32 + 1..=TOP_LEVEL).rev() {
            let index = index(address, step);
            let entry = self.tables[table][index];
            table = if entry == self.format.absent() {
                let next = self.tables.len();
                self.tables.push([self.format.absent(); ENTRIES]);
                self.tables[table][index] = self.format.table(self.base + next as u64 * PAGE, step - 1);
                next
            } else if step == Level::LargePage as u32 && self.format.is_large(entry) {
                return Err(MapError::Overlap(address));
            } else {
                ((entry & ADDRESS) - self.base) as usize / PAGE as usize
            };
        }
        Ok(&mut self.tables[table][index(address, level as u32)])
    }
}

impl Format {
    /// An entry that refers to nothing.
    const fn absent(self) -> u64 {
        match self {
            Self::Native | Self::AmdNested | Self::IntelExtended | Self::IntelDevice => 0,
            // Hardware looks at nothing but the present bit. QEMU does not report accesses that end at an entry of zero.
            Self::AmdDevice => AMD_DEVICE_ABSENT,
        }
    }

    /// An entry that refers to a table of this level. It grants everything: the last entry of a walk decides.
    fn table(self, address: u64, level: u32) -> u64 {
        address
            | match self {
                Self::Native => PRESENT | WRITE | ACCESSED,
                Self::AmdNested => PRESENT | WRITE | USER | ACCESSED,
                Self::IntelExtended => EPT_READ | EPT_WRITE | EPT_EXECUTE,
                Self::AmdDevice => {
                    PRESENT | u64::from(level) << AMD_NEXT_LEVEL | AMD_DEVICE_READ | AMD_DEVICE_WRITE
                }
                Self::IntelDevice => EPT_READ | EPT_WRITE,
            }
    }

    /// An entry that refers to a page.
    fn leaf(self, address: u64, level: Level, rights: Rights, caching: Caching) -> u64 {
        // To AMD's IOMMU, a page is large if its entry has no next level.
        let large = if level == Level::LargePage && self != Self::AmdDevice { LARGE } else { 0 };
        let writable = rights == Rights::ReadWrite;
        let permissions = match self {
            Self::Native => PRESENT | ACCESSED | DIRTY | native_rights(rights) | native_caching(caching),
            Self::AmdNested => {
                PRESENT | USER | ACCESSED | DIRTY | native_rights(rights) | native_caching(caching)
            }
            Self::IntelExtended => {
                EPT_READ
                    | match rights {
                        Rights::Read => 0,
                        Rights::ReadWrite => EPT_WRITE,
                        Rights::ReadExecute => EPT_EXECUTE,
                    }
                    | match caching {
                        Caching::WriteBack => EPT_WRITE_BACK,
                        Caching::Uncached => EPT_UNCACHED,
                    }
            }
            // Devices execute nothing, and whether their accesses are coherent is not for the tables to say.
            Self::AmdDevice => PRESENT | AMD_DEVICE_READ | if writable { AMD_DEVICE_WRITE } else { 0 },
            Self::IntelDevice => EPT_READ | if writable { EPT_WRITE } else { 0 },
        };
        address | large | permissions
    }

    /// Whether an entry of the level that can have large pages refers to one.
    fn is_large(self, entry: u64) -> bool {
        match self {
            Self::AmdDevice => entry >> AMD_NEXT_LEVEL & 7 == 0,
            // The same bit in all the others.
            _ => entry & LARGE != 0,
        }
    }
}

const fn native_rights(rights: Rights) -> u64 {
    match rights {
        Rights::Read => NO_EXECUTE,
        Rights::ReadWrite => NO_EXECUTE | WRITE,
        Rights::ReadExecute => 0,
    }
}

/// Uncached is entry 3 of the page attribute table, which holds "uncacheable" after reset.
const fn native_caching(caching: Caching) -> u64 {
    match caching {
        Caching::WriteBack => 0,
        Caching::Uncached => CACHE_DISABLE | WRITE_THROUGH,
    }
}

/// Levels at which a walk can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Level {
    Page = 1,
    LargePage = 2,
}

const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) as usize & (ENTRIES - 1)
}

const ENTRIES: usize = 512;
const TOP_LEVEL: u32 = 4;
/// Addresses four levels can translate without sign extension.
const ADDRESSES: u64 = 1 << 47;
const PHYSICAL_ADDRESSES: u64 = 1 << 52;
/// The bits of an entry that hold an address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

// Native and AMD nested entries (AMD manual, volume 2, 5.4).
const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

// Extended page table entries; bits 5:3 of a leaf are its memory type.
const EPT_READ: u64 = 1 << 0;
const EPT_WRITE: u64 = 1 << 1;
const EPT_EXECUTE: u64 = 1 << 2;
const EPT_UNCACHED: u64 = 0 << 3;
const EPT_WRITE_BACK: u64 = 6 << 3;

// Entries of AMD's IOMMU, which has the present bit and the address where the others have them.
const AMD_NEXT_LEVEL: u32 = 9;
const AMD_DEVICE_ABSENT: u64 = 1 << AMD_NEXT_LEVEL;
const AMD_DEVICE_READ: u64 = 1 << 61;
const AMD_DEVICE_WRITE: u64 = 1 << 62;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a walk finds.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Found {
        pub(crate) to: u64,
        pub(crate) rights: Rights,
        pub(crate) caching: Caching,
        pub(crate) large: bool,
    }

    /// Walks tables in bytes as the processor does, and insists on the bits each format must have.
    pub(crate) fn translate(format: Format, bytes: &[u8], base: u64, address: u64) -> Option<Found> {
        let mut table = 0;
        for level in (1..=TOP_LEVEL).rev() {
            let at = table + index(address, level) * 8;
            let entry = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            if entry == 0 || format == Format::AmdDevice && entry & 1 == 0 {
                return None;
            }
            let has_large_bit = match format {
                Format::AmdDevice => entry & 7 << 9 == 0,
                _ => entry & 1 << 7 != 0,
            };
            let large = level == 2 && has_large_bit;
            if level == 1 || large {
                let size = if large { LARGE_PAGE } else { PAGE };
                assert!((entry & ADDRESS).is_multiple_of(size));
                let (rights, caching) = decode(format, entry);
                return Some(Found { to: (entry & ADDRESS) + address % size, rights, caching, large });
            }
            let flags = entry & !ADDRESS;
            assert_eq!(
                flags,
                match format {
                    Format::Native => 0x23,
                    Format::AmdNested => 0x27,
                    Format::IntelExtended => 7,
                    Format::AmdDevice => 1 | u64::from(level - 1) << 9 | 3 << 61,
                    Format::IntelDevice => 3,
                }
            );
            table = ((entry & ADDRESS) - base) as usize;
        }
        None
    }

    fn decode(format: Format, entry: u64) -> (Rights, Caching) {
        let flags = entry & !ADDRESS & !(1 << 7);
        let of_device = match format {
            Format::AmdDevice => Some((flags == 1 | 1 << 61, flags == 1 | 3 << 61)),
            Format::IntelDevice => Some((flags == 1, flags == 3)),
            Format::Native | Format::AmdNested | Format::IntelExtended => None,
        };
        match of_device {
            Some((true, _)) => return (Rights::Read, Caching::WriteBack),
            Some((_, true)) => return (Rights::ReadWrite, Caching::WriteBack),
            Some(_) => panic!("flags {flags:#x}"),
            None => {}
        }
        if format == Format::IntelExtended {
            let rights = match entry & 7 {
                1 => Rights::Read,
                3 => Rights::ReadWrite,
                5 => Rights::ReadExecute,
                other => panic!("rights {other}"),
            };
            let caching = match entry >> 3 & 7 {
                6 => Caching::WriteBack,
                0 => Caching::Uncached,
                other => panic!("memory type {other}"),
            };
            assert_eq!(entry >> 52, 0);
            return (rights, caching);
        }
        assert_eq!(entry & 0x61, 0x61, "present, accessed, dirty");
        assert_eq!(entry & 4 != 0, format == Format::AmdNested, "user");
        let rights = match (entry >> 63 != 0, entry & 2 != 0) {
            (true, false) => Rights::Read,
            (true, true) => Rights::ReadWrite,
            (false, false) => Rights::ReadExecute,
            (false, true) => panic!("writable and executable"),
        };
        let caching = match entry & 0x18 {
            0 => Caching::WriteBack,
            0x18 => Caching::Uncached,
            other => panic!("caching {other:#x}"),
        };
        (rights, caching)
    }

    const FORMATS: [Format; 3] = [Format::Native, Format::AmdNested, Format::IntelExtended];

    fn ram(from: u64, to: u64, size: u64) -> Mapping {
        Mapping { from, to, size, rights: Rights::ReadWrite, caching: Caching::WriteBack }
    }

    #[test]
    fn large_pages_are_used_exactly_where_both_addresses_allow() {
        for format in FORMATS {
            let mut tables = Tables::new(format, Largest::LargePage, 0x5000);
            tables.map(&ram(0x1f_f000, 0x7f_f000, 0x40_2000)).unwrap();
            tables.map(&ram(0x4000_0000, 0x1000, LARGE_PAGE)).unwrap();
            let bytes = tables.to_bytes();
            let large = |address| translate(format, &bytes, 0x5000, address).unwrap().large;
            assert!(!large(0x1f_f000) && large(0x20_0000) && large(0x5f_ffff) && !large(0x60_0000));
            assert!(!large(0x4000_0000), "the physical address is not aligned");
            assert_eq!(translate(format, &bytes, 0x5000, 0x60_1000), None);
        }
    }

    #[test]
    fn what_a_device_reaches_has_pages_and_large_pages_and_says_nothing_of_caches() {
        for format in [Format::AmdDevice, Format::IntelDevice] {
            let mut tables = Tables::new(format, Largest::LargePage, 0x5000);
            tables.map(&ram(0xf_a000_0000, 0x40_0000, 2 * LARGE_PAGE + PAGE)).unwrap();
            tables.map(&Mapping { rights: Rights::Read, ..ram(0x1000, 0x9000, PAGE) }).unwrap();
            let bytes = tables.to_bytes();
            let found = |address| translate(format, &bytes, 0x5000, address);
            let large = found(0xf_a020_0007).unwrap();
            assert_eq!((large.to, large.rights, large.large), (0x60_0007, Rights::ReadWrite, true));
            let small = found(0xf_a040_0000).unwrap();
            assert_eq!((small.to, small.rights, small.large), (0x80_0000, Rights::ReadWrite, false));
            assert_eq!(found(0x1000).map(|f| (f.to, f.rights)), Some((0x9000, Rights::Read)));
            assert!(
                [0, 0x2000, 0xf_9fff_f000, 0xf_a040_1000, 1 << 46].into_iter().all(|a| found(a).is_none())
            );
            assert_eq!(tables.map(&ram(0xf_a010_0000, 0, PAGE)), Err(MapError::Overlap(0xf_a010_0000)));
        }
    }

    #[test]
    fn small_pages_can_be_asked_for() {
        let mut tables = Tables::new(Format::Native, Largest::Page, 0);
        tables.map(&ram(0x20_0000, 0x20_0000, LARGE_PAGE)).unwrap();
        assert!(!translate(Format::Native, &tables.to_bytes(), 0, 0x20_0000).unwrap().large);
    }

    #[test]
    fn nothing_is_mapped_twice() {
        let mut tables = Tables::new(Format::Native, Largest::LargePage, 0);
        tables.map(&ram(0x20_0000, 0, LARGE_PAGE)).unwrap();
        tables.map(&ram(0x40_1000, 0, PAGE)).unwrap();
        assert_eq!(tables.map(&ram(0x20_1000, 0, PAGE)), Err(MapError::Overlap(0x20_1000)));
        assert_eq!(tables.map(&ram(0x20_0000, 0, LARGE_PAGE)), Err(MapError::Overlap(0x20_0000)));
        assert_eq!(tables.map(&ram(0x40_0000, 0, LARGE_PAGE)), Err(MapError::Overlap(0x40_0000)));
    }

    #[test]
    fn what_four_levels_cannot_translate_is_refused() {
        let mut tables = Tables::new(Format::IntelExtended, Largest::LargePage, 0);
        for (from, to, size) in [
            (0x800, 0, PAGE),
            (0, 0x800, PAGE),
            (0, 0, 0x800),
            (ADDRESSES, 0, PAGE),
            (0, PHYSICAL_ADDRESSES, PAGE),
            (0u64.wrapping_sub(PAGE), 0, 2 * PAGE),
        ] {
            assert_eq!(tables.map(&ram(from, to, size)), Err(MapError::Range(from)));
        }
    }

    fn any_mappings() -> impl Strategy<Value = Vec<Mapping>> {
        let gap = prop_oneof![1..1600_u64, Just(512), Just(1 << 18)];
        let piece = (gap, 1..1600_u64, 0..4096_u64, 0..3_u8, any::<bool>(), any::<bool>());
        prop::collection::vec(piece, 1..8).prop_map(|pieces| {
            let mut next = 0;
            let mut mappings = Vec::new();
            for (gap, pages, to, rights, congruent, uncached) in pieces {
                let from = next + gap * PAGE;
                let to = to * LARGE_PAGE + if congruent { from % LARGE_PAGE } else { gap * PAGE };
                let rights = [Rights::Read, Rights::ReadWrite, Rights::ReadExecute][usize::from(rights)];
                let caching = if uncached { Caching::Uncached } else { Caching::WriteBack };
                mappings.push(Mapping { from, to, size: pages * PAGE, rights, caching });
                next = from + pages * PAGE;
            }
            mappings
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_page_translates_to_its_own_with_its_own_rights(mappings in any_mappings()) {
            for format in FORMATS {
                let base = 0x7_0000_0000;
                let mut tables = Tables::new(format, Largest::LargePage, base);
                for mapping in &mappings {
                    tables.map(mapping).unwrap();
                }
                let bytes = tables.to_bytes();
                prop_assert_eq!(bytes.len() as u64, tables.size());
                for m in &mappings {
                    prop_assert_eq!(translate(format, &bytes, base, m.from - 1), None);
                    for offset in (0..m.size).step_by(PAGE as usize) {
                        let found = translate(format, &bytes, base, m.from + offset + 7).unwrap();
                        prop_assert_eq!(found.to, m.to + offset + 7);
                        prop_assert_eq!((found.rights, found.caching), (m.rights, m.caching));
                    }
                    prop_assert!(m.from + m.size > ADDRESSES
                        || translate(format, &bytes, base, m.from + m.size).is_none());
                }
            }
        }
    }
}
