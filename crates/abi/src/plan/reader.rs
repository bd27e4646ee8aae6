//! Reading a plan: every index and bound is checked once, here.

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{
    Bar, CHECKSUM_START, CodeRange, Cpu, CpuidLeaf, Device, FatalAction, Frame, Group, Header, Interrupt,
    Iommu, MAGIC, MemoryRange, MsixEntry, NONE, Partition, PortWrite, SourceEvent, Subject, Table,
    TargetEvent, VERSION, bar_flags, checksum, device_stop, iommu_kind, source_action, source_flags,
    target_action,
};
use crate::layout::{CPU_START, MAX_CPUS, MAX_EVENTS, MAX_SUBJECTS, PAGE};

/// Why bytes are not a plan that this kernel can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanError {
    /// No plan lies there.
    Magic,
    /// Another version of the format.
    Version,
    /// The plan is cut off, its checksum is wrong, or its header names places that cannot be.
    Damaged,
    /// A table lies outside the plan or is not aligned.
    Table(Table),
    /// A record of this table refers to something that does not exist, or has a value outside its range.
    Record(Table, u16),
}

/// A plan whose every index and bound was checked.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The header.
    pub header: &'a Header,
    /// The CPUs.
    pub cpus: &'a [Cpu],
    /// The minor frames.
    pub frames: &'a [Frame],
    /// The partitions.
    pub partitions: &'a [Partition],
    /// The groups.
    pub groups: &'a [Group],
    /// The members of the groups.
    pub members: &'a [u16],
    /// The subjects.
    pub subjects: &'a [Subject],
    /// The source events, 64 per subject.
    pub source_events: &'a [[SourceEvent; MAX_EVENTS]],
    /// The target events, 64 per subject.
    pub target_events: &'a [[TargetEvent; MAX_EVENTS]],
    /// The CPUID leaves.
    pub cpuid: &'a [CpuidLeaf],
    /// The code ranges.
    pub code: &'a [CodeRange],
    /// Memory that must be available.
    pub ram: &'a [MemoryRange],
    /// Memory to clear.
    pub clear: &'a [MemoryRange],
    /// The writes that power the machine off.
    pub power_off: &'a [PortWrite],
    /// The writes that reset it.
    pub reset: &'a [PortWrite],
    /// The device interrupts.
    pub interrupts: &'a [Interrupt],
    /// The devices.
    pub devices: &'a [Device],
    /// Their base address registers.
    pub bars: &'a [Bar],
    /// Their MSI-X entries.
    pub msix: &'a [MsixEntry],
    /// The IOMMUs.
    pub iommus: &'a [Iommu],
}

impl<'a> Plan<'a> {
    /// Reads the plan at the start of `bytes` and checks every index and bound of it once.
    ///
    /// `bytes` must be aligned to 8 bytes; it may be longer than the plan.
    ///
    /// # Errors
    /// The first thing found wrong. A plan that parses has no dangling index: code that uses it may rely on that, and
    /// still look up with `get`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PlanError> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| PlanError::Magic)?;
        if header.magic != MAGIC {
            return Err(PlanError::Magic);
        }
        if header.version != VERSION || header.header_size as usize != size_of::<Header>() {
            return Err(PlanError::Version);
        }
        let bytes = usize::try_from(header.total_size)
            .ok()
            .filter(|size| *size >= size_of::<Header>())
            .and_then(|size| bytes.get(..size))
            .ok_or(PlanError::Damaged)?;
        let sum = bytes.get(CHECKSUM_START..).map(checksum);
        if sum != Some(header.checksum) || !header_is_valid(header) {
            return Err(PlanError::Damaged);
        }
        let plan = Plan {
            header,
            cpus: table(bytes, header, Table::Cpus)?,
            frames: table(bytes, header, Table::Frames)?,
            partitions: table(bytes, header, Table::Partitions)?,
            groups: table(bytes, header, Table::Groups)?,
            members: table(bytes, header, Table::Members)?,
            subjects: table(bytes, header, Table::Subjects)?,
            source_events: event_table(bytes, header, Table::SourceEvents)?,
            target_events: event_table(bytes, header, Table::TargetEvents)?,
            cpuid: table(bytes, header, Table::Cpuid)?,
            code: table(bytes, header, Table::Code)?,
            ram: table(bytes, header, Table::Ram)?,
            clear: table(bytes, header, Table::Clear)?,
            power_off: table(bytes, header, Table::PowerOff)?,
            reset: table(bytes, header, Table::Reset)?,
            interrupts: table(bytes, header, Table::Interrupts)?,
            devices: table(bytes, header, Table::Devices)?,
            bars: table(bytes, header, Table::Bars)?,
            msix: table(bytes, header, Table::MsixEntries)?,
            iommus: table(bytes, header, Table::Iommus)?,
        };
        plan.check()?;
        Ok(plan)
    }

    /// The name of a subject, without its padding.
    #[must_use]
    pub fn subject_name(&self, subject: usize) -> &'a str {
        self.subjects.get(subject).map_or("", |s| name(&s.name))
    }

    /// The name of the system, without its padding.
    #[must_use]
    pub fn name(&self) -> &'a str {
        name(&self.header.name)
    }

    fn check(&self) -> Result<(), PlanError> {
        let counts = self.subjects.len();
        fail_unless(matches!(self.cpus.len(), 1..=MAX_CPUS), Table::Cpus, 0)?;
        fail_unless(matches!(counts, 1..=MAX_SUBJECTS), Table::Subjects, 0)?;
        fail_unless(matches!(self.partitions.len(), 1..=MAX_SUBJECTS), Table::Partitions, 0)?;
        fail_unless(matches!(self.groups.len(), 1..=MAX_SUBJECTS), Table::Groups, 0)?;
        fail_unless(self.members.len() == counts, Table::Members, 0)?;
        fail_unless(self.source_events.len() == counts, Table::SourceEvents, 0)?;
        fail_unless(self.target_events.len() == counts, Table::TargetEvents, 0)?;
        self.check_schedule()?;
        self.check_subjects()?;
        self.check_hardware()?;
        self.check_events()?;
        each(self.ram, Table::Ram, |r| paged(r.start) && paged(r.size) && fits(r.start, r.size))?;
        let start = |r: &MemoryRange| r.start <= CPU_START && r.start + r.size >= CPU_START + PAGE;
        fail_unless(self.cpus.len() == 1 || self.ram.iter().any(start), Table::Ram, NONE)?;
        each(self.clear, Table::Clear, |r| {
            let record = self.header.crash_record;
            paged(r.start)
                && paged(r.size)
                && fits(r.start, r.size)
                && (r.start >= self.header.image_end || r.start + r.size <= self.header.image_start)
                && (record + PAGE <= r.start || record >= r.start + r.size)
        })
    }

    fn check_hardware(&self) -> Result<(), PlanError> {
        let counts = self.subjects.len();
        each(self.power_off, Table::PowerOff, |w| matches!(w.width, 1 | 2 | 4))?;
        each(self.reset, Table::Reset, |w| matches!(w.width, 1 | 2 | 4))?;
        each(self.interrupts, Table::Interrupts, |i| {
            (0x30..0xf0).contains(&i.host_vector)
                && (i.guest_vector == 0 || i.guest_vector >= 32)
                && usize::from(i.subject) < counts
                && self.has_its_vector_alone(i)
                && match i.iommu {
                    NONE => i.remap_index == 0,
                    iommu => usize::from(iommu) < self.iommus.len() && i.remap_index < REMAPPED,
                }
        })?;
        each(self.devices, Table::Devices, |d| {
            usize::from(d.subject) < counts
                && d.config % PAGE == 0
                && d.stop & !device_stop::ALL == 0
                && within(d.first_bar, d.bars, self.bars.len())
                && within(d.first_msix, d.msix, self.msix.len())
        })?;
        each(self.bars, Table::Bars, |b| {
            let registers = if b.flags & bar_flags::WIDE != 0 { 2 } else { 1 };
            b.index < 7 - registers && b.flags & !bar_flags::ALL == 0
        })?;
        each(self.msix, Table::MsixEntries, |m| usize::from(m.interrupt) < self.interrupts.len())?;
        each(self.iommus, Table::Iommus, |i| {
            let (table, queues) = (i.device_table, i.queues);
            let known = match i.kind {
                iommu_kind::AMD => i.interrupt_table == 0 && i.device_table_size <= AMD_DEVICE_TABLE,
                iommu_kind::INTEL => i.interrupt_table != 0 && u64::from(i.device_table_size) == PAGE,
                _ => false,
            };
            known
                && [i.registers, table, i.interrupt_table, queues].into_iter().all(paged)
                && [i.registers, table, queues, u64::from(i.device_table_size)].iter().all(|p| *p != 0)
                && u64::from(i.device_table_size).is_multiple_of(PAGE)
        })
    }

    /// Whether no other interrupt arrives at the same CPU by the same vector.
    fn has_its_vector_alone(&self, interrupt: &Interrupt) -> bool {
        let cpu = |i: &Interrupt| self.subjects.get(usize::from(i.subject)).map(|s| s.cpu);
        let alike = |i: &&Interrupt| i.host_vector == interrupt.host_vector && cpu(i) == cpu(interrupt);
        self.interrupts.iter().filter(alike).count() == 1
    }

    fn check_schedule(&self) -> Result<(), PlanError> {
        let major = self.header.major_frame_us;
        each(self.cpus, Table::Cpus, |c| {
            c.frames > 0
                && within(c.first_frame, c.frames, self.frames.len())
                && paged(c.kernel_root)
                && paged(c.stack_top)
                && paged(c.data)
                && paged(c.host_area)
                && self.cpus.iter().filter(|other| other.apic_id == c.apic_id).count() == 1
        })?;
        for (number, cpu) in self.cpus.iter().enumerate() {
            let mut end = 0;
            for frame in slice(self.frames, cpu.first_frame, cpu.frames) {
                let partition = self.partitions.get(usize::from(frame.partition));
                let own = partition.is_some_and(|p| usize::from(p.cpu) == number);
                fail_unless(own && frame.end_us > end, Table::Frames, cpu.first_frame)?;
                end = frame.end_us;
            }
            fail_unless(end == major, Table::Frames, cpu.first_frame)?;
        }
        each(self.partitions, Table::Partitions, |p| {
            p.groups > 0
                && within(p.first_group, p.groups, self.groups.len())
                && usize::from(p.cpu) < self.cpus.len()
                && paged(p.scheduling_info)
                && p.scheduling_info != 0
        })?;
        each(self.groups, Table::Groups, |g| {
            g.members > 0 && within(g.first_member, g.members, self.members.len())
        })?;
        each(self.members, Table::Members, |m| usize::from(*m) < self.subjects.len())
    }

    fn check_subjects(&self) -> Result<(), PlanError> {
        each(self.subjects, Table::Subjects, |s| {
            let id = index_of(self.subjects, s);
            let partition = self.partitions.get(usize::from(s.partition));
            let group = self.groups.get(usize::from(s.group));
            let scheduled = partition.is_some_and(|p| {
                p.cpu == s.cpu && s.group >= p.first_group && s.group - p.first_group < p.groups
            });
            let member = group.is_some_and(|g| {
                slice(self.members, g.first_member, g.members).iter().any(|m| usize::from(*m) == id)
            });
            let pages = [
                s.state,
                s.xsave,
                s.control,
                s.guest_root,
                s.npt_root,
                s.iopm,
                s.msrpm,
                s.ept_root,
                s.io_bitmaps,
                s.msr_bitmap,
                s.subject_info,
                s.boot_info,
            ];
            scheduled
                && member
                && within(s.first_cpuid, s.cpuids, self.cpuid.len())
                && within(s.first_code, s.codes, self.code.len())
                && pages.iter().all(|p| paged(*p) && *p != 0)
                && paged(s.timed_event)
                && s.xcr0 & 3 == 3
                && s.trap_events.iter().all(|e| *e == 0xff || usize::from(*e) < MAX_EVENTS)
        })?;
        for (partition, number) in self.partitions.iter().zip(0..) {
            fail_unless(self.owns_its_groups(partition, number), Table::Partitions, number)?;
        }
        each(self.code, Table::Code, |c| {
            paged(c.virt) && paged(c.size) && paged(c.phys) && fits(c.phys, c.size)
        })
    }

    /// Whether the members of the partition's groups say that they belong there: no subject is scheduled twice.
    fn owns_its_groups(&self, partition: &Partition, number: u16) -> bool {
        let groups = slice(self.groups, partition.first_group, partition.groups);
        groups.iter().zip(partition.first_group..).all(|(group, at)| {
            let members = slice(self.members, group.first_member, group.members);
            let mut subjects = members.iter().filter_map(|m| self.subjects.get(usize::from(*m)));
            subjects.all(|s| s.partition == number && s.group == at)
        })
    }

    fn check_events(&self) -> Result<(), PlanError> {
        for (id, (sources, targets)) in self.source_events.iter().zip(self.target_events).enumerate() {
            let number = u16::try_from(id).unwrap_or(NONE);
            let raiser = self.subjects.get(id);
            for event in sources {
                fail_unless(self.source_event_is_valid(event, number, raiser), Table::SourceEvents, number)?;
            }
            for event in targets {
                let vector = event.action != target_action::INJECT_INTERRUPT || event.vector >= 32;
                fail_unless(event.action <= target_action::LAST && vector, Table::TargetEvents, number)?;
            }
        }
        Ok(())
    }

    fn source_event_is_valid(&self, event: &SourceEvent, number: u16, raiser: Option<&Subject>) -> bool {
        if event.action == source_action::UNDEFINED {
            return true;
        }
        let handover = event.flags & source_flags::HANDOVER != 0;
        let target_is_valid = if event.target == NONE {
            !handover
        } else {
            let target = self.subjects.get(usize::from(event.target));
            let defined = self
                .target_events
                .get(usize::from(event.target))
                .and_then(|t| t.get(usize::from(event.target_event)))
                .is_some_and(|t| t.action != target_action::UNDEFINED);
            let same_group = target.zip(raiser).is_some_and(|(t, r)| t.group == r.group);
            defined && (!handover || same_group)
        };
        let starts = event.action == source_action::START_DEVICE;
        let device = self.devices.get(usize::from(event.device));
        event.action <= source_action::LAST
            && target_is_valid
            && (!starts || device.is_some_and(|device| device.subject == number))
    }
}

/// The records `first..first + count` of a table, or none if they do not exist.
pub fn slice<T>(table: &[T], first: u16, count: u16) -> &[T] {
    let first = usize::from(first);
    table.get(first..first + usize::from(count)).unwrap_or(&[])
}

/// A name without its padding; empty if it is not UTF-8.
#[must_use]
pub fn name(padded: &[u8]) -> &str {
    let end = padded.iter().position(|b| *b == 0).unwrap_or(padded.len());
    padded.get(..end).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or("")
}

/// A name padded with NUL; cut after `N - 1` bytes.
#[must_use]
pub fn padded<const N: usize>(name: &str) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().take(N - 1).zip(name.bytes()) {
        *to = from;
    }
    out
}

fn header_is_valid(header: &Header) -> bool {
    let places = [header.image_start, header.kernel_end, header.image_end];
    places.is_sorted()
        && header.image_end <= ADDRESS_END
        && paged(header.report)
        && paged(header.crash_record)
        && header.on_fatal <= FatalAction::PowerOff as u32
}

fn table<'a, T>(bytes: &'a [u8], header: &Header, table: Table) -> Result<&'a [T], PlanError>
where
    T: FromBytes + Immutable + KnownLayout,
{
    records(bytes, header, table, 1)
}

fn event_table<'a, T>(bytes: &'a [u8], header: &Header, table: Table) -> Result<&'a [T], PlanError>
where
    T: FromBytes + Immutable + KnownLayout,
{
    records(bytes, header, table, MAX_EVENTS)
}

fn records<'a, T>(
    bytes: &'a [u8],
    header: &Header,
    table: Table,
    per_row: usize,
) -> Result<&'a [T], PlanError>
where
    T: FromBytes + Immutable + KnownLayout,
{
    let place = header.tables.get(table as usize).ok_or(PlanError::Table(table))?;
    let count = place.count as usize;
    if !place.offset.is_multiple_of(8) || !count.is_multiple_of(per_row) || count > usize::from(NONE) {
        return Err(PlanError::Table(table));
    }
    let rest = bytes.get(place.offset as usize..).ok_or(PlanError::Table(table))?;
    let (rows, _) =
        <[T]>::ref_from_prefix_with_elems(rest, count / per_row).map_err(|_| PlanError::Table(table))?;
    Ok(rows)
}

fn each<T>(records: &[T], table: Table, valid: impl Fn(&T) -> bool) -> Result<(), PlanError> {
    match records.iter().position(|r| !valid(r)) {
        None => Ok(()),
        Some(at) => Err(PlanError::Record(table, u16::try_from(at).unwrap_or(NONE))),
    }
}

fn index_of<T>(records: &[T], record: &T) -> usize {
    records.iter().position(|r| core::ptr::eq(r, record)).unwrap_or(usize::MAX)
}

const fn fail_unless(valid: bool, table: Table, record: u16) -> Result<(), PlanError> {
    if valid { Ok(()) } else { Err(PlanError::Record(table, record)) }
}

fn within(first: u16, count: u16, length: usize) -> bool {
    usize::from(first) + usize::from(count) <= length
}

const fn paged(address: u64) -> bool {
    address.is_multiple_of(PAGE) && address <= ADDRESS_END
}

const fn fits(start: u64, size: u64) -> bool {
    start <= ADDRESS_END && size <= ADDRESS_END - start
}

/// Entries of an interrupt remapping table that can be used: larger indices would look like delivery modes to AMD's.
const REMAPPED: u16 = 256;
/// Bytes of AMD's largest device table: 32 for each of 65,536 functions.
const AMD_DEVICE_TABLE: u32 = 2 << 20;
/// End of the physical addresses a plan may name: guest-physical ones reach higher than 4 GiB.
const ADDRESS_END: u64 = 1 << 36;
