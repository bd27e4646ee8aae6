//! What the tests of this crate pack: a small system made by hand, and something that looks like a kernel.

#[path = "../tests/verify/hardware.rs"]
mod hardware;

use std::sync::Arc;

use palisade_abi::layout::{
    BOOT_INFO, BOOT_INFO_SIZE, CHANNELS, CPU_DATA_SIZE, CPU_STACK_SIZE, DEVICES, IMAGE_BASE, PROGRAM,
    SCHEDULING_INFO, SUBJECT_INFO, SUBJECT_INFO_SIZE, TIMED_EVENT,
};
use palisade_abi::plan::{FatalAction, source_action, target_action};
use palisade_policy::plan::{
    Backing, Channel, Cpu, Device, DeviceInterrupt, Exceptions, InfoVersion, Partition, Plan, PortWrite,
    Region, Resource, ResourceData, Rights, SourceEvent, Subject, SubjectKind, TargetEvent, VolatileRange,
};

use self::hardware::{CONFIGURATION, REGISTERS, machine, network_card};

pub(crate) const MIB: u64 = 1024 * 1024;
pub(crate) const RAM_SIZE: u64 = 6 * MIB;
pub(crate) const CHANNEL_SIZE: u64 = 0x4_0000;

/// Two subjects with the same program, `log` and `hello`, and a channel from `hello` to `log`.
pub(crate) fn sample_plan() -> Plan {
    let mut memory = Allocator { next: 64 * MIB, ranges: Vec::new() };
    let crash_record = memory.take(0x1000, "kernel: crash record", false);
    let report = memory.take(0x1000, "kernel: report", true);
    let cpu = Cpu {
        apic_id: 0,
        frames: vec![(5000, 0), (10_000, 0)],
        stack: memory.take(CPU_STACK_SIZE, "kernel: stack of CPU 0", true),
        data: memory.take(CPU_DATA_SIZE, "kernel: data of CPU 0", true),
        host_area: memory.take(0x1000, "kernel: host area of CPU 0", true),
    };
    let scheduling_info = memory.take(0x1000, "scheduling info of main", true);
    let channel = memory.take(CHANNEL_SIZE, "channel debuglog", true);
    let mut log = subject("log", SubjectKind::Log, scheduling_info, &mut memory);
    let mut hello = subject("hello", SubjectKind::Unikernel, scheduling_info, &mut memory);
    log.ports = vec![(0x3f8, 8)];
    log.exceptions = Exceptions::Kernel;
    log.regions.push(region(
        "channel debuglog_hello",
        CHANNELS,
        CHANNEL_SIZE,
        Rights::Read,
        Backing::Volatile(channel),
    ));
    log.resources = vec![memory_resource("debuglog_hello", 5, CHANNELS, CHANNEL_SIZE, false)];
    log.target_events.push(TargetEvent {
        number: 2,
        name: "wake".into(),
        action: target_action::NONE,
        vector: 0,
    });
    hello.group = 1;
    hello.regions.push(region(
        "channel debuglog",
        CHANNELS,
        CHANNEL_SIZE,
        Rights::ReadWrite,
        Backing::Volatile(channel),
    ));
    hello.source_events.push(SourceEvent {
        number: 1,
        name: "solo5_exit".into(),
        action: source_action::NONE,
        target: Some((0, 2)),
        device: None,
        handover: false,
    });
    hello.on_fault = Some(1);
    hello.resources = vec![
        memory_resource("debuglog", 5, CHANNELS, CHANNEL_SIZE, true),
        memory_resource("text", 2, PROGRAM, 0x2000, false),
        Resource { name: "solo5_exit".into(), data: ResourceData::Event(1) },
    ];
    let mut volatile = memory.ranges;
    volatile.sort_by_key(|r| r.start);
    Plan {
        name: "sample".into(),
        machine: machine(vec![(0, 0x9_f000), (IMAGE_BASE, 63 * MIB)]),
        power_off: vec![PortWrite { port: 0x604, width: 2, value: 0x2000 }],
        on_fatal: FatalAction::Halt,
        cpus: vec![cpu],
        partitions: vec![Partition {
            name: "main".into(),
            cpu: 0,
            groups: vec![vec![0], vec![1]],
            scheduling_info,
        }],
        subjects: vec![log, hello],
        channels: vec![Channel {
            name: "debuglog_hello".into(),
            writer: (1, CHANNELS),
            reader: (0, CHANNELS),
            size: CHANNEL_SIZE,
            phys: channel,
        }],
        devices: Vec::new(),
        major_frame_us: 10_000,
        report,
        crash_record,
        iommu_queues: 0,
        volatile,
    }
}

/// The sample with a network card, which `hello` drives. Its configuration and its registers lie at [`DEVICES`].
pub(crate) fn plan_with_device() -> Plan {
    let mut plan = sample_plan();
    let hardware = network_card(0x40);
    let interrupt = |host_vector, guest_vector| DeviceInterrupt { host_vector, guest_vector };
    let hello = &mut plan.subjects[1];
    let registers = [
        ("device_config", CONFIGURATION, 0x1000, Rights::Read),
        ("device_bar4", REGISTERS, 0x4000, Rights::ReadWrite),
    ];
    let mut address = DEVICES;
    for (name, place, size, rights) in registers {
        hello.regions.push(region(name, address, size, rights, Backing::Device(place)));
        address += size + 0x1000;
    }
    hello.source_events.push(SourceEvent {
        number: 2,
        name: "device_start".into(),
        action: source_action::START_DEVICE,
        target: None,
        device: Some(0),
        handover: false,
    });
    hello.on_pause = Some(1);
    plan.machine.devices.push(hardware.clone());
    plan.devices.push(Device {
        hardware,
        subject: 1,
        config: CONFIGURATION,
        interrupts: vec![interrupt(0x30, 0), interrupt(0x31, 0x21)],
        dma: Vec::new(),
    });
    plan
}

/// Has `hello` run on a CPU of its own.
pub(crate) fn use_second_cpu(plan: &mut Plan) {
    let free = |n: u64| 20 * MIB + n * 0x8000;
    let frames = vec![(10_000, 1)];
    plan.cpus.push(Cpu { apic_id: 1, frames, stack: free(0), data: free(1), host_area: free(2) });
    plan.partitions[0].groups.pop();
    plan.partitions.push(Partition {
        name: "second".into(),
        cpu: 1,
        groups: vec![vec![1]],
        scheduling_info: free(3),
    });
    (plan.subjects[1].cpu, plan.subjects[1].partition) = (1, 1);
}

pub(crate) fn region(name: &str, address: u64, size: u64, rights: Rights, backing: Backing) -> Region {
    Region { name: name.into(), address, size, rights, backing }
}

fn memory_resource(name: &str, kind: u8, address: u64, size: u64, writable: bool) -> Resource {
    let data = ResourceData::Memory { kind, address, size, writable, executable: kind == 2 };
    Resource { name: name.into(), data }
}

fn subject(name: &str, kind: SubjectKind, scheduling_info: u64, memory: &mut Allocator) -> Subject {
    let text: Arc<[u8]> = b"\xf4 what both execute".as_slice().into();
    let ram_end = PROGRAM + 0x2000 + RAM_SIZE;
    let ram = memory.take_aligned(RAM_SIZE, PROGRAM + 0x2000, &format!("{name}: ram"));
    let timed_event = memory.take(0x1000, &format!("{name}: timed event"), true);
    Subject {
        name: name.into(),
        kind,
        program: format!("built-in {name}"),
        abi_version: 4,
        info_version: InfoVersion::V05,
        native: true,
        cpu: 0,
        partition: 0,
        group: 0,
        autostart: true,
        exceptions: Exceptions::Guest,
        regions: vec![
            region("text", PROGRAM, 0x2000, Rights::ReadExecute, Backing::Content(text)),
            region("ram", PROGRAM + 0x2000, RAM_SIZE, Rights::ReadWrite, Backing::Volatile(ram)),
            region("subject info", SUBJECT_INFO, SUBJECT_INFO_SIZE, Rights::Read, Backing::SubjectInfo),
            region(
                "scheduling info",
                SCHEDULING_INFO,
                0x1000,
                Rights::Read,
                Backing::Volatile(scheduling_info),
            ),
            region("boot info", BOOT_INFO, BOOT_INFO_SIZE, Rights::Read, Backing::BootInfo),
            region("timed event", TIMED_EVENT, 0x1000, Rights::ReadWrite, Backing::Volatile(timed_event)),
        ],
        resources: Vec::new(),
        entry: PROGRAM,
        stack_pointer: ram_end - 8,
        ram_end,
        program_last: PROGRAM + 0x1fff,
        command_line: format!("I am {name}"),
        source_events: Vec::new(),
        target_events: Vec::new(),
        on_fault: None,
        on_halt: None,
        on_pause: None,
        ports: Vec::new(),
        msrs: Vec::new(),
        xcr0: 7,
        state: memory.take(0x1000, &format!("{name}: state"), true),
        xsave: memory.take(0x1000, &format!("{name}: XSAVE area"), true),
        control: memory.take(0x1000, &format!("{name}: control"), true),
    }
}

/// Gives out memory from the top down.
struct Allocator {
    next: u64,
    ranges: Vec<VolatileRange>,
}

impl Allocator {
    fn take(&mut self, size: u64, owner: &str, clear: bool) -> u64 {
        self.next -= size + 0x1000;
        self.ranges.push(VolatileRange { start: self.next, size, owner: owner.into(), clear });
        self.next
    }

    /// Memory at the same offset in a large page as `guest`.
    fn take_aligned(&mut self, size: u64, guest: u64, owner: &str) -> u64 {
        let offset = guest % (2 * MIB);
        self.next = (self.next - size - offset) / (2 * MIB) * (2 * MIB) + offset;
        self.ranges.push(VolatileRange { start: self.next, size, owner: owner.into(), clear: true });
        self.next
    }
}

/// An ELF file with what the builder wants to see in a kernel. The default passes every check.
pub(crate) struct FakeKernel {
    pub(crate) machine: u16,
    pub(crate) entry: u64,
    pub(crate) segments: Vec<FakeSegment>,
}

#[derive(Default)]
pub(crate) struct FakeSegment {
    pub(crate) address: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) memory_size: u64,
    pub(crate) flags: u32,
}

impl Default for FakeKernel {
    fn default() -> Self {
        let mut text = boot_headers();
        let entry = 0x10_0000 + text.len() as u64;
        text.push(0xf4);
        let segment = |address, content: &[u8], memory_size, flags| FakeSegment {
            address,
            content: content.into(),
            memory_size,
            flags,
        };
        Self {
            machine: 62,
            entry,
            segments: vec![
                segment(0x10_0000, &text, text.len() as u64, 5),
                segment(0x10_2000, b"read", 4, 4),
                segment(0x10_3000, b"data", 0x1800, 6),
            ],
        }
    }
}

/// Multiboot headers that ask for the whole file: 32 bytes of version 1, then version 2 with an address tag and an end tag.
pub(crate) fn boot_headers() -> Vec<u8> {
    let (magic1, flags) = (0x1bad_b002_u32, 0x1_0003_u32);
    let sum1 = 0_u32.wrapping_sub(magic1 + flags);
    let (magic2, length) = (0xe852_50d6_u32, 48_u32);
    let sum2 = 0_u32.wrapping_sub(magic2).wrapping_sub(length);
    let words: [&[u32]; 4] = [
        &[magic1, flags, sum1, 0x10_0000, 0x10_0000, 0, 0, 0x10_0050],
        &[magic2, 0, length, sum2],
        &[2, 24, 0x10_0020, 0x10_0000, 0, 0],
        &[0, 8],
    ];
    words.concat().iter().flat_map(|w| w.to_le_bytes()).collect()
}

impl FakeKernel {
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];
        file.extend(self.machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend([self.entry, 64, 0].iter().flat_map(|w| w.to_le_bytes()));
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, self.segments.len() as u8, 0, 64, 0, 0, 0, 0, 0]);
        let mut offset = 64 + 56 * self.segments.len() as u64;
        for s in &self.segments {
            let size = s.content.len() as u64;
            file.extend(1_u32.to_le_bytes());
            file.extend(s.flags.to_le_bytes());
            let words = [offset, s.address, s.address, size, s.memory_size, 0x1000];
            file.extend(words.iter().flat_map(|w| w.to_le_bytes()));
            offset += size;
        }
        file.extend(self.segments.iter().flat_map(|s| s.content.iter()));
        file
    }
}
