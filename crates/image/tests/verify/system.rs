//! A small but complete system, made by hand: the time server, the log, the supervisor, a network driver and a unikernel.

use std::sync::{Arc, LazyLock};

use palisade_abi::init_table::{self, Operation};
use palisade_abi::layout::{
    self, BOOT_INFO, BOOT_INFO_SIZE, CHANNELS, CONFIG, CPU_DATA_SIZE, CPU_STACK_SIZE, CRASH_RECORD, DEVICES,
    DMA, IMAGE_BASE, INIT_STUB, INIT_TABLE, LARGE_PAGE, OTHER_STATUS, PAGE, PRISTINE, PROGRAM, REPORT,
    SCHEDULING_INFO, STATUS, SUBJECT_INFO, SUBJECT_INFO_SIZE, TIME_INFO, TIMED_EVENT,
};
use palisade_abi::nic_config;
use palisade_abi::plan::{FatalAction, source_action, target_action};
use palisade_image::Image;
use palisade_policy::plan::{
    Backing, Channel, Cpu, Device, DeviceInterrupt, Exceptions, InfoVersion, Iommu, IommuKind, Partition,
    Plan, PortWrite, Region, Resource, ResourceData, Rights, SourceEvent, Subject, SubjectKind, TargetEvent,
    VolatileRange,
};
use zerocopy::IntoBytes;

use crate::hardware::{CONFIGURATION, REGISTERS, machine, network_card};

/// Identifiers of the subjects.
pub(crate) const TIME: usize = 0;
pub(crate) const LOG: usize = 1;
pub(crate) const SUPERVISOR: usize = 2;
pub(crate) const NIC: usize = 3;
pub(crate) const HELLO: usize = 4;

/// Where the parts of every program are.
pub(crate) const TEXT: u64 = PROGRAM;
pub(crate) const CONSTANTS: u64 = PROGRAM + 0x2000;
pub(crate) const DATA: u64 = PROGRAM + 0x3000;
pub(crate) const RAM: u64 = PROGRAM + 0x4000;
pub(crate) const RAM_SIZE: u64 = 6 << 20;
pub(crate) const CHANNEL_SIZE: u64 = 0x4_0000;
pub(crate) const DMA_SIZE: u64 = 0x2000;

/// Source events.
pub(crate) const SLEEP: u8 = 0;
pub(crate) const END: u8 = 1;
pub(crate) const RESTART: u8 = 2;
pub(crate) const STOPPED: u8 = 3;
pub(crate) const START: u8 = 4;
pub(crate) const PAUSED: u8 = 5;

/// The function of the card on bus 0.
pub(crate) const CARD: u64 = 0x18;
/// Physical address of the registers of the IOMMU, where there is one.
pub(crate) const IOMMU: u64 = 0xfed8_0000;
/// Where the driver sees its registers.
pub(crate) const DRIVER_REGISTERS: u64 = DEVICES + 2 * PAGE;
/// Where the unikernel sees its private key.
pub(crate) const KEY: u64 = layout::DATA;

/// The image of [`plan`] with [`kernel`].
pub(crate) fn image() -> &'static [u8] {
    &packed().bytes
}

pub(crate) fn packed() -> &'static Image {
    static PACKED: LazyLock<Image> = LazyLock::new(|| packed_from(&plan()));
    &PACKED
}

/// The systems of which there are images.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sample {
    /// [`plan`].
    Plain,
    /// [`confined`].
    Behind(IommuKind),
    /// [`spread`].
    TwoCpus,
}

/// The image of a sample with [`kernel`].
pub(crate) fn image_of(sample: Sample) -> &'static [u8] {
    static AMD: LazyLock<Image> = LazyLock::new(|| packed_from(&confined(IommuKind::Amd)));
    static INTEL: LazyLock<Image> = LazyLock::new(|| packed_from(&confined(IommuKind::Intel)));
    static TWO_CPUS: LazyLock<Image> = LazyLock::new(|| packed_from(&spread()));
    match sample {
        Sample::Plain => image(),
        Sample::Behind(IommuKind::Amd) => &AMD.bytes,
        Sample::Behind(IommuKind::Intel) => &INTEL.bytes,
        Sample::TwoCpus => &TWO_CPUS.bytes,
    }
}

fn packed_from(plan: &Plan) -> Image {
    palisade_image::pack(plan, kernel()).expect("the plan can be packed")
}

/// Something that looks like the kernel: text with both Multiboot headers, constants, data.
pub(crate) fn kernel() -> &'static [u8] {
    static KERNEL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut text = words(&[0x1bad_b002, 0x1_0003, 0xe451_4ffb, 0x10_0000, 0x10_0000, 0, 0, 0x10_0080]);
        text.extend(words(&[0xe852_50d6, 0, 24, 0x17ad_af12, 0, 8]));
        text.resize(0x80, 0);
        text.push(0xf4);
        let segments = [
            (0x10_0000_u64, 5_u32, text),
            (0x10_2000, 4, b"constants".to_vec()),
            (0x10_3000, 6, vec![1; 16]),
        ];
        elf(0x10_0080, &segments)
    });
    &KERNEL
}

/// The plan of the system.
pub(crate) fn plan() -> Plan {
    let mut memory = Memory { next: 64 << 20, ranges: Vec::new() };
    let shared = Shared {
        scheduling_info: memory.take(PAGE, "scheduling info", true),
        time_info: memory.take(PAGE, "time info", true),
        channel: memory.take(CHANNEL_SIZE, "channel", true),
        hello_status: memory.take(PAGE, "hello: status", true),
        report: memory.take(PAGE, "report", true),
        crash_record: memory.take(PAGE, "crash record", false),
    };
    let cpu = Cpu {
        apic_id: 0,
        frames: vec![(5000, 0), (10_000, 0)],
        stack: memory.take(CPU_STACK_SIZE, "stack", true),
        data: memory.take(CPU_DATA_SIZE, "data", true),
        host_area: memory.take(PAGE, "host area", true),
    };
    memory.next -= SECOND_CPU_SIZE;
    let subjects = [
        ("time", SubjectKind::Time),
        ("log", SubjectKind::Log),
        ("supervisor", SubjectKind::Supervisor),
        ("nic", SubjectKind::Nic),
        ("hello", SubjectKind::Unikernel),
    ];
    let subjects =
        (0..).zip(subjects).map(|(id, (name, kind))| subject(id, name, kind, &shared, &mut memory));
    let subjects = subjects.collect();
    let ends = (HELLO as u16, CHANNELS, LOG as u16);
    memory.ranges.sort_by_key(|r| r.start);
    Plan {
        name: "sample".into(),
        machine: machine(vec![(IMAGE_BASE, 63 << 20)]),
        power_off: vec![PortWrite { port: 0x604, width: 2, value: 0x2000 }],
        on_fatal: FatalAction::Halt,
        cpus: vec![cpu],
        partitions: vec![Partition {
            name: "main".into(),
            cpu: 0,
            groups: (0..5).map(|id| vec![id]).collect(),
            scheduling_info: shared.scheduling_info,
        }],
        subjects,
        channels: vec![Channel {
            name: "debuglog_hello".into(),
            writer: (ends.0, ends.1),
            reader: (ends.2, ends.1),
            size: CHANNEL_SIZE,
            phys: shared.channel,
        }],
        devices: vec![device()],
        major_frame_us: 10_000,
        report: shared.report,
        crash_record: shared.crash_record,
        iommu_queues: 0,
        volatile: memory.ranges,
    }
}

/// The plan of the same system on a machine with an IOMMU: driver and device share memory at the driver's address.
pub(crate) fn confined(kind: IommuKind) -> Plan {
    let mut plan = plan();
    plan.machine.iommu = Some(Iommu { kind, registers: vec![IOMMU, IOMMU + 4 * PAGE], buses: 1 });
    plan.iommu_queues = plan.volatile[0].start - 6 * PAGE;
    let queues =
        VolatileRange { start: plan.iommu_queues, size: 4 * PAGE, owner: "queues".into(), clear: false };
    plan.volatile.insert(0, queues);
    for region in &mut plan.subjects[NIC].regions {
        match (region.name.as_str(), &region.backing) {
            ("dma", Backing::Volatile(phys)) => plan.devices[0].dma = vec![(DMA, *phys, DMA_SIZE)],
            ("config", _) => region.backing = Backing::Content(Arc::from(nic_config(DMA).as_bytes())),
            _ => {}
        }
    }
    plan
}

/// The plan of the same system on two CPUs: the unikernel has the second one for itself.
pub(crate) fn spread() -> Plan {
    let mut plan = plan();
    let mut memory = Memory { next: plan.cpus[0].host_area, ranges: Vec::new() };
    let scheduling_info = memory.take(PAGE, "scheduling info of the second CPU", true);
    plan.machine.cpus = 2;
    plan.machine.apic_ids = vec![0, 1];
    plan.cpus.push(Cpu {
        apic_id: 1,
        frames: vec![(10_000, 1)],
        stack: memory.take(CPU_STACK_SIZE, "stack of the second CPU", true),
        data: memory.take(CPU_DATA_SIZE, "data of the second CPU", true),
        host_area: memory.take(PAGE, "host area of the second CPU", true),
    });
    plan.partitions[0].groups.truncate(HELLO);
    let groups = vec![vec![HELLO as u16]];
    plan.partitions.push(Partition { name: "second".into(), cpu: 1, groups, scheduling_info });
    let hello = &mut plan.subjects[HELLO];
    (hello.cpu, hello.partition) = (1, 1);
    for region in hello.regions.iter_mut().filter(|region| region.name == "scheduling info") {
        region.backing = Backing::Volatile(scheduling_info);
    }
    plan.volatile.extend(memory.ranges);
    plan.volatile.sort_by_key(|r| r.start);
    plan
}

struct Shared {
    scheduling_info: u64,
    time_info: u64,
    channel: u64,
    hello_status: u64,
    report: u64,
    crash_record: u64,
}

fn subject(id: u16, name: &str, kind: SubjectKind, shared: &Shared, memory: &mut Memory) -> Subject {
    let mut owned =
        |size, guest, what: &str, clear| memory.take_at(size, guest, &format!("{name}: {what}"), clear);
    let data = owned(PAGE, DATA, "data", false);
    let ram = owned(RAM_SIZE, RAM, "ram", false);
    let dma = if kind == SubjectKind::Nic { owned(DMA_SIZE, DMA, "dma", false) } else { 0 };
    let timed_event = owned(PAGE, TIMED_EVENT, "timed event", true);
    let status = if kind == SubjectKind::Unikernel {
        shared.hello_status
    } else {
        owned(PAGE, STATUS, "status", true)
    };
    let (state, xsave, control) =
        (owned(PAGE, 0, "state", true), owned(PAGE, 0, "xsave", true), owned(PAGE, 0, "control", true));

    let mut space = Space::default();
    let text = format!("\u{1}the text of {name}");
    space.content("text", TEXT, 0x2000, Rights::ReadExecute, text.as_bytes());
    space.content("constants", CONSTANTS, PAGE, Rights::Read, b"constants");
    space.volatile("data", DATA, PAGE, Rights::ReadWrite, data);
    space.volatile("ram", RAM, RAM_SIZE, Rights::ReadWrite, ram);
    space.add("subject info", SUBJECT_INFO, SUBJECT_INFO_SIZE, Rights::Read, Backing::SubjectInfo);
    space.volatile("scheduling info", SCHEDULING_INFO, PAGE, Rights::Read, shared.scheduling_info);
    space.add("boot info", BOOT_INFO, BOOT_INFO_SIZE, Rights::Read, Backing::BootInfo);
    space.resource("status", 6, STATUS, PAGE, Rights::ReadWrite, status);
    space.resource("timed_event", 7, TIMED_EVENT, PAGE, Rights::ReadWrite, timed_event);
    space.content("init stub", INIT_STUB, PAGE, Rights::ReadExecute, b"the init stub");
    space.content("init table", INIT_TABLE, PAGE, Rights::Read, &init_table(kind));
    space.content("pristine data", PRISTINE, PAGE, Rights::Read, name.as_bytes());
    space.describe("text", 2, TEXT, 0x2000, Rights::ReadExecute);
    let time_rights = if kind == SubjectKind::Time { Rights::ReadWrite } else { Rights::Read };
    space.resource("time_info", 5, TIME_INFO, PAGE, time_rights, shared.time_info);
    let mut sources = vec![source(SLEEP, "sleep", source_action::SLEEP, None)];
    let mut targets = vec![target(0, "wake", target_action::NONE)];
    let mut ports = Vec::new();
    match kind {
        SubjectKind::Time => ports.push((0x70, 2)),
        SubjectKind::Log => {
            ports.push((0x3f8, 8));
            space.resource("debuglog_hello", 5, CHANNELS, CHANNEL_SIZE, Rights::Read, shared.channel);
            space.resource("crash_audit", 17, CRASH_RECORD, PAGE, Rights::Read, shared.crash_record);
        }
        SubjectKind::Supervisor => {
            space.resource("report", 0, REPORT, PAGE, Rights::Read, shared.report);
            let address = OTHER_STATUS + HELLO as u64 * PAGE;
            space.resource("status_hello", 6, address, PAGE, Rights::Read, shared.hello_status);
            sources.push(source(END, "end", source_action::SYSTEM_POWER_OFF, None));
            let hello = Some((HELLO as u16, 1));
            sources.push(source(RESTART, "restart_hello", source_action::NONE, hello));
        }
        SubjectKind::Nic => {
            space.register("device_config", DEVICES, PAGE, Rights::Read, CONFIGURATION);
            space.volatile("dma", DMA, DMA_SIZE, Rights::ReadWrite, dma);
            space.content("config", CONFIG, PAGE, Rights::Read, nic_config(dma).as_bytes());
            space.register("device_bar4", DRIVER_REGISTERS, 4 * PAGE, Rights::ReadWrite, REGISTERS);
            sources.push(SourceEvent {
                device: Some(0),
                ..source(START, "device_start", source_action::START_DEVICE, None)
            });
        }
        SubjectKind::Unikernel => {
            space.resource("debuglog", 5, CHANNELS, CHANNEL_SIZE, Rights::ReadWrite, shared.channel);
            space.content("key", KEY, 2 * PAGE, Rights::Read, b"a private key");
            space.describe("key", 0, KEY, 2 * PAGE, Rights::Read);
            sources.push(source(PAUSED, "out_ready", source_action::NONE, Some((NIC as u16, 0))));
            targets.push(target(1, "reset", target_action::RESET));
        }
    }
    for event in &sources {
        let data = ResourceData::Event(event.number);
        space.resources.push(Resource { name: event.name.clone(), data });
    }
    sources.push(source(STOPPED, "stopped", source_action::NONE, Some((SUPERVISOR as u16, 0))));
    space.regions.sort_by_key(|r| r.address);
    Subject {
        name: name.into(),
        kind,
        program: name.into(),
        abi_version: 4,
        info_version: if kind == SubjectKind::Unikernel { InfoVersion::V04 } else { InfoVersion::V05 },
        native: true,
        cpu: 0,
        partition: 0,
        group: id,
        autostart: true,
        exceptions: Exceptions::Guest,
        regions: space.regions,
        resources: space.resources,
        entry: INIT_STUB,
        stack_pointer: RAM + RAM_SIZE - 8,
        ram_end: RAM + RAM_SIZE,
        program_last: DATA + PAGE - 1,
        command_line: format!("I am {name}"),
        source_events: sources,
        target_events: targets,
        on_fault: Some(STOPPED),
        on_halt: Some(STOPPED),
        on_pause: (kind == SubjectKind::Unikernel).then_some(PAUSED),
        ports,
        msrs: Vec::new(),
        xcr0: 7,
        state,
        xsave,
        control,
    }
}

fn init_table(kind: SubjectKind) -> Vec<u8> {
    let mut operations = vec![
        Operation::copy(DATA, PRISTINE, 0x800),
        Operation::fill(DATA + 0x800, PAGE - 0x800, 0),
        Operation::fill(RAM, RAM_SIZE, 0),
        Operation::fill(STATUS, PAGE, 0),
        Operation::fill(TIMED_EVENT, PAGE, 0xff),
    ];
    if kind == SubjectKind::Nic {
        operations.push(Operation::fill(DMA, DMA_SIZE, 0));
    }
    let mut table = vec![0; init_table::size(operations.len())];
    init_table::write(&mut table, TEXT, &operations).expect("the size is right");
    table
}

fn nic_config(dma_address: u64) -> nic_config::Header {
    nic_config::Header {
        magic: nic_config::MAGIC,
        ports: 0,
        start_event: START,
        reserved: [0; 3],
        device_config: DEVICES,
        bars: [0, 0, 0, 0, DRIVER_REGISTERS, 0],
        bar_sizes: [0, 0, 0, 0, 4 * PAGE, 0],
        dma: DMA,
        dma_size: DMA_SIZE,
        dma_address,
    }
}

#[derive(Default)]
struct Space {
    regions: Vec<Region>,
    resources: Vec<Resource>,
}

impl Space {
    fn add(&mut self, name: &str, address: u64, size: u64, rights: Rights, backing: Backing) {
        self.regions.push(Region { name: name.into(), address, size, rights, backing });
    }

    fn content(&mut self, name: &str, address: u64, size: u64, rights: Rights, content: &[u8]) {
        self.add(name, address, size, rights, Backing::Content(Arc::from(content)));
    }

    fn volatile(&mut self, name: &str, address: u64, size: u64, rights: Rights, phys: u64) {
        self.add(name, address, size, rights, Backing::Volatile(phys));
    }

    fn resource(&mut self, name: &str, kind: u8, address: u64, size: u64, rights: Rights, phys: u64) {
        self.volatile(name, address, size, rights, phys);
        self.describe(name, kind, address, size, rights);
    }

    fn register(&mut self, name: &str, address: u64, size: u64, rights: Rights, phys: u64) {
        self.add(name, address, size, rights, Backing::Device(phys));
        self.describe(name, 0, address, size, rights);
    }

    fn describe(&mut self, name: &str, kind: u8, address: u64, size: u64, rights: Rights) {
        let (writable, executable) = (rights == Rights::ReadWrite, rights == Rights::ReadExecute);
        let data = ResourceData::Memory { kind, address, size, writable, executable };
        self.resources.push(Resource { name: name.into(), data });
    }
}

fn source(number: u8, name: &str, action: u8, target: Option<(u16, u8)>) -> SourceEvent {
    SourceEvent { number, name: name.into(), action, target, device: None, handover: false }
}

fn target(number: u8, name: &str, action: u8) -> TargetEvent {
    TargetEvent { number, name: name.into(), action, vector: 0 }
}

fn device() -> Device {
    let interrupt = |host_vector, guest_vector| DeviceInterrupt { host_vector, guest_vector };
    Device {
        hardware: network_card(0),
        subject: NIC as u16,
        config: CONFIGURATION,
        interrupts: vec![interrupt(0x30, 0), interrupt(0x31, 0x40)],
        dma: Vec::new(),
    }
}

/// Memory that only the system for two CPUs uses, near that of the first one: the same page tables have room for both.
const SECOND_CPU_SIZE: u64 = CPU_STACK_SIZE + CPU_DATA_SIZE + 6 * PAGE;

/// Gives out memory from the top down, with an unused page below each range.
struct Memory {
    next: u64,
    ranges: Vec<VolatileRange>,
}

impl Memory {
    fn take(&mut self, size: u64, owner: &str, clear: bool) -> u64 {
        self.take_at(size, 0, owner, clear)
    }

    /// Large memory gets an address that large pages can map at `guest`.
    fn take_at(&mut self, size: u64, guest: u64, owner: &str, clear: bool) -> u64 {
        self.next -= size + PAGE;
        if size >= LARGE_PAGE {
            self.next = (self.next - guest % LARGE_PAGE) / LARGE_PAGE * LARGE_PAGE + guest % LARGE_PAGE;
        }
        self.ranges.push(VolatileRange { start: self.next, size, owner: owner.into(), clear });
        self.next
    }
}

/// An ELF file with these segments: address, flags, content.
fn elf(entry: u64, segments: &[(u64, u32, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(words(&[0x003e_0002, 1]));
    file.extend([entry, 64, 0].iter().flat_map(|w: &u64| w.to_le_bytes()));
    let halves: [u16; 8] = [0, 0, 64, 56, segments.len() as u16, 64, 0, 0];
    file.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
    let mut offset = 0x1000_u64;
    for (address, flags, content) in segments {
        file.extend(words(&[1, *flags]));
        let size = content.len() as u64;
        file.extend([offset, *address, *address, size, size, PAGE].iter().flat_map(|w| w.to_le_bytes()));
        offset += size.next_multiple_of(PAGE);
    }
    for (_, _, content) in segments {
        file.resize(file.len().next_multiple_of(0x1000), 0);
        file.extend(content);
    }
    file
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}
