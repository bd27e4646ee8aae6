//! Tools to damage an image in one precise place and keep the rest of it consistent.

use std::mem::{offset_of, size_of};

use palisade_abi::layout::{IMAGE_BASE, LARGE_PAGE, PAGE, SUBJECT_INFO, SUBJECT_INFO_SIZE};
use palisade_abi::plan::{
    CHECKSUM_START, Cpu, CpuidLeaf, Header, Iommu, MAGIC, SourceEvent, Subject, Table, checksum, iommu_kind,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::system::{self, Sample};

/// An image that is being damaged.
pub(crate) struct Damage {
    pub(crate) file: Vec<u8>,
    plan: usize,
}

/// A tree of page tables.
#[derive(Clone, Copy)]
pub(crate) enum Tree {
    /// The kernel's on the boot CPU.
    Kernel,
    /// The kernel's on a CPU.
    KernelOn(usize),
    /// The own tables of a subject.
    Guest(usize),
    Npt(usize),
    Ept(usize),
    /// What the IOMMU translates for the card.
    Device,
}

/// Bits of table entries.
pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
pub(crate) const UNCACHED: u64 = 3 << 3;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
pub(crate) const LARGE: u64 = 1 << 7;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
pub(crate) const EPT_EXECUTE: u64 = 1 << 2;

/// What a subject may do with a page.
#[derive(Clone, Copy)]
pub(crate) enum Rights {
    Read,
    ReadWrite,
    ReadExecute,
    Everything,
}

impl Damage {
    /// A copy of the good image of this sample.
    pub(crate) fn new(sample: Sample) -> Self {
        let file = system::image_of(sample).to_vec();
        let pages = (SEGMENT..file.len()).step_by(PAGE as usize);
        let plan = pages.into_iter().find(|at| file[*at..].starts_with(&MAGIC.to_le_bytes()));
        Self { file, plan: plan.expect("there is a plan") }
    }

    /// The bytes at a physical address.
    pub(crate) fn at(&mut self, phys: u64) -> &mut [u8] {
        &mut self.file[(phys - IMAGE_BASE) as usize + SEGMENT..]
    }

    /// Changes the plan's header.
    pub(crate) fn header(&mut self, change: impl FnOnce(&mut Header)) {
        change_at(&mut self.file[self.plan..], change);
        self.fix_checksum();
    }

    pub(crate) fn read_header(&self) -> Header {
        Header::read_from_prefix(&self.file[self.plan..]).expect("the plan is there").0
    }

    /// Physical address of the plan.
    pub(crate) fn plan_address(&self) -> u64 {
        (self.plan - SEGMENT) as u64 + IMAGE_BASE
    }

    /// Changes a record of the plan, and its checksum with it.
    pub(crate) fn record<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
        &mut self,
        table: Table,
        index: usize,
        change: impl FnOnce(&mut T),
    ) {
        let place = self.plan + self.read_header().tables[table as usize].offset as usize;
        change_at(&mut self.file[place + index * size_of::<T>()..], change);
        self.fix_checksum();
    }

    pub(crate) fn subject(&mut self, id: usize, change: impl FnOnce(&mut Subject)) {
        self.record(Table::Subjects, id, change);
    }

    pub(crate) fn source_event(&mut self, subject: usize, number: u8, change: impl FnOnce(&mut SourceEvent)) {
        self.record(Table::SourceEvents, subject * 64 + usize::from(number), change);
    }

    /// Changes the first record of a CPUID leaf.
    pub(crate) fn cpuid(&mut self, leaf: u32, change: impl FnOnce(&mut CpuidLeaf)) {
        let mut found = false;
        for index in 0.. {
            self.record(Table::Cpuid, index, |record: &mut CpuidLeaf| found = record.leaf == leaf);
            if found {
                return self.record(Table::Cpuid, index, change);
            }
        }
    }

    pub(crate) fn read_iommu(&self) -> Iommu {
        let place = self.plan + self.read_header().tables[Table::Iommus as usize].offset as usize;
        Iommu::read_from_prefix(&self.file[place..]).expect("it is there").0
    }

    /// Changes a word at a physical address.
    pub(crate) fn word(&mut self, phys: u64, change: impl FnOnce(u64) -> u64) {
        let word = change(self.read_word(phys));
        self.at(phys)[..8].copy_from_slice(&word.to_le_bytes());
    }

    fn read_word(&mut self, phys: u64) -> u64 {
        u64::from_le_bytes(self.at(phys)[..8].try_into().expect("eight bytes"))
    }

    /// The IOMMU's entry for a function of bus 0: AMD's in the device table, or Intel's context entry.
    pub(crate) fn device_entry(&mut self, function: u64) -> u64 {
        let iommu = self.read_iommu();
        if iommu.kind == iommu_kind::AMD {
            iommu.device_table + function * 32
        } else {
            (self.read_word(iommu.device_table) & ADDRESS) + function * 16
        }
    }

    /// The IOMMU's entry for the interrupt with this index: of the card's own table (AMD), or of the only one.
    pub(crate) fn interrupt_entry(&mut self, index: u64) -> u64 {
        let iommu = self.read_iommu();
        if iommu.kind == iommu_kind::AMD {
            let entry = self.device_entry(system::CARD);
            (self.read_word(entry + 16) & ADDRESS) + index * 4
        } else {
            iommu.interrupt_table + index * 16
        }
    }

    pub(crate) fn read_subject(&self, id: usize) -> Subject {
        let place = self.plan + self.read_header().tables[Table::Subjects as usize].offset as usize;
        Subject::read_from_prefix(&self.file[place + id * size_of::<Subject>()..]).expect("it is there").0
    }

    pub(crate) fn read_cpu(&self, number: usize) -> Cpu {
        let place = self.plan + self.read_header().tables[Table::Cpus as usize].offset as usize;
        Cpu::read_from_prefix(&self.file[place + number * size_of::<Cpu>()..]).expect("it is there").0
    }

    /// Changes the entry for `address` in the table of `level` (1 has the pages).
    pub(crate) fn entry(&mut self, tree: Tree, address: u64, level: u32, change: impl FnOnce(u64) -> u64) {
        let mut table = self.root(tree);
        for step in (level + 1..=4).rev() {
            let next = self.read_entry(table, address, step);
            assert!(next != 0 && next & LARGE == 0, "there is no level-{level} table for {address:#x}");
            table = next & ADDRESS;
            if let Tree::Guest(subject) = tree {
                table = self.phys(subject, table);
            }
        }
        let entry = change(self.read_entry(table, address, level));
        self.at(table + index(address, level) * 8)[..8].copy_from_slice(&entry.to_le_bytes());
    }

    /// The physical address behind an address of a subject.
    pub(crate) fn phys(&mut self, subject: usize, address: u64) -> u64 {
        let mut table = self.root(Tree::Npt(subject));
        for level in (1..=4).rev() {
            let entry = self.read_entry(table, address, level);
            assert_ne!(entry, 0, "{address:#x} is not mapped");
            if level == 1 || entry & LARGE != 0 {
                let size = PAGE << (9 * (level - 1));
                return (entry & ADDRESS & !(size - 1)) + address % size;
            }
            table = entry & ADDRESS;
        }
        unreachable!("the last level returns")
    }

    /// Maps a page for a subject in all its tables, in place of what was there.
    pub(crate) fn map(&mut self, subject: usize, address: u64, phys: u64, rights: Rights) {
        self.map_own(subject, address, address, rights);
        self.map_nested(subject, address, phys, rights);
    }

    /// Maps a large page read-only for a subject in all its tables.
    pub(crate) fn map_large(&mut self, subject: usize, address: u64, phys: u64) {
        let bits = PRESENT | ACCESSED | DIRTY | LARGE | NO_EXECUTE;
        self.entry(Tree::Guest(subject), address, 2, |_| address | bits);
        self.entry(Tree::Npt(subject), address, 2, |_| phys | bits | USER);
        self.entry(Tree::Ept(subject), address, 2, |_| phys | 1 | 6 << 3 | LARGE);
    }

    /// Maps a page in a subject's own tables only.
    pub(crate) fn map_own(&mut self, subject: usize, address: u64, to: u64, rights: Rights) {
        let bits = PRESENT | ACCESSED | DIRTY | native(rights);
        self.entry(Tree::Guest(subject), address, 1, |_| to | bits);
    }

    /// Maps a page in both vendors' nested tables only.
    pub(crate) fn map_nested(&mut self, subject: usize, address: u64, phys: u64, rights: Rights) {
        let bits = PRESENT | USER | ACCESSED | DIRTY | native(rights);
        self.entry(Tree::Npt(subject), address, 1, |_| phys | bits);
        let rights = match rights {
            Rights::Read => 1,
            Rights::ReadWrite => 3,
            Rights::ReadExecute => 5,
            Rights::Everything => 7,
        };
        self.entry(Tree::Ept(subject), address, 1, |_| phys | rights | 6 << 3);
    }

    /// Gives a subject other rights to a page it has.
    pub(crate) fn protect(&mut self, subject: usize, address: u64, rights: Rights) {
        let phys = self.phys(subject, address);
        self.map(subject, address, phys, rights);
    }

    /// Gives other rights to a page in both vendors' nested tables only.
    pub(crate) fn protect_nested(&mut self, subject: usize, address: u64, rights: Rights) {
        let phys = self.phys(subject, address);
        self.map_nested(subject, address, phys, rights);
    }

    /// Maps a page in the kernel's tables on the boot CPU, one to one.
    pub(crate) fn map_kernel(&mut self, phys: u64, rights: Rights) {
        self.map_kernel_on(0, phys, rights);
    }

    /// Maps a page in the kernel's tables on a CPU, one to one.
    pub(crate) fn map_kernel_on(&mut self, cpu: usize, phys: u64, rights: Rights) {
        let bits = PRESENT | ACCESSED | DIRTY | native(rights);
        self.entry(Tree::KernelOn(cpu), phys, 1, |_| phys | bits);
    }

    /// Maps the large page around an address in the kernel's tables on a CPU, one to one and read-only, where it maps nothing yet.
    pub(crate) fn map_kernel_large_on(&mut self, cpu: usize, phys: u64) {
        let bits = PRESENT | ACCESSED | DIRTY | LARGE | NO_EXECUTE;
        self.entry(Tree::KernelOn(cpu), phys, 2, |before| {
            assert_eq!(before, 0, "something is mapped around {phys:#x}");
            phys & !(LARGE_PAGE - 1) | bits
        });
    }

    /// The subject info of a subject.
    pub(crate) fn info(&mut self, subject: usize) -> &mut [u8] {
        let phys = self.phys(subject, SUBJECT_INFO);
        &mut self.at(phys)[..SUBJECT_INFO_SIZE as usize]
    }

    /// The 56 bytes of data of a resource in the subject info.
    pub(crate) fn resource(&mut self, subject: usize, name: &str) -> &mut [u8] {
        let info = self.info(subject);
        let of_name = |r: &&mut [u8]| usize::from(r[4]) == name.len() && r[5..].starts_with(name.as_bytes());
        let resource = info[80..].chunks_exact_mut(128).find(of_name).expect("it has this resource");
        &mut resource[72..]
    }

    /// Clears a bit of a bitmap: grants a port or an MSR.
    pub(crate) fn clear_bit(&mut self, bitmap: u64, bit: usize) {
        self.at(bitmap)[bit / 8] &= !(1 << (bit % 8));
    }

    /// Makes the plan's checksum right again.
    fn fix_checksum(&mut self) {
        let end = self.plan + self.read_header().total_size as usize;
        let sum = checksum(&self.file[self.plan + CHECKSUM_START..end]);
        let place = self.plan + offset_of!(Header, checksum);
        self.file[place..place + 8].copy_from_slice(&sum.to_le_bytes());
    }

    fn root(&mut self, tree: Tree) -> u64 {
        match tree {
            Tree::Kernel => self.read_cpu(0).kernel_root,
            Tree::KernelOn(cpu) => self.read_cpu(cpu).kernel_root,
            Tree::Guest(id) => {
                let root = self.read_subject(id).guest_root;
                self.phys(id, root)
            }
            Tree::Device => {
                let entry = self.device_entry(system::CARD);
                self.read_word(entry) & ADDRESS
            }
            Tree::Npt(id) => self.read_subject(id).npt_root,
            Tree::Ept(id) => self.read_subject(id).ept_root,
        }
    }

    fn read_entry(&mut self, table: u64, address: u64, level: u32) -> u64 {
        self.read_word(table + index(address, level) * 8)
    }
}

fn change_at<T: FromBytes + IntoBytes + KnownLayout + Immutable>(
    bytes: &mut [u8],
    change: impl FnOnce(&mut T),
) {
    let (mut value, _) = T::read_from_prefix(bytes).expect("the record is there");
    change(&mut value);
    value.write_to_prefix(bytes).expect("the record is there");
}

const fn native(rights: Rights) -> u64 {
    match rights {
        Rights::Read => NO_EXECUTE,
        Rights::ReadWrite => NO_EXECUTE | WRITE,
        Rights::ReadExecute => 0,
        Rights::Everything => WRITE,
    }
}

const fn index(address: u64, level: u32) -> u64 {
    address >> (12 + 9 * (level - 1)) & 511
}

/// Where the segment begins in the file.
pub(crate) const SEGMENT: usize = 0x1000;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
