//! The plan as the kernel reads it: [`palisade_abi::plan`].

use std::mem::{offset_of, size_of};

use palisade_abi::layout::{CPU_STACK_SIZE, CPU_START, IMAGE_BASE, MAX_EVENTS, PAGE};
use palisade_abi::plan::{
    self as abi, CodeRange, Header, MemoryRange, NONE, TABLES, Table, TableRef, checksum, padded,
    source_action, source_flags, subject_flags, trap,
};
use palisade_policy::plan::{self, Exceptions, Plan, Rights, VolatileRange};
use zerocopy::{Immutable, IntoBytes};

use crate::cpuid::Leaves;
use crate::devices;
use crate::error::PackError;
use crate::place::{PlacedSubject, Placement};

/// Bytes of the plan: known before anything has an address, since addresses change no count.
pub(crate) fn size(plan: &Plan, cpuid: &Leaves) -> Result<u64, PackError> {
    let devices = devices::Records::of(plan)?;
    let subjects = plan.subjects.len();
    let ram = start_page(plan).iter().count() + 1 + merged(&plan.volatile, |_| true).len();
    let counts = [
        (plan.cpus.len(), size_of::<abi::Cpu>(), "CPUs"),
        (plan.cpus.iter().map(|c| c.frames.len()).sum(), size_of::<abi::Frame>(), "minor frames"),
        (plan.partitions.len(), size_of::<abi::Partition>(), "partitions"),
        (plan.partitions.iter().map(|p| p.groups.len()).sum(), size_of::<abi::Group>(), "groups"),
        (
            plan.partitions.iter().flat_map(|p| &p.groups).map(Vec::len).sum(),
            size_of::<u16>(),
            "group members",
        ),
        (subjects, size_of::<abi::Subject>(), "subjects"),
        (subjects * MAX_EVENTS, size_of::<abi::SourceEvent>(), "source events"),
        (subjects * MAX_EVENTS, size_of::<abi::TargetEvent>(), "target events"),
        (cpuid.leaves.len(), size_of::<abi::CpuidLeaf>(), "CPUID leaves"),
        (plan.subjects.iter().map(|s| code_regions(s).count()).sum(), size_of::<CodeRange>(), "code ranges"),
        (ram, size_of::<MemoryRange>(), "ranges of memory"),
        (merged(&plan.volatile, |r| r.clear).len(), size_of::<MemoryRange>(), "ranges of memory"),
        (plan.power_off.len(), size_of::<abi::PortWrite>(), "port writes"),
        (plan.machine.reset.len(), size_of::<abi::PortWrite>(), "port writes"),
        (devices.interrupts.len(), size_of::<abi::Interrupt>(), "device interrupts"),
        (devices.devices.len(), size_of::<abi::Device>(), "devices"),
        (devices.bars.len(), size_of::<abi::Bar>(), "base address registers"),
        (devices.msix.len(), size_of::<abi::MsixEntry>(), "MSI-X entries"),
        (
            plan.machine.iommu.as_ref().map_or(0, |iommu| iommu.registers.len()),
            size_of::<abi::Iommu>(),
            "IOMMUs",
        ),
    ];
    let mut size = size_of::<Header>();
    for (count, record, what) in counts {
        if count >= usize::from(NONE) {
            return Err(PackError::TooMany(what));
        }
        size += (count * record).next_multiple_of(TABLE_ALIGNMENT);
    }
    Ok(size as u64)
}

/// Writes the plan and checks it as the kernel will.
pub(crate) fn write(
    plan: &Plan,
    placement: &Placement,
    kernel_end: u64,
    image_end: u64,
) -> Result<Vec<u8>, PackError> {
    let mut writer = Writer::new();
    schedule(plan, placement, &mut writer);
    subjects(plan, placement, &mut writer)?;
    writer.table(Table::Cpuid, &placement.cpuid.leaves);
    memory(plan, image_end, &mut writer);
    writer.table(Table::PowerOff, &port_writes(&plan.power_off));
    writer.table(Table::Reset, &port_writes(&plan.machine.reset));
    let devices = devices::Records::of(plan)?;
    writer.table(Table::Interrupts, &devices.interrupts);
    writer.table(Table::Devices, &devices.devices);
    writer.table(Table::Bars, &devices.bars);
    writer.table(Table::MsixEntries, &devices.msix);
    writer.table(Table::Iommus, &placement.iommus(plan));
    let bytes = writer.finish(Header {
        image_start: IMAGE_BASE,
        image_end,
        kernel_end,
        report: plan.report,
        crash_record: plan.crash_record,
        local_apic: plan.machine.local_apic,
        on_fatal: plan.on_fatal as u32,
        debug_port: plan.machine.debug_port.unwrap_or(0),
        pm_timer_port: plan.machine.pm_timer_port.unwrap_or(0),
        major_frame_us: plan.major_frame_us,
        name: padded(&plan.name),
        ..Header::default()
    });
    if bytes.len() as u64 > placement.plan.1 {
        return Err(PackError::Plan(abi::PlanError::Damaged));
    }
    abi::Plan::parse(&aligned(&bytes).as_bytes()[..bytes.len()]).map_err(PackError::Plan)?;
    Ok(bytes)
}

fn schedule(plan: &Plan, placement: &Placement, writer: &mut Writer) {
    let (mut cpus, mut frames) = (Vec::new(), Vec::new());
    for (cpu, root) in plan.cpus.iter().zip(&placement.kernel_roots) {
        cpus.push(abi::Cpu {
            apic_id: cpu.apic_id,
            first_frame: frames.len() as u16,
            frames: cpu.frames.len() as u16,
            kernel_root: *root,
            stack_top: cpu.stack + CPU_STACK_SIZE,
            data: cpu.data,
            host_area: cpu.host_area,
        });
        frames.extend(cpu.frames.iter().map(|(end_us, partition)| abi::Frame {
            end_us: *end_us,
            partition: *partition,
            reserved: 0,
        }));
    }
    let (mut partitions, mut groups, mut members) = (Vec::new(), Vec::new(), Vec::new());
    for partition in &plan.partitions {
        partitions.push(abi::Partition {
            first_group: groups.len() as u16,
            groups: partition.groups.len() as u16,
            cpu: partition.cpu,
            reserved: 0,
            scheduling_info: partition.scheduling_info,
        });
        for group in &partition.groups {
            groups.push(abi::Group { first_member: members.len() as u16, members: group.len() as u16 });
            members.extend(group);
        }
    }
    writer.table(Table::Cpus, &cpus);
    writer.table(Table::Frames, &frames);
    writer.table(Table::Partitions, &partitions);
    writer.table(Table::Groups, &groups);
    writer.table::<u16>(Table::Members, &members);
}

fn subjects(plan: &Plan, placement: &Placement, writer: &mut Writer) -> Result<(), PackError> {
    let (mut records, mut sources, mut targets, mut code) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, (subject, placed)) in plan.subjects.iter().zip(&placement.subjects).enumerate() {
        let first_code = code.len();
        code.extend(code_regions(subject).map(|(index, region)| CodeRange {
            virt: region.address,
            size: region.size,
            phys: placed.regions[index].address,
        }));
        let (first_cpuid, cpuids) = placement.cpuid.of_subject(id);
        records.push(abi::Subject {
            first_cpuid,
            cpuids,
            first_code: first_code as u16,
            codes: (code.len() - first_code) as u16,
            ..subject_record(subject, placed)
        });
        sources.extend(source_events(plan, subject)?);
        targets.extend(target_events(subject)?);
    }
    writer.table(Table::Subjects, &records);
    writer.table(Table::SourceEvents, &sources);
    writer.table(Table::TargetEvents, &targets);
    writer.table(Table::Code, &code);
    Ok(())
}

fn subject_record(subject: &plan::Subject, placed: &PlacedSubject) -> abi::Subject {
    let kernel_exceptions = subject.exceptions == Exceptions::Kernel;
    abi::Subject {
        name: padded(&subject.name),
        cpu: subject.cpu,
        partition: subject.partition,
        group: subject.group,
        flags: if kernel_exceptions { subject_flags::KERNEL_EXCEPTIONS } else { 0 }
            | if subject.autostart { subject_flags::AUTOSTART } else { 0 },
        first_cpuid: 0,
        cpuids: 0,
        first_code: 0,
        codes: 0,
        state: subject.state,
        xsave: subject.xsave,
        control: subject.control,
        guest_root: placed.tables.guest_root,
        npt_root: placed.tables.npt_root,
        iopm: placed.iopm,
        msrpm: placed.msrpm,
        ept_root: placed.tables.ept_root,
        io_bitmaps: placed.io_bitmaps,
        msr_bitmap: placed.msr_bitmap,
        subject_info: placed.subject_info,
        timed_event: placed.timed_event,
        rip: subject.entry,
        rsp: subject.stack_pointer,
        rdi: placed.boot_info_guest,
        boot_info: placed.boot_info,
        xcr0: subject.xcr0,
        trap_events: trap_events(subject),
    }
}

fn trap_events(subject: &plan::Subject) -> [u8; trap::COUNT] {
    let mut events = [subject.on_fault.unwrap_or(NO_EVENT); trap::COUNT];
    events[usize::from(trap::HALT)] = subject.on_halt.unwrap_or(NO_EVENT);
    events[usize::from(trap::PAUSE)] = subject.on_pause.unwrap_or(NO_EVENT);
    events
}

fn source_events(plan: &Plan, subject: &plan::Subject) -> Result<[abi::SourceEvent; MAX_EVENTS], PackError> {
    let mut events = [abi::SourceEvent { target: NONE, ..Default::default() }; MAX_EVENTS];
    for event in &subject.source_events {
        let elsewhere =
            |target: u16| plan.subjects.get(usize::from(target)).is_some_and(|t| t.cpu != subject.cpu);
        let ipi = event.target.is_some_and(|(target, _)| elsewhere(target));
        let (target, target_event) = event.target.unwrap_or((NONE, 0));
        if event.action == source_action::START_DEVICE && event.device.is_none() {
            let problem = format!("its event \"{}\" starts no device", event.name);
            return Err(PackError::subject(&subject.name, problem));
        }
        *slot(&mut events, subject, event.number)? = abi::SourceEvent {
            action: event.action,
            flags: if event.handover { source_flags::HANDOVER } else { 0 }
                | if ipi { source_flags::IPI } else { 0 },
            target,
            target_event,
            reserved: 0,
            device: event.device.unwrap_or(0),
        };
    }
    Ok(events)
}

fn target_events(subject: &plan::Subject) -> Result<[abi::TargetEvent; MAX_EVENTS], PackError> {
    let mut events = [abi::TargetEvent::default(); MAX_EVENTS];
    for event in &subject.target_events {
        *slot(&mut events, subject, event.number)? =
            abi::TargetEvent { action: event.action, vector: event.vector };
    }
    Ok(events)
}

/// The record of an event number.
fn slot<'a, T>(
    events: &'a mut [T; MAX_EVENTS],
    subject: &plan::Subject,
    number: u8,
) -> Result<&'a mut T, PackError> {
    events
        .get_mut(usize::from(number))
        .ok_or_else(|| PackError::subject(&subject.name, format!("event number {number} does not exist")))
}

fn memory(plan: &Plan, image_end: u64, writer: &mut Writer) {
    let mut ram = Vec::from_iter(start_page(plan));
    ram.push(MemoryRange { start: IMAGE_BASE, size: image_end - IMAGE_BASE });
    ram.extend(merged(&plan.volatile, |_| true));
    writer.table(Table::Ram, &ram);
    writer.table(Table::Clear, &merged(&plan.volatile, |r| r.clear));
}

/// Where CPUs begin, if there is more than the boot CPU.
fn start_page(plan: &Plan) -> Option<MemoryRange> {
    (plan.cpus.len() > 1).then_some(MemoryRange { start: CPU_START, size: PAGE })
}

/// The ranges that are `wanted`, neighbours joined.
fn merged(ranges: &[VolatileRange], wanted: impl Fn(&VolatileRange) -> bool) -> Vec<MemoryRange> {
    let mut merged: Vec<MemoryRange> = Vec::new();
    for range in ranges.iter().filter(|r| wanted(r)) {
        match merged.last_mut() {
            Some(last) if last.start + last.size == range.start => last.size += range.size,
            _ => merged.push(MemoryRange { start: range.start, size: range.size }),
        }
    }
    merged
}

/// Regions a subject may execute, with their index.
fn code_regions(subject: &plan::Subject) -> impl Iterator<Item = (usize, &plan::Region)> {
    subject.regions.iter().enumerate().filter(|(_, r)| r.rights == Rights::ReadExecute)
}

fn port_writes(writes: &[plan::PortWrite]) -> Vec<abi::PortWrite> {
    writes.iter().map(|w| abi::PortWrite { port: w.port, width: w.width, value: w.value }).collect()
}

/// Puts tables behind a header.
struct Writer {
    bytes: Vec<u8>,
    tables: [TableRef; TABLES],
}

impl Writer {
    fn new() -> Self {
        Self { bytes: vec![0; size_of::<Header>()], tables: [TableRef::default(); TABLES] }
    }

    fn table<T: IntoBytes + Immutable>(&mut self, table: Table, records: &[T]) {
        self.tables[table as usize] =
            TableRef { offset: self.bytes.len() as u32, count: records.len() as u32 };
        self.bytes.extend(records.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(TABLE_ALIGNMENT), 0);
    }

    /// Completes the header and its checksum.
    fn finish(mut self, header: Header) -> Vec<u8> {
        let header = Header {
            magic: abi::MAGIC,
            version: abi::VERSION,
            header_size: size_of::<Header>() as u32,
            total_size: self.bytes.len() as u64,
            tables: self.tables,
            ..header
        };
        self.bytes[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        let sum = checksum(&self.bytes[abi::CHECKSUM_START..]);
        let place = offset_of!(Header, checksum);
        self.bytes[place..place + 8].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// The bytes where a structure of 8-byte fields can be read in place.
fn aligned(bytes: &[u8]) -> Vec<u64> {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    };
    bytes.chunks(8).map(word).collect()
}

const TABLE_ALIGNMENT: usize = 8;
/// In a trap table: no event.
const NO_EVENT: u8 = 0xff;
