//! Decodes the six kinds of page tables.
//!
//! Formats: AMD64 Architecture Programmer's Manual volume 2, sections 5.3 (long-mode tables) and 15.25 (nested ones);
//! Intel Software Developer's Manual volume 3, section "The Extended Page Table Mechanism"; AMD I/O virtualization
//! specification (48882), 2.2.3; Intel VT-d specification, 9.8.

use std::collections::BTreeMap;

use palisade_abi::layout::{LARGE_PAGE, PAGE};

use super::bytes::u64_at;
use super::file::Image;
use super::rules::{Findings, TABLE_BITS, TABLES_ARE_TREES, TABLES_IN_IMAGE};
use super::space::{Access, Piece, Space};

/// The kinds of page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The kernel's own.
    Kernel,
    /// A subject's own: it leads to guest-physical addresses.
    Guest,
    /// AMD nested tables.
    Npt,
    /// Intel extended page tables.
    Ept,
    /// What AMD's IOMMU translates for a device.
    AmdDevice,
    /// What Intel's IOMMU translates for a device.
    IntelDevice,
}

/// The pages that are page tables, and whose.
#[derive(Debug, Default)]
pub(super) struct TablePages {
    pages: BTreeMap<u64, String>,
}

impl TablePages {
    /// The content of the page at `location`, which is a table of `owner` from now on. It is none if it is a table already, or
    /// lies where no table may be: outside the image or before `first`.
    pub(super) fn claim<'a>(
        &mut self,
        image: Image<'a>,
        first: u64,
        (location, phys): (u64, Option<u64>),
        owner: &str,
        findings: &mut Findings,
    ) -> Option<&'a [u8]> {
        let phys = phys.filter(|p| *p >= first && p.is_multiple_of(PAGE));
        let Some((phys, content)) = phys.and_then(|p| Some((p, image.page(p)?))) else {
            findings.add(&TABLES_IN_IMAGE, || {
                format!("{owner}: the table at {location:#x} is not in the image's part for tables")
            });
            return None;
        };
        if let Some(other) = self.pages.get(&phys) {
            findings.add(&TABLES_ARE_TREES, || {
                format!("{owner}: the table at {phys:#x} is used already: {other}")
            });
            return None;
        }
        self.pages.insert(phys, owner.to_owned());
        Some(content)
    }

    /// Every page with its owner.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.pages.iter().map(|(phys, owner)| (*phys, owner.as_str()))
    }
}

/// A tree of tables in the image.
pub(super) struct Tree<'a> {
    pub(super) image: Image<'a>,
    /// First address in the image that tables may have: kernel and plan lie below.
    pub(super) first: u64,
    pub(super) format: Format,
    /// Whose, for messages: `hello: AMD nested tables`.
    pub(super) owner: String,
    /// How the tables find each other: a subject's own tables lie at guest-physical addresses.
    pub(super) nested: Option<&'a Space>,
}

/// What a tree of tables says.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) space: Space,
    /// The tables as the format names them: guest-physical address and physical address.
    pub(super) tables: Vec<(u64, u64)>,
}

impl Tree<'_> {
    /// Walks the tree. No page is read twice, in this tree or any other one, so all walks together end after at most as
    /// many steps as the image has bytes, whatever the bytes say.
    pub(super) fn walk(&self, root: u64, pages: &mut TablePages, findings: &mut Findings) -> Walked {
        let mut walk = Walk { tree: self, pages, findings, walked: Walked::default(), full: false };
        walk.table(root, LEVELS, 0, Access { write: true, execute: true, uncached: false });
        walk.walked
    }
}

struct Walk<'t, 'a> {
    tree: &'t Tree<'a>,
    pages: &'t mut TablePages,
    findings: &'t mut Findings,
    walked: Walked,
    full: bool,
}

impl Walk<'_, '_> {
    fn table(&mut self, location: u64, level: u32, base: u64, above: Access) {
        let phys = match self.tree.nested {
            None => Some(location),
            Some(nested) => nested.translate(location),
        };
        let Tree { image, first, owner, .. } = self.tree;
        let content = self.pages.claim(*image, *first, (location, phys), owner, self.findings);
        let Some((phys, content)) = phys.zip(content) else { return };
        self.walked.tables.push((location, phys));
        for number in 0..ENTRIES {
            let entry = u64_at(content, number * 8).unwrap_or(0);
            if entry != 0 && !self.full {
                self.entry(entry, level, base + number as u64 * span(level), above);
            }
        }
    }

    fn entry(&mut self, entry: u64, level: u32, address: u64, above: Access) {
        let owner = &self.tree.owner;
        let bits = bits(self.tree.format, level);
        if entry & bits.present == 0 {
            self.findings.require(entry == bits.absent, &TABLE_BITS, || {
                format!("{owner}: the entry for {address:#x} is absent but not empty: {entry:#x}")
            });
            return;
        }
        let large = level > 1
            && match self.tree.format {
                Format::AmdDevice => entry & AMD_NEXT_LEVEL == 0,
                _ => entry & LARGE != 0,
            };
        let page = large || level == 1;
        let (required, allowed) =
            if page { (bits.page, bits.page_allowed) } else { (bits.table, bits.table_allowed) };
        let dirty = if page && entry & WRITE != 0 { bits.dirty } else { 0 };
        let size = if large && self.tree.format != Format::AmdDevice { LARGE } else { 0 };
        let stray = entry & !ADDRESS & !(required | allowed | size);
        let out_of_place = large && (level != 2 || !(entry & ADDRESS).is_multiple_of(LARGE_PAGE));
        let half_cached = match self.tree.format {
            Format::Ept => page && !matches!(entry & EPT_MEMORY_TYPE, EPT_UNCACHED | EPT_WRITE_BACK),
            Format::Kernel | Format::Guest | Format::Npt => {
                matches!(entry & allowed & UNCACHED, WRITE_THROUGH | NO_CACHE)
            }
            Format::AmdDevice | Format::IntelDevice => false,
        };
        if entry & (required | dirty) != required | dirty || stray != 0 || out_of_place || half_cached {
            self.findings.add(&TABLE_BITS, || {
                format!("{owner}: the level-{level} entry for {address:#x} has wrong bits: {entry:#x}")
            });
        }
        if large && level != 2 {
            return;
        }
        let own = access(entry, self.tree.format);
        let access = Access {
            write: above.write && own.write,
            execute: above.execute && own.execute,
            uncached: own.uncached,
        };
        if page {
            let piece = Piece { address, phys: entry & ADDRESS, size: span(level), access };
            if !self.walked.space.push(piece) {
                self.full = true;
                self.findings.add(&TABLES_ARE_TREES, || format!("{owner}: too many separate pieces"));
            }
        } else {
            self.table(entry & ADDRESS, level - 1, address, access);
        }
    }
}

/// What the entries of a format look like, besides the address and the size bit.
struct Bits {
    /// At least one is set in an entry that is present.
    present: u64,
    /// An entry that is not present.
    absent: u64,
    /// All set in an entry that refers to a table.
    table: u64,
    /// May be set there too.
    table_allowed: u64,
    /// All set in an entry for a page.
    page: u64,
    /// May be set there too.
    page_allowed: u64,
    /// Set in an entry for a writable page.
    dirty: u64,
}

const fn bits(format: Format, level: u32) -> Bits {
    match format {
        Format::Kernel => Bits {
            present: PRESENT,
            absent: 0,
            table: PRESENT,
            table_allowed: WRITE | ACCESSED | NO_EXECUTE,
            page: PRESENT,
            page_allowed: WRITE | ACCESSED | DIRTY | NO_EXECUTE | UNCACHED,
            dirty: 0,
        },
        Format::Guest => Bits {
            present: PRESENT,
            absent: 0,
            table: PRESENT | ACCESSED,
            table_allowed: WRITE | NO_EXECUTE,
            page: PRESENT | ACCESSED,
            page_allowed: WRITE | DIRTY | NO_EXECUTE | UNCACHED,
            dirty: DIRTY,
        },
        // Nested tables are walked as if from user mode: every level needs the user bit (APM volume 2, 15.25.5).
        Format::Npt => Bits {
            present: PRESENT,
            absent: 0,
            table: PRESENT | ACCESSED | USER,
            table_allowed: WRITE | NO_EXECUTE,
            page: PRESENT | ACCESSED | USER,
            page_allowed: WRITE | DIRTY | NO_EXECUTE | UNCACHED,
            dirty: DIRTY,
        },
        Format::Ept => Bits {
            present: EPT_READ | EPT_WRITE | EPT_EXECUTE,
            absent: 0,
            table: EPT_READ,
            table_allowed: EPT_WRITE | EPT_EXECUTE,
            page: EPT_READ,
            page_allowed: EPT_WRITE | EPT_EXECUTE | EPT_WRITE_BACK,
            dirty: 0,
        },
        // An absent entry has a next level nevertheless: QEMU reports no access that ends at a zero.
        Format::AmdDevice => Bits {
            present: PRESENT,
            absent: 1 << 9,
            table: PRESENT | AMD_READ | AMD_WRITE | (level as u64 - 1) << 9,
            table_allowed: 0,
            page: PRESENT | AMD_READ,
            page_allowed: AMD_WRITE,
            dirty: 0,
        },
        Format::IntelDevice => Bits {
            present: EPT_READ | EPT_WRITE,
            absent: 0,
            table: EPT_READ | EPT_WRITE,
            table_allowed: 0,
            page: EPT_READ,
            page_allowed: EPT_WRITE,
            dirty: 0,
        },
    }
}

const fn access(entry: u64, format: Format) -> Access {
    match format {
        Format::Ept => Access {
            write: entry & EPT_WRITE != 0,
            execute: entry & EPT_EXECUTE != 0,
            uncached: entry & EPT_MEMORY_TYPE == EPT_UNCACHED,
        },
        Format::AmdDevice => Access { write: entry & AMD_WRITE != 0, ..Access::READ },
        Format::IntelDevice => Access { write: entry & EPT_WRITE != 0, ..Access::READ },
        Format::Kernel | Format::Guest | Format::Npt => Access {
            write: entry & WRITE != 0,
            execute: entry & NO_EXECUTE == 0,
            uncached: entry & UNCACHED == UNCACHED,
        },
    }
}

/// Bytes that one entry of a table at this level stands for.
const fn span(level: u32) -> u64 {
    PAGE << (9 * (level - 1))
}

const LEVELS: u32 = 4;
const ENTRIES: usize = 512;
/// Bits 12 to 51.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE: u64 = 1 << 7;

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const WRITE_THROUGH: u64 = 1 << 3;
const NO_CACHE: u64 = 1 << 4;
const UNCACHED: u64 = WRITE_THROUGH | NO_CACHE;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const NO_EXECUTE: u64 = 1 << 63;

const EPT_READ: u64 = 1 << 0;
const EPT_WRITE: u64 = 1 << 1;
const EPT_EXECUTE: u64 = 1 << 2;
const EPT_MEMORY_TYPE: u64 = 7 << 3;
const EPT_UNCACHED: u64 = 0 << 3;
const EPT_WRITE_BACK: u64 = 6 << 3;

const AMD_NEXT_LEVEL: u64 = 7 << 9;
const AMD_READ: u64 = 1 << 61;
const AMD_WRITE: u64 = 1 << 62;
