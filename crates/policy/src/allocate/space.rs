//! The address space of each subject: which regions it has, where, and what its subject info says about them.

use std::sync::Arc;

use palisade_abi::init_table::{self, Operation};
use palisade_abi::layout::{
    BOOT_INFO, BOOT_INFO_SIZE, CONFIG, CRASH_RECORD, DATA, INIT_STUB, INIT_TABLE, OTHER_STATUS, PAGE, REPORT,
    SCHEDULING_INFO, STACK_TOP, STATUS, SUBJECT_INFO, SUBJECT_INFO_SIZE, TIME_INFO, TIMED_EVENT,
    page_align_up,
};
use palisade_abi::subject_info::MemoryKind;

use super::channels::{channel_plans, next_address};
use super::events::{SubjectEvents, is_native, signal_name};
use super::memory::{OutOfMemory, Volatile};
use super::schedule::SubjectPlace;
use super::{network, program, supervisor};
use crate::elf::Program;
use crate::plan::{
    Backing, Channel, Device, Partition, Region, Resource, ResourceData, Rights, Subject, SubjectKind,
};
use crate::system::{self, Data, System, output_name};

/// What all subjects' spaces are made from.
pub(crate) struct Shared<'a> {
    pub(crate) system: &'a System,
    pub(crate) events: &'a [SubjectEvents],
    pub(crate) channels: &'a [Channel],
    pub(crate) partitions: &'a [Partition],
    pub(crate) places: &'a [SubjectPlace],
    pub(crate) devices: &'a [Device],
    pub(crate) time_page: u64,
    pub(crate) report: u64,
    pub(crate) crash_record: u64,
}

/// All subjects, in the order of their identifiers.
pub(crate) fn subjects(shared: &Shared<'_>, volatile: &mut Volatile) -> Result<Vec<Subject>, OutOfMemory> {
    let status_page = |subject: &system::Subject| {
        let owner = format!("{}: status", subject.name.value);
        is_native(subject).then(|| volatile.cleared(PAGE, &owner)).transpose()
    };
    let status = shared.system.subjects.iter().map(status_page).collect::<Result<Vec<_>, _>>()?;
    (0..shared.system.subjects.len()).map(|id| subject(id, shared, &status, volatile)).collect()
}

fn subject(
    id: usize,
    shared: &Shared<'_>,
    status: &[Option<u64>],
    volatile: &mut Volatile,
) -> Result<Subject, OutOfMemory> {
    let described = &shared.system.subjects[id];
    let name = &described.name.value;
    let program = described.program.as_deref().expect("the rules demand every program");
    let init = shared.system.init.as_ref().expect("the rules demand the init stub");
    let place = shared.places[id];
    let events = &shared.events[id];
    let own = |what: &str, volatile: &mut Volatile| volatile.cleared(PAGE, &format!("{name}: {what}"));
    let (state, xsave, control) = (
        own("saved registers", volatile)?,
        own("extended state", volatile)?,
        own("control block", volatile)?,
    );

    let mut space = Space::default();
    space.add_kernel_interface(&shared.partitions[usize::from(place.partition)]);
    space.add_native(program, status[id], name, volatile)?;
    space.add_channels(id, shared);
    space.add_own_extras(id, shared, status);
    space.add_data(&described.data);
    space.resources.extend(event_resources(events));
    let ram_end = space.add_program(program, described.ram.value, name, volatile)?;
    space.add_init(init, program.entry);
    space.regions.sort_by_key(|region| region.address);

    Ok(Subject {
        name: name.clone(),
        kind: described.kind,
        program: described.program_name.value.clone(),
        abi_version: program.abi_version,
        info_version: program.info_version,
        native: program.native.is_some(),
        cpu: place.cpu,
        partition: place.partition,
        group: place.group,
        autostart: true,
        exceptions: described.exceptions,
        regions: space.regions,
        resources: space.resources,
        entry: init.entry,
        stack_pointer: ram_end - 8,
        ram_end,
        program_last: program.end() - 1,
        command_line: described.command_line.value.clone(),
        source_events: events.sources.clone(),
        target_events: events.targets.clone(),
        on_fault: Some(events.stopped),
        on_halt: Some(events.stopped),
        on_pause: on_pause(id, shared),
        ports: ports(described.kind, shared.system),
        msrs: Vec::new(),
        xcr0: X87_SSE_AVX,
        state,
        xsave,
        control,
    })
}

/// An address space as it grows, and what the init stub has to restore in it.
#[derive(Default)]
struct Space {
    regions: Vec<Region>,
    resources: Vec<Resource>,
    operations: Vec<Operation>,
}

impl Space {
    fn add(&mut self, name: &str, address: u64, size: u64, rights: Rights, backing: Backing) {
        self.regions.push(Region { name: name.to_owned(), address, size, rights, backing });
    }

    /// A region that the subject finds by its name.
    fn add_resource(
        &mut self,
        name: &str,
        kind: MemoryKind,
        address: u64,
        size: u64,
        rights: Rights,
        phys: u64,
    ) {
        self.add(name, address, size, rights, Backing::Volatile(phys));
        self.describe(name, kind, address, size, rights == Rights::ReadWrite);
    }

    fn describe(&mut self, name: &str, kind: MemoryKind, address: u64, size: u64, writable: bool) {
        let data = ResourceData::Memory { kind: kind as u8, address, size, writable, executable: false };
        self.resources.push(Resource { name: name.to_owned(), data });
    }

    /// Bytes that the subject finds by name and may read.
    fn add_content(&mut self, name: &str, address: u64, bytes: Arc<[u8]>) {
        let size = page_align_up(bytes.len() as u64);
        self.add(name, address, size, Rights::Read, Backing::Content(bytes));
        self.describe(name, MemoryKind::Subject, address, size, false);
    }

    /// What every subject learns from builder and kernel.
    fn add_kernel_interface(&mut self, partition: &Partition) {
        self.add("subject info", SUBJECT_INFO, SUBJECT_INFO_SIZE, Rights::Read, Backing::SubjectInfo);
        self.add("boot info", BOOT_INFO, BOOT_INFO_SIZE, Rights::Read, Backing::BootInfo);
        let scheduling_info = Backing::Volatile(partition.scheduling_info);
        self.add("scheduling info", SCHEDULING_INFO, PAGE, Rights::Read, scheduling_info);
    }

    /// What a program with a Palisade note gets: a guarded stack, its status page, a timer.
    fn add_native(
        &mut self,
        program: &Program,
        status: Option<u64>,
        owner: &str,
        volatile: &mut Volatile,
    ) -> Result<(), OutOfMemory> {
        let (Some(native), Some(status)) = (program.native, status) else { return Ok(()) };
        let size = u64::from(native.stack_size);
        let bottom = STACK_TOP - size;
        let stack = volatile.kept_at(size, bottom, &format!("{owner}: stack"))?;
        // Cleared at boot as well as restored, so that nothing left from an earlier boot is taken for a status or a timer.
        let timed_event = volatile.cleared(PAGE, &format!("{owner}: timed event"))?;
        self.add_resource("stack", MemoryKind::Subject, bottom, size, Rights::ReadWrite, stack);
        self.add_resource("status", MemoryKind::State, STATUS, PAGE, Rights::ReadWrite, status);
        self.add_resource(
            "timed_event",
            MemoryKind::TimedEvent,
            TIMED_EVENT,
            PAGE,
            Rights::ReadWrite,
            timed_event,
        );
        self.operations.push(Operation::fill(bottom, size, 0));
        self.operations.push(Operation::fill(STATUS, PAGE, 0));
        self.operations.push(Operation::fill(TIMED_EVENT, PAGE, 0xff));
        Ok(())
    }

    /// The time page, and the channels that the subject writes or reads.
    fn add_channels(&mut self, id: usize, shared: &Shared<'_>) {
        let is_time = shared.system.subjects[id].kind == SubjectKind::Time;
        let rights = if is_time { Rights::ReadWrite } else { Rights::Read };
        self.add_resource("time_info", MemoryKind::Channel, TIME_INFO, PAGE, rights, shared.time_page);
        for (plan, channel) in channel_plans(shared.system).iter().zip(shared.channels) {
            let ends = [
                (plan.writer, &plan.writer_resource, channel.writer.1, Rights::ReadWrite),
                (plan.reader, &plan.reader_resource, channel.reader.1, Rights::Read),
            ];
            for (_, resource, address, rights) in ends.into_iter().filter(|end| end.0 == id) {
                let kind = MemoryKind::Channel;
                self.add_resource(resource, kind, address, channel.size, rights, channel.phys);
            }
        }
    }

    /// What only one of the system's own subjects has.
    fn add_own_extras(&mut self, id: usize, shared: &Shared<'_>, status: &[Option<u64>]) {
        match shared.system.subjects[id].kind {
            SubjectKind::Log => {
                let kind = MemoryKind::CrashAudit;
                self.add_resource("crash_audit", kind, CRASH_RECORD, PAGE, Rights::Read, shared.crash_record);
            }
            SubjectKind::Supervisor => {
                self.add_resource("report", MemoryKind::Subject, REPORT, PAGE, Rights::Read, shared.report);
                for (other, page) in status.iter().enumerate().filter(|(other, _)| *other != id) {
                    let Some(page) = page else { continue };
                    let name = format!("status_{}", shared.system.subjects[other].name.value);
                    let address = OTHER_STATUS + other as u64 * PAGE;
                    self.add_resource(&name, MemoryKind::State, address, PAGE, Rights::Read, *page);
                }
                self.add_content(
                    "config",
                    CONFIG,
                    supervisor::config(shared.system, &shared.events[id]).into(),
                );
            }
            SubjectKind::Nic => {
                let own = shared.devices.iter().filter(|device| usize::from(device.subject) == id);
                own.for_each(|device| self.add_device(id, device, shared));
            }
            SubjectKind::Time | SubjectKind::Unikernel => {}
        }
    }

    /// The files that the subject reads, each followed by an unmapped page.
    fn add_data(&mut self, regions: &[Data]) {
        let mut next = DATA;
        for region in regions {
            let size = region.contents.len() as u64;
            let address = next_address(next, size);
            self.add_content(&region.name.value, address, region.contents.clone());
            next = address + page_align_up(size) + PAGE;
        }
    }

    /// A device that the subject drives: what it sees of it, the memory it shares with it, and its configuration.
    fn add_device(&mut self, id: usize, device: &Device, shared: &Shared<'_>) {
        for part in network::parts(device) {
            let rights = if part.bar.is_some() { Rights::ReadWrite } else { Rights::Read };
            self.add(&part.name, part.address, part.size, rights, Backing::Device(part.phys));
            let writable = rights == Rights::ReadWrite;
            self.describe(&part.name, MemoryKind::Device, part.address, part.size, writable);
        }
        for (address, phys, size) in &device.dma {
            self.add_resource("dma", MemoryKind::Subject, *address, *size, Rights::ReadWrite, *phys);
            // The kernel has stopped the device before its driver starts anew.
            self.operations.push(Operation::fill(*address, *size, 0));
        }
        let channel = |name: &str| {
            let channel = self.resources.iter().find(|resource| resource.name == name);
            match channel.map(|resource| &resource.data) {
                Some(ResourceData::Memory { address, size, .. }) => (*address, *size),
                _ => (0, 0),
            }
        };
        let config = network::config(shared.system, device, &shared.events[id], channel);
        self.add_content("config", CONFIG, config.into());
    }

    /// The program and its RAM, whose end is the result.
    fn add_program(
        &mut self,
        program: &Program,
        ram: u64,
        owner: &str,
        volatile: &mut Volatile,
    ) -> Result<u64, OutOfMemory> {
        let loaded = program::load(program, owner, volatile)?;
        self.regions.extend(loaded.regions);
        self.operations.extend(loaded.operations);
        let start = program.ram_start();
        let phys = volatile.kept_at(ram, start, &format!("{owner}: ram"))?;
        self.add("ram", start, ram, Rights::ReadWrite, Backing::Volatile(phys));
        self.operations.push(Operation::fill(start, ram, 0));
        Ok(start + ram)
    }

    /// The init stub and its table, which restores everything that was added before.
    fn add_init(&mut self, init: &crate::elf::InitStub, entry: u64) {
        let mut table = vec![0; init_table::size(self.operations.len())];
        init_table::write(&mut table, entry, &self.operations)
            .expect("the table has the size of its operations");
        self.add("init stub", INIT_STUB, PAGE, Rights::ReadExecute, Backing::Content(init.code.clone()));
        let size = page_align_up(table.len() as u64);
        self.add("init table", INIT_TABLE, size, Rights::Read, Backing::Content(table.into()));
    }
}

/// An unmodified unikernel tells nobody that it has written a frame, but it pauses when it has nothing else to do.
fn on_pause(id: usize, shared: &Shared<'_>) -> Option<u8> {
    shared.system.nic()?;
    let first = shared.system.ports().into_iter().find(|port| port.subject == id)?;
    let foreign = !is_native(&shared.system.subjects[id]);
    foreign.then(|| shared.events[id].source(&signal_name(&output_name(first.device)))).flatten()
}

/// The source events that the subject itself raises. The one for its own stop is the kernel's to raise.
fn event_resources(events: &SubjectEvents) -> impl Iterator<Item = Resource> {
    let named = events.sources.iter().filter(|event| event.number != events.stopped);
    named.map(|event| Resource { name: event.name.clone(), data: ResourceData::Event(event.number) })
}

fn ports(kind: SubjectKind, system: &System) -> Vec<(u16, u16)> {
    let serial_port = system.machine.as_ref().map(|machine| machine.value.machine.serial_port);
    match kind {
        SubjectKind::Time => vec![CMOS_PORTS],
        SubjectKind::Log => serial_port.map(|first| (first, SERIAL_PORTS)).into_iter().collect(),
        SubjectKind::Supervisor | SubjectKind::Nic | SubjectKind::Unikernel => Vec::new(),
    }
}

/// Index and data port of the clock chip.
const CMOS_PORTS: (u16, u16) = (0x70, 2);
/// Registers of a serial port.
const SERIAL_PORTS: u16 = 8;
/// Bits of XCR0.
const X87_SSE_AVX: u64 = 0b111;
