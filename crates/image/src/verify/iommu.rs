//! The IOMMU: what each device reaches through it, and which interrupts it passes on.
//!
//! Formats: AMD I/O virtualization specification (48882), 2.2.2 (device table) and 2.2.5 (interrupts); Intel VT-d
//! specification, 9.1 (root entries), 9.3 (context entries) and 9.10 (interrupts).

use std::collections::BTreeSet;

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{Interrupt, Iommu, NONE, Plan, iommu_kind, slice};

use super::bytes::{u32_at, u64_at};
use super::devices::{Device, function};
use super::file::Image;
use super::rules::{DEVICE_CONFINED, Findings, INTERRUPTS_REMAPPED, IOMMU_UNITS};
use super::space::Space;
use super::tables::{Format, TablePages, Tree};

/// What each device of the plan reaches, in their order; `None` for all if there is no IOMMU. Checks on the way that nothing
/// else reaches anything, and that interrupts are what the plan says.
pub(super) fn read<'a>(
    image: Image<'a>,
    first: u64,
    plan: &Plan<'a>,
    devices: &[Device<'a>],
    tables: &mut TablePages,
    findings: &mut Findings,
) -> Vec<Option<Space>> {
    let Some((iommu, others)) = plan.iommus.split_first() else {
        return devices.iter().map(|_| None).collect();
    };
    let tables_of = |i: &Iommu| (i.kind, i.device_table, i.device_table_size, i.interrupt_table);
    for other in others {
        findings.require(tables_of(other) == tables_of(iommu), &IOMMU_UNITS, || {
            format!("the unit of the IOMMU at {:#x} uses other tables than the first one", other.registers)
        });
    }
    let mut reader =
        Reader { image, first, plan, iommu, devices, tables, findings, domains: BTreeSet::new() };
    let roots = if iommu.kind == iommu_kind::AMD { reader.amd() } else { reader.intel() };
    let mut spaces = Vec::new();
    for (device, root) in devices.iter().zip(roots) {
        reader.findings.require(root.is_some(), &DEVICE_CONFINED, || {
            format!("{}: the IOMMU has no valid entry for it", device.name)
        });
        spaces.push(Some(root.map_or_else(Space::default, |root| reader.walk(device, root))));
    }
    spaces
}

struct Reader<'r, 'a> {
    image: Image<'a>,
    first: u64,
    plan: &'r Plan<'a>,
    iommu: &'r Iommu,
    devices: &'r [Device<'a>],
    tables: &'r mut TablePages,
    findings: &'r mut Findings,
    domains: BTreeSet<u64>,
}

impl<'a> Reader<'_, 'a> {
    /// Reads AMD's device table. Gives the roots of the devices' page tables.
    fn amd(&mut self) -> Vec<Option<u64>> {
        let mut roots = vec![None; self.devices.len()];
        let pages = u64::from(self.iommu.device_table_size) / PAGE;
        for page in 0..pages {
            let address = self.iommu.device_table + page * PAGE;
            let Some(content) = self.claim(address, "the device table of the IOMMU") else { continue };
            for (slot, entry) in content.chunks_exact(AMD_ENTRY).enumerate() {
                let number = page as usize * (PAGE as usize / AMD_ENTRY) + slot;
                let words = [0, 8, 16, 24].map(|at| u64_at(entry, at).unwrap_or(0));
                let found = self.devices.iter().position(|d| usize::from(d.record.bdf) == number);
                match found.and_then(|at| Some((self.devices.get(at)?, roots.get_mut(at)?))) {
                    Some((device, root)) => *root = self.amd_device(device, words),
                    None => self.require_blocked(number, words == AMD_BLOCKED),
                }
            }
        }
        roots
    }

    fn amd_device(
        &mut self,
        device: &Device<'a>,
        [translation, domain, interrupts, rest]: [u64; 4],
    ) -> Option<u64> {
        let table = interrupts & AMD_INTERRUPT_TABLE;
        let exact = interrupts == AMD_INTERRUPTS | table && table.is_multiple_of(PAGE);
        self.findings.require(exact, &INTERRUPTS_REMAPPED, || {
            format!(
                "{}: its entry lets more interrupts pass than its table has: {interrupts:#x}",
                device.name
            )
        });
        let owner = format!("{}: interrupts through the IOMMU", device.name);
        if let Some(content) = self.claim(table, &owner) {
            let entry = |index: u16| u32_at(content, usize::from(index) * 4).map(u64::from);
            let used = content.chunks_exact(4).filter(|entry| **entry != [0; 4]).count();
            self.check_interrupts(device, used, |interrupt, apic_id| {
                let expected = 1 | u64::from(apic_id) << 8 | u64::from(interrupt.host_vector) << 16;
                entry(interrupt.remap_index) == Some(expected)
            });
        }
        let root = translation & ADDRESS;
        let valid = translation == AMD_TRANSLATED | root && rest == 0 && self.is_new_domain(domain);
        valid.then_some(root)
    }

    /// Reads Intel's tables. Gives the roots of the devices' page tables.
    fn intel(&mut self) -> Vec<Option<u64>> {
        let mut roots = vec![None; self.devices.len()];
        let root = self.claim(self.iommu.device_table, "the root table of the IOMMU").unwrap_or_default();
        for (bus, [entry, upper]) in pairs(root).enumerate() {
            let used = self.devices.iter().any(|d| usize::from(d.record.bdf >> 8) == bus);
            if !used {
                self.require_blocked(bus << 8, (entry, upper) == (0, 0));
                continue;
            }
            let valid = entry & !ADDRESS == PRESENT && upper == 0;
            let table = valid.then(|| self.claim(entry & ADDRESS, &format!("the devices of bus {bus:02x}")));
            for (slot, words) in pairs(table.flatten().unwrap_or_default()).enumerate() {
                let number = bus << 8 | slot;
                let found = self.devices.iter().position(|d| usize::from(d.record.bdf) == number);
                match found.and_then(|at| roots.get_mut(at)) {
                    Some(root) => *root = self.intel_device(words),
                    None => self.require_blocked(number, words == [0, 0]),
                }
            }
        }
        self.intel_interrupts();
        roots
    }

    fn intel_device(&mut self, [translation, attributes]: [u64; 2]) -> Option<u64> {
        let (root, domain) = (translation & ADDRESS, attributes >> 8);
        let valid = translation == PRESENT | root
            && attributes & 0xff == INTEL_FOUR_LEVELS
            && self.is_new_domain(domain);
        valid.then_some(root)
    }

    fn intel_interrupts(&mut self) {
        let Some(content) = self.claim(self.iommu.interrupt_table, "the interrupts of the IOMMU") else {
            return;
        };
        let used = pairs(content).filter(|entry| *entry != [0, 0]).count();
        let all = self.plan.interrupts.len();
        self.findings.require(used == all, &INTERRUPTS_REMAPPED, || {
            format!("the IOMMU passes on {used} interrupts, but the devices have {all}")
        });
        for device in self.devices {
            let own = device.record.msix.into();
            self.check_interrupts(device, own, |interrupt, apic_id| {
                let expected = [
                    PRESENT | u64::from(interrupt.host_vector) << 16 | u64::from(apic_id) << 40,
                    INTEL_SOURCE_CHECKED | u64::from(device.record.bdf),
                ];
                pairs(content).nth(interrupt.remap_index.into()) == Some(expected)
            });
        }
    }

    /// Checks that a device has an entry for each of its interrupts, which `is_true`, and `used` entries altogether.
    fn check_interrupts(
        &mut self,
        device: &Device<'a>,
        used: usize,
        is_true: impl Fn(&Interrupt, u32) -> bool,
    ) {
        let name = &device.name;
        let entries = slice(self.plan.msix, device.record.first_msix, device.record.msix);
        self.findings.require(used == entries.len(), &INTERRUPTS_REMAPPED, || {
            format!("{name}: the IOMMU passes on {used} of its interrupts, but it has {}", entries.len())
        });
        for (number, entry) in entries.iter().enumerate() {
            let interrupt = self.plan.interrupts.get(usize::from(entry.interrupt));
            let passed = interrupt.is_some_and(|interrupt| {
                let subject = self.plan.subjects.get(usize::from(interrupt.subject));
                let cpu = subject.and_then(|s| self.plan.cpus.get(usize::from(s.cpu)));
                let apic_id = cpu.map(|cpu| cpu.apic_id).filter(|id| *id <= LAST_APIC_ID);
                interrupt.iommu != NONE && apic_id.is_some_and(|id| is_true(interrupt, id))
            });
            self.findings.require(passed, &INTERRUPTS_REMAPPED, || {
                format!(
                    "{name}: the IOMMU does not pass its interrupt {number} on to the right vector and CPU"
                )
            });
        }
    }

    fn walk(&mut self, device: &Device<'a>, root: u64) -> Space {
        let format = if self.iommu.kind == iommu_kind::AMD { Format::AmdDevice } else { Format::IntelDevice };
        let owner = format!("{}: page tables of the IOMMU", device.name);
        let tree = Tree { image: self.image, first: self.first, format, owner, nested: None };
        tree.walk(root, self.tables, self.findings).space
    }

    fn claim(&mut self, address: u64, owner: &str) -> Option<&'a [u8]> {
        self.tables.claim(self.image, self.first, (address, Some(address)), owner, self.findings)
    }

    /// The unit remembers translations by domain: two devices with one domain would use each other's.
    fn is_new_domain(&mut self, domain: u64) -> bool {
        (1..=0xffff).contains(&domain) && self.domains.insert(domain)
    }

    fn require_blocked(&mut self, number: usize, blocked: bool) {
        self.findings.require(blocked, &DEVICE_CONFINED, || {
            let place = u16::try_from(number).map_or_else(|_| number.to_string(), function);
            format!("the function {place} is no device of the plan, and the IOMMU does not block it")
        });
    }
}

/// A page as entries of two words.
fn pairs(page: &[u8]) -> impl Iterator<Item = [u64; 2]> {
    page.chunks_exact(16).map(|entry| [0, 8].map(|at| u64_at(entry, at).unwrap_or(0)))
}

const PRESENT: u64 = 1;
/// Bits 12 to 51.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// 255 is every CPU.
const LAST_APIC_ID: u32 = 254;

/// Bytes of an entry of the device table.
const AMD_ENTRY: usize = 32;
/// Valid for translations and interrupts; neither reads, writes nor interrupts are granted.
const AMD_BLOCKED: [u64; 4] = [3, 0, 1, 0];
/// Valid; page tables of four levels; reads and writes are granted as these say.
const AMD_TRANSLATED: u64 = 3 | 4 << 9 | 1 << 61 | 1 << 62;
/// Valid; a table of 2 to the power of 10 entries; fixed interrupts are remapped, all others refused.
const AMD_INTERRUPTS: u64 = 1 | 10 << 1 | 2 << 60;
/// Bits 6 to 51.
const AMD_INTERRUPT_TABLE: u64 = 0x000f_ffff_ffff_ffc0;

const INTEL_FOUR_LEVELS: u64 = 2;
const INTEL_SOURCE_CHECKED: u64 = 1 << 18;
