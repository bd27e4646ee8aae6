//! The independent verifier: proves from the bytes of a finished image that its subjects are walled off.
//!
//! It shares nothing with the packer but the layout crate. It walks every table, decodes every bitmap, and holds what it
//! finds against the [`RULES`]. What an image with no findings guarantees is the sum of their specifications. It may be
//! given any bytes: it ends, and soon, whatever they are.
//!
//! Most rules are proved on the AMD nested tables; `nested-tables-equal` carries them over to the Intel ones.

mod bitmaps;
mod bytes;
mod devices;
mod facts;
mod file;
mod info;
mod iommu;
mod kernel_memory;
mod kernel_tables;
mod processor;
mod ranges;
mod registers;
mod rules;
mod schedule;
mod sharing;
mod space;
mod start;
mod subjects;
mod tables;

use std::collections::BTreeSet;

use palisade_abi::layout::{BOOT_INFO_SIZE, PAGE, SUBJECT_INFO_SIZE};
use palisade_abi::plan::{self, MAGIC, Plan, PlanError, Table, source_action, subject_flags};
use zerocopy::IntoBytes;

pub use facts::Facts;
pub use rules::{Finding, RULES, Rule};

use bytes::{first_nonzero, u64_at};
use devices::{Area, Device};
use file::{Image, Segment};
use ranges::Ranges;
use rules::{
    Findings, IMAGE_IS_ELF, KERNEL_KNOWN, NAMES_UNIQUE, NO_HIDDEN_BYTES, PLAN_MATCHES_IMAGE, PLAN_VALID,
};
use space::Space;
use subjects::Subject;
use tables::{Format, TablePages, Tree};

/// What the image is expected to contain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'a> {
    /// The kernel's ELF file. Without it any kernel passes; [`Facts::kernel_sha256`] says which one it is.
    pub kernel: Option<&'a [u8]>,
}

/// The result of a verification.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Everything that is wrong. The image is good if this is empty.
    pub findings: Vec<Finding>,
    /// What nothing is wrong with, but whoever relies on the image should know.
    pub notes: Vec<String>,
    /// Figures about the image, as far as it could be read.
    pub facts: Facts,
}

impl Verdict {
    /// Whether the image satisfies every rule.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies a finished image.
#[must_use]
pub fn verify(image: &[u8], expected: &Expected<'_>) -> Verdict {
    let mut findings = Findings::default();
    let mut facts = Facts::of_file(image);
    let image = Image::read(image, &mut findings);
    let notes = image.and_then(|image| verify_content(image, expected, &mut findings, &mut facts));
    Verdict { findings: findings.into_vec(), notes: notes.unwrap_or_default(), facts }
}

/// Judges what is in the image. Returns the notes, if there is a plan.
fn verify_content(
    image: Image<'_>,
    expected: &Expected<'_>,
    findings: &mut Findings,
    facts: &mut Facts,
) -> Option<Vec<String>> {
    let Some((plan_start, aligned)) = find_plan(image) else {
        findings.add(&PLAN_VALID, || "no page of the image begins with a plan".to_owned());
        return None;
    };
    facts.note_kernel(image.at(image.start(), plan_start - image.start()).unwrap_or(&[]));
    findings.require((image.start()..plan_start).contains(&image.entry), &IMAGE_IS_ELF, || {
        format!("the entry point {:#x} is outside the kernel", image.entry)
    });
    image.check_multiboot(plan_start, findings);
    let segments = check_kernel_bytes(image, plan_start, expected, findings);
    let plan = match Plan::parse(aligned.as_bytes()) {
        Ok(plan) => plan,
        Err(error) => {
            findings.add(&PLAN_VALID, || explain(error));
            return None;
        }
    };
    check_header(image, plan_start, &plan, findings);
    check_names(&plan, findings);
    let system = System::read(image, plan_start, &plan, segments, findings);
    system.check(findings, facts);
    Some(devices::notes(&system))
}

/// Everything about an image that the rules look at.
struct System<'a> {
    image: Image<'a>,
    plan: &'a Plan<'a>,
    plan_start: u64,
    plan_end: u64,
    /// The kernel's segments, if its own file is known.
    segments: Option<Vec<Segment>>,
    /// The memory that the kernel checks against the loader's map.
    ram: Ranges,
    /// The memory that the kernel clears at boot.
    cleared: Ranges,
    /// Subject infos and boot infos, which the kernel completes at boot.
    filled_in: Ranges,
    subjects: Vec<Subject<'a>>,
    devices: Vec<Device<'a>>,
    /// What each device reaches through the IOMMU; `None` where there is none.
    confined: Vec<Option<Space>>,
    /// The addresses of all devices, in order.
    areas: Vec<Area>,
    /// What each CPU's kernel tables map.
    kernels: Vec<Space>,
    tables: TablePages,
}

impl<'a> System<'a> {
    fn read(
        image: Image<'a>,
        plan_start: u64,
        plan: &'a Plan<'a>,
        segments: Option<Vec<Segment>>,
        findings: &mut Findings,
    ) -> Self {
        let plan_end = plan_start.saturating_add(plan.header.total_size.next_multiple_of(PAGE));
        let mut tables = TablePages::default();
        let mut kernels = Vec::new();
        for (number, cpu) in plan.cpus.iter().enumerate() {
            let owner = format!("kernel tables of CPU {number}");
            let tree = Tree { image, first: plan_end, format: Format::Kernel, owner, nested: None };
            kernels.push(tree.walk(cpu.kernel_root, &mut tables, findings).space);
        }
        let subjects = Subject::read_all(image, plan_end, plan, &mut tables, findings);
        let devices = Device::read_all(plan, findings);
        let confined = iommu::read(image, plan_end, plan, &devices, &mut tables, findings);
        let (ram, cleared) = (Ranges::of(plan.ram), Ranges::of(plan.clear));
        let filled_in = plan.subjects.iter().flat_map(|s| {
            [
                (s.subject_info, s.subject_info + SUBJECT_INFO_SIZE),
                (s.boot_info, s.boot_info + BOOT_INFO_SIZE),
            ]
        });
        let filled_in = filled_in.collect();
        Self {
            image,
            plan,
            plan_start,
            plan_end,
            segments,
            ram,
            cleared,
            filled_in,
            subjects,
            confined,
            areas: devices::areas(&devices),
            devices,
            kernels,
            tables,
        }
    }

    fn check(&self, findings: &mut Findings, facts: &mut Facts) {
        facts.note_system(self);
        for subject in &self.subjects {
            subject.check_tables(findings);
        }
        let holdings = kernel_memory::holdings(self);
        devices::check(self, findings);
        registers::check(self, findings);
        sharing::check(self, &holdings, findings, facts);
        kernel_memory::check(self, &holdings, findings);
        kernel_tables::check(self, &holdings, findings);
        bitmaps::check(self, findings);
        schedule::check(self, findings);
        info::check(self, findings);
        start::check(self, findings);
        processor::check(self, findings);
        self.check_unused_pages(&holdings, findings);
    }

    /// Whether an address outside memory is a device's.
    fn is_register(&self, address: u64) -> bool {
        let after = self.areas.partition_point(|area| area.start <= address);
        after.checked_sub(1).and_then(|at| self.areas.get(at)).is_some_and(|area| address < area.end)
    }

    /// Pages of the image that belong to nothing hold nothing.
    fn check_unused_pages(&self, holdings: &[kernel_memory::Holding], findings: &mut Findings) {
        let mut used: Vec<(u64, u64)> = holdings.iter().map(|h| (h.start, h.end())).collect();
        for piece in self.subjects.iter().flat_map(|s| s.nested.pieces()) {
            used.push((piece.phys, piece.phys.saturating_add(piece.size)));
        }
        used.push((self.image.end(), u64::MAX));
        used.sort_unstable();
        let mut free = self.image.start();
        for (start, end) in used {
            let unused =
                start.checked_sub(free).and_then(|size| self.image.at(free, size)).unwrap_or_default();
            if let Some(at) = first_nonzero(unused) {
                let address = free + at as u64;
                findings.add(&NO_HIDDEN_BYTES, || {
                    format!("there is content at {address:#x}, which belongs to nothing")
                });
            }
            free = free.max(end);
        }
        let plan_last = self.plan_start.saturating_add(self.plan.header.total_size);
        let rest = self.image.at(plan_last, self.plan_end.saturating_sub(plan_last)).unwrap_or_default();
        findings.require(first_nonzero(rest).is_none(), &NO_HIDDEN_BYTES, || {
            format!("there is content behind the plan, in its last page: {plan_last:#x}")
        });
    }
}

/// The address of the plan, and its bytes where a plan can be read in place.
fn find_plan(image: Image<'_>) -> Option<(u64, Vec<u64>)> {
    let mut pages = (image.start()..image.end()).step_by(PAGE as usize);
    let start = pages.find(|p| image.at(*p, 8).and_then(|b| u64_at(b, 0)) == Some(MAGIC))?;
    let rest = image.at(start, image.end() - start)?;
    let size = u64_at(rest, std::mem::offset_of!(plan::Header, total_size))?;
    let bytes = rest.get(..usize::try_from(size).ok()?).unwrap_or(rest);
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    });
    Some((start, words.collect()))
}

fn check_kernel_bytes(
    image: Image<'_>,
    plan_start: u64,
    expected: &Expected<'_>,
    findings: &mut Findings,
) -> Option<Vec<Segment>> {
    let Some(kernel) = file::flatten_kernel(expected.kernel?) else {
        findings.add(&KERNEL_KNOWN, || "the expected kernel is not a kernel's ELF file".to_owned());
        return None;
    };
    let flat = kernel.flat;
    findings.require(image.entry == kernel.entry, &KERNEL_KNOWN, || {
        format!("the kernel is entered at {:#x}, not at {:#x}", image.entry, kernel.entry)
    });
    let found = image.at(image.start(), plan_start - image.start()).unwrap_or_default();
    match found.iter().zip(&flat).position(|(a, b)| a != b) {
        Some(at) => findings.add(&KERNEL_KNOWN, || {
            format!("the byte at {:#x} differs from the expected kernel", image.start() + at as u64)
        }),
        None => findings.require(found.len() == flat.len(), &KERNEL_KNOWN, || {
            format!("the kernel has {:#x} bytes, the expected one {:#x}", found.len(), flat.len())
        }),
    }
    Some(kernel.segments)
}

fn check_header(image: Image<'_>, plan_start: u64, plan: &Plan<'_>, findings: &mut Findings) {
    let header = plan.header;
    let bounds = [
        ("image start", header.image_start, image.start()),
        ("image end", header.image_end, image.end()),
        ("end of the kernel", header.kernel_end, plan_start),
    ];
    for (what, said, is) in bounds {
        findings.require(said == is, &PLAN_MATCHES_IMAGE, || {
            format!("the plan's {what} is {said:#x}, but should be {is:#x}")
        });
    }
    findings.require(image.end().is_multiple_of(PAGE), &PLAN_MATCHES_IMAGE, || {
        "the image does not end on a page boundary".to_owned()
    });
    let reserved = header.reserved == 0
        && plan.frames.iter().all(|f| f.reserved == 0)
        && plan.partitions.iter().all(|p| p.reserved == 0)
        && plan
            .source_events
            .iter()
            .flatten()
            .all(|e| e.reserved == 0 && (e.device == 0 || e.action == source_action::START_DEVICE))
        && plan.subjects.iter().all(|s| s.flags & !KNOWN_FLAGS == 0);
    findings.require(reserved, &PLAN_MATCHES_IMAGE, || "a reserved field of the plan is not zero".to_owned());
    findings.require(!plan.name().is_empty(), &PLAN_MATCHES_IMAGE, || "the system has no name".to_owned());
}

fn check_names(plan: &Plan<'_>, findings: &mut Findings) {
    // Kernel and log print them between other words.
    let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    let subjects = (0..plan.subjects.len()).map(|id| plan.subject_name(id));
    for name in subjects.chain(plan.devices.iter().map(|device| plan::name(&device.name))) {
        findings.require(name.chars().all(is_plain), &NAMES_UNIQUE, || format!("{name:?} is no plain name"));
    }
    let mut names = BTreeSet::new();
    for id in 0..plan.subjects.len() {
        let name = plan.subject_name(id);
        findings.require(!name.is_empty() && names.insert(name), &NAMES_UNIQUE, || {
            format!("subject {id} has no name, or the name {name:?} of another one")
        });
    }
}

fn explain(error: PlanError) -> String {
    match error {
        PlanError::Magic => "the plan does not begin as plans do".to_owned(),
        PlanError::Version => "the plan has another version of the format".to_owned(),
        PlanError::Damaged => {
            "the plan is cut off, its checksum is wrong, or its header names places that cannot be".to_owned()
        }
        PlanError::Table(table) => format!("the table of {} lies outside the plan", table_name(table)),
        PlanError::Record(table, number) => format!(
            "in the table of {}, record {number} refers to something that does not exist or has an impossible value",
            table_name(table)
        ),
    }
}

const fn table_name(table: Table) -> &'static str {
    match table {
        Table::Cpus => "CPUs",
        Table::Frames => "minor frames",
        Table::Partitions => "scheduling partitions",
        Table::Groups => "scheduling groups",
        Table::Members => "group members",
        Table::Subjects => "subjects",
        Table::SourceEvents => "source events (by subject)",
        Table::TargetEvents => "target events (by subject)",
        Table::Cpuid => "CPUID leaves",
        Table::Code => "code ranges",
        Table::Ram => "memory ranges",
        Table::Clear => "memory ranges to clear",
        Table::PowerOff => "port writes that power off",
        Table::Reset => "port writes that reset",
        Table::Interrupts => "device interrupts",
        Table::Devices => "devices",
        Table::Bars => "base address registers",
        Table::MsixEntries => "MSI-X entries",
        Table::Iommus => "IOMMUs",
    }
}

const KNOWN_FLAGS: u16 = subject_flags::KERNEL_EXCEPTIONS | subject_flags::AUTOSTART;
