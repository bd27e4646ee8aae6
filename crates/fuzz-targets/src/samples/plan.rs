//! Plans to be damaged.

use palisade_abi::layout::{CPU_START, MAX_EVENTS, PAGE};
use palisade_abi::plan::{
    Bar, CHECKSUM_START, CodeRange, Cpu, CpuidLeaf, Device, Frame, Group, Header, Interrupt, Iommu, MAGIC,
    MemoryRange, MsixEntry, NONE, Partition, PortWrite, SourceEvent, Subject, TABLES, TableRef, TargetEvent,
    VERSION, checksum, iommu_kind, padded, source_action, source_flags, target_action,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// The tables of a plan, in the order of the format.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // Each is the table of that name.
pub struct Tables {
    pub header: Header,
    pub cpus: Vec<Cpu>,
    pub frames: Vec<Frame>,
    pub partitions: Vec<Partition>,
    pub groups: Vec<Group>,
    pub members: Vec<u16>,
    pub subjects: Vec<Subject>,
    pub sources: Vec<[SourceEvent; MAX_EVENTS]>,
    pub targets: Vec<[TargetEvent; MAX_EVENTS]>,
    pub cpuid: Vec<CpuidLeaf>,
    pub code: Vec<CodeRange>,
    pub ram: Vec<MemoryRange>,
    pub clear: Vec<MemoryRange>,
    pub power_off: Vec<PortWrite>,
    pub reset: Vec<PortWrite>,
    pub interrupts: Vec<Interrupt>,
    pub devices: Vec<Device>,
    pub bars: Vec<Bar>,
    pub msix: Vec<MsixEntry>,
    pub iommus: Vec<Iommu>,
}

impl Tables {
    /// One CPU, one partition, one subject.
    #[must_use]
    pub fn small() -> Self {
        Self {
            header: header(),
            cpus: vec![cpu(0, 0, 1)],
            frames: vec![Frame { end_us: 5000, partition: 0, reserved: 0 }],
            partitions: vec![partition(0, 1, 0)],
            groups: vec![Group { first_member: 0, members: 1 }],
            members: vec![0],
            subjects: vec![subject("hello", 0, 0, 0)],
            sources: vec![[SourceEvent::default(); MAX_EVENTS]],
            targets: vec![[TargetEvent::default(); MAX_EVENTS]],
            cpuid: Vec::new(),
            code: Vec::new(),
            ram: Vec::new(),
            clear: Vec::new(),
            power_off: Vec::new(),
            reset: Vec::new(),
            interrupts: Vec::new(),
            devices: Vec::new(),
            bars: Vec::new(),
            msix: Vec::new(),
            iommus: Vec::new(),
        }
    }

    /// Two CPUs, three partitions, four subjects, and a record in every table.
    #[must_use]
    pub fn full() -> Self {
        let frame = |end_us, partition| Frame { end_us, partition, reserved: 0 };
        let mut tables = Self {
            cpus: vec![cpu(0, 0, 2), cpu(1, 2, 1)],
            frames: vec![frame(2000, 0), frame(5000, 1), frame(5000, 2)],
            partitions: vec![partition(0, 1, 0), partition(1, 1, 0), partition(2, 1, 1)],
            groups: [0, 1, 3]
                .map(|first| Group { first_member: first, members: 1 + u16::from(first == 1) })
                .to_vec(),
            members: vec![0, 1, 2, 3],
            subjects: vec![
                subject("time", 0, 0, 0),
                subject("log", 0, 1, 1),
                subject("supervisor", 0, 1, 1),
                subject("hello", 1, 2, 2),
            ],
            sources: vec![[SourceEvent::default(); MAX_EVENTS]; 4],
            targets: vec![[TargetEvent::default(); MAX_EVENTS]; 4],
            cpuid: vec![CpuidLeaf { leaf: 1, ..CpuidLeaf::default() }],
            code: vec![CodeRange { virt: 0x20_0000, size: 0x3000, phys: 0x14_0000 }],
            ram: vec![
                MemoryRange { start: 0x10_0000, size: 0x10_0000 },
                MemoryRange { start: CPU_START, size: PAGE },
            ],
            clear: vec![MemoryRange { start: 0x100_0000, size: 0x10_0000 }],
            power_off: vec![PortWrite { port: 0x604, width: 2, value: 0x2000 }],
            reset: vec![PortWrite { port: 0xcf9, width: 1, value: 6 }],
            interrupts: vec![interrupt()],
            devices: vec![Device { subject: 3, bars: 1, msix: 1, ..Device::default() }],
            bars: vec![Bar { address: 0xfe00_0000, size: 0x4000, index: 4, ..Bar::default() }],
            msix: vec![MsixEntry { address: 0xfe00_1000, interrupt: 0, reserved: [0; 3] }],
            iommus: vec![iommu()],
            ..Self::small()
        };
        tables.subjects[3].cpuids = 1;
        tables.subjects[3].codes = 1;
        tables.subjects[3].trap_events[14] = 1;
        let signal = SourceEvent { action: source_action::NONE, target: 2, ..SourceEvent::default() };
        tables.sources[3][1] = signal;
        tables.sources[3][2] = SourceEvent { action: source_action::START_DEVICE, target: NONE, ..signal };
        tables.sources[1][0] = SourceEvent { flags: source_flags::HANDOVER, ..signal };
        tables.targets[2][0] = TargetEvent { action: target_action::NONE, vector: 0 };
        tables.targets[3][0] = TargetEvent { action: target_action::INJECT_INTERRUPT, vector: 0x31 };
        tables.targets[3][1] = TargetEvent { action: target_action::RESET, vector: 0 };
        tables
    }

    /// The plan with these tables. Places, sizes and the checksum of the header are filled in.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut plan =
            Unfinished { bytes: self.header.as_bytes().to_vec(), tables: Vec::with_capacity(TABLES) };
        plan.add(&self.cpus);
        plan.add(&self.frames);
        plan.add(&self.partitions);
        plan.add(&self.groups);
        plan.add(&self.members);
        plan.add(&self.subjects);
        plan.add(self.sources.as_flattened());
        plan.add(self.targets.as_flattened());
        plan.add(&self.cpuid);
        plan.add(&self.code);
        plan.add(&self.ram);
        plan.add(&self.clear);
        plan.add(&self.power_off);
        plan.add(&self.reset);
        plan.add(&self.interrupts);
        plan.add(&self.devices);
        plan.add(&self.bars);
        plan.add(&self.msix);
        plan.add(&self.iommus);
        let mut header = self.header;
        header.total_size = plan.bytes.len() as u64;
        for (to, from) in header.tables.iter_mut().zip(&plan.tables) {
            *to = *from;
        }
        finish(&mut plan.bytes, header);
        plan.bytes
    }
}

/// Puts a header before the tables of a plan, with the right checksum.
pub(crate) fn finish(plan: &mut [u8], mut header: Header) {
    let mut write = |header: &Header| {
        for (to, from) in plan.iter_mut().zip(header.as_bytes()) {
            *to = *from;
        }
        plan.get(CHECKSUM_START..).map_or(0, checksum)
    };
    header.checksum = write(&header);
    write(&header);
}

struct Unfinished {
    bytes: Vec<u8>,
    tables: Vec<TableRef>,
}

impl Unfinished {
    fn add<T: IntoBytes + Immutable>(&mut self, records: &[T]) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.tables.push(TableRef { offset: self.bytes.len() as u32, count: records.len() as u32 });
        self.bytes.extend_from_slice(records.as_bytes());
    }
}

fn header() -> Header {
    Header {
        magic: MAGIC,
        version: VERSION,
        header_size: size_of::<Header>() as u32,
        image_start: 0x10_0000,
        image_end: 0x80_0000,
        kernel_end: 0x12_0000,
        report: 0x90_0000,
        crash_record: 0x91_0000,
        local_apic: 0xfee0_0000,
        major_frame_us: 5000,
        name: padded("sample"),
        ..Header::default()
    }
}

fn cpu(number: u16, first_frame: u16, frames: u16) -> Cpu {
    Cpu {
        apic_id: u32::from(number),
        first_frame,
        frames,
        kernel_root: 0x13_0000,
        stack_top: 0xa0_0000,
        data: 0xa1_0000,
        host_area: 0xa2_0000,
    }
}

fn partition(first_group: u16, groups: u16, cpu: u16) -> Partition {
    Partition { first_group, groups, cpu, reserved: 0, scheduling_info: 0xb0_0000 }
}

fn subject(name: &str, cpu: u16, partition: u16, group: u16) -> Subject {
    let mut subject = Subject::new_zeroed();
    subject.name = padded(name);
    (subject.cpu, subject.partition, subject.group) = (cpu, partition, group);
    for page in [
        &mut subject.state,
        &mut subject.xsave,
        &mut subject.control,
        &mut subject.guest_root,
        &mut subject.npt_root,
        &mut subject.iopm,
        &mut subject.msrpm,
        &mut subject.ept_root,
        &mut subject.io_bitmaps,
        &mut subject.msr_bitmap,
        &mut subject.subject_info,
        &mut subject.boot_info,
    ] {
        *page = 0xc0_0000;
    }
    subject.xcr0 = 3;
    subject.trap_events = [0xff; 64];
    subject
}

fn interrupt() -> Interrupt {
    Interrupt {
        host_vector: 0x30,
        guest_vector: 0x31,
        subject: 3,
        iommu: 0,
        pin: NONE,
        ..Interrupt::default()
    }
}

fn iommu() -> Iommu {
    Iommu {
        kind: iommu_kind::INTEL,
        device_table_size: 4096,
        registers: 0xfed9_0000,
        device_table: 0x15_0000,
        interrupt_table: 0x15_1000,
        queues: 0xb1_0000,
    }
}
