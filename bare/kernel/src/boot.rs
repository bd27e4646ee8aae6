//! From the first Rust instruction to the run loop: check the machine against the plan, prepare what the builder could not
//! know, leave the boot page tables.

use core::sync::atomic::{AtomicPtr, Ordering};

use palisade_abi::boot_info;
use palisade_abi::needs::{self, Feature};
use palisade_abi::plan::{self, MemoryRange, NONE, Plan, PlanError, bar_flags};
use palisade_abi::subject_info;
use palisade_abi::volatile::Memory;
use palisade_kernel_core::clock::Clock;
use palisade_kernel_core::mailbox::Mailboxes;
use palisade_kernel_core::memory_map;
use palisade_kernel_core::rendezvous::{Comparison, NoStart, StartLine};

use crate::arch::apic::{self, LocalApic, Modes};
use crate::arch::extended_state::ExtendedState;
use crate::arch::svm::Svm;
use crate::arch::tables::{self, CpuData};
use crate::arch::virtualisation::Virtualisation;
use crate::arch::vtx::Vtx;
use crate::arch::{calibrate, paging, processor, secondary};
use crate::console::{self, Part};
use crate::devices;
use crate::ending;
use crate::fatal::{self, refuse};
use crate::loader::{MemoryMap, NoMap};
use crate::memory::{self, PlanMemory};
use crate::run::{self, Cpu};

/// What every part of the running kernel knows.
pub(crate) struct System {
    pub(crate) plan: Plan<'static>,
    pub(crate) clock: Clock,
    pub(crate) apic: LocalApic,
    pub(crate) extended_state: ExtendedState,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) start_line: StartLine,
    comparison: Comparison,
}

impl System {
    /// The number of the CPU that asks. (A CPU that the plan does not have never runs.)
    pub(crate) fn this_cpu(&self) -> usize {
        let id = processor::apic_id();
        self.plan.cpus.iter().position(|cpu| cpu.apic_id == id).unwrap_or(0)
    }
}

/// Goes on with the start of the CPU with this number.
type StartCpu = extern "C" fn(usize) -> !;

/// The system, once it is known. Before that, a fatal condition has nowhere to leave a record.
pub(crate) fn system() -> Option<&'static System> {
    // SAFETY: set once, to a structure that lives for ever and is not changed any more.
    unsafe { SYSTEM.load(Ordering::Acquire).as_ref() }
}

/// The first Rust function, on the boot CPU, the boot stack and the boot page tables.
#[unsafe(no_mangle)]
extern "C" fn kernel_start_rust(magic: u32, information: u32) -> ! {
    console::use_port(BOOT_CONSOLE);
    tables::report_exceptions();
    let plan = match Plan::parse(memory::plan_bytes()) {
        Ok(plan) => plan,
        Err(error) => refuse(&[Part::Text("the plan in the image "), Part::Text(explain(error))]),
    };
    console::use_port(plan.header.debug_port);
    check_plan_is_for_this_kernel(&plan);
    // SAFETY: the arguments are the loader's; the kernel has written nothing but its own memory so far.
    check_memory(&plan, unsafe { MemoryMap::of_loader(magic, information) });
    let (start_cpu, extended_state) = check_processor();
    // SAFETY: the plan's addresses are below 4 GiB, which the boot tables map; the range registers keep devices uncached.
    devices::set_up(&plan, &unsafe { PlanMemory::new(&plan) });
    // The legacy controllers come first: while the local APIC still listens to them, it forgets what it has heard from them.
    // SAFETY: the boot tables are in use; all memory that the plan uses was found in the loader's map, where no device is.
    unsafe { apic::mask_interrupt_controllers() };
    // SAFETY: the plan names the local APIC; the boot tables map it, and the processor's own range registers keep it uncached.
    let Some(apic) = (unsafe { LocalApic::enable(plan.header.local_apic, apic_modes(&plan)) }) else {
        refuse(&[Part::Text(
            "the firmware keeps the local APIC in x2APIC mode, in which interrupts of devices may not arrive",
        )])
    };
    check_cpus(&plan, &apic);
    let Some(speeds) = calibrate::measure(&apic, plan.header.pm_timer_port) else {
        refuse(&[Part::Text("one of the clocks to measure against each other does not move")]);
    };
    let clock = Clock::new(speeds.tsc_khz);
    let apic = apic.calibrated(speeds.timer_ticks, speeds.tsc_ticks);
    // SAFETY: every address of the plan was checked against the machine above, and nothing runs yet that could use it.
    unsafe { PlanMemory::clear(plan.clear) };
    publish_clock(&plan, clock);
    fatal::count_boot(&plan);
    greet(&plan, clock);
    let system = System {
        plan,
        clock,
        apic,
        extended_state,
        mailboxes: Mailboxes::new(),
        start_line: StartLine::new(),
        comparison: Comparison::new(),
    };
    SYSTEM.store((&raw const system).cast_mut(), Ordering::Release);
    let Some((cpu, others)) = plan.cpus.split_first() else { refuse(&[Part::Text("the plan has no CPU")]) };
    // SAFETY: the region is this CPU's own, was cleared just now, and is mapped by the boot tables and the CPU's own.
    unsafe { CpuData::install(cpu.data as *mut CpuData) };
    tables::use_own_stacks();
    for (other, number) in others.iter().zip(1..) {
        start_other(&system, other, number);
    }
    // SAFETY: the builder's tables map what the kernel uses, at the physical addresses. `system` stays where it is: the
    // boot stack is part of the kernel's data, and nobody comes back to it.
    unsafe { paging::enter(cpu, start_cpu, 0) }
}

/// Starts another CPU, and compares its time-stamp counter with this one's: frames of all CPUs begin together, and each counts
/// for itself.
fn start_other(system: &System, cpu: &plan::Cpu, number: u64) {
    // SAFETY: the plan has the page among its memory (`Plan::parse`), which was found in the loader's map. The CPUs before this one
    // have answered below.
    unsafe { secondary::start(cpu, &system.apic, system.clock) };
    let patience = system.clock.ticks(PATIENCE_US);
    let Some(difference) = system.comparison.ask(processor::ordered_tsc, patience) else {
        refuse(&[
            Part::Text(needs::NO_CPU),
            Part::Decimal(number),
            Part::Text(": none with the APIC identifier "),
            Part::Decimal(cpu.apic_id.into()),
            Part::Text(" has started"),
        ])
    };
    if difference > system.clock.ticks(MOST_DIFFERENCE_US) {
        refuse(&[
            Part::Text("the time-stamp counter of CPU "),
            Part::Decimal(number),
            Part::Text(" differs from that of CPU 0 by "),
            Part::Decimal(difference),
            Part::Text(" ticks or more"),
        ]);
    }
}

/// The first Rust function of every other CPU, on its own stack and the boot page tables.
#[unsafe(no_mangle)]
extern "C" fn kernel_start_secondary() -> ! {
    let Some(system) = system() else { processor::halt_for_ever() };
    let id = processor::apic_id();
    let found = system.plan.cpus.iter().enumerate().find(|(_, cpu)| cpu.apic_id == id);
    let Some((number, cpu)) = found else { processor::halt_for_ever() };
    // SAFETY: as on the boot CPU.
    unsafe { CpuData::install(cpu.data as *mut CpuData) };
    if !system.comparison.answer(processor::ordered_tsc, system.clock.ticks(PATIENCE_US)) {
        processor::halt_for_ever()
    }
    let (start_cpu, extended_state) = check_processor();
    // SAFETY: the boot tables and the CPU's own map the page, as on the boot CPU.
    let alike = extended_state == system.extended_state && unsafe { system.apic.enable_too() };
    if !alike {
        refuse(&[Part::Text("the CPU has not the features of CPU 0")]);
    }
    // SAFETY: as on the boot CPU.
    unsafe { paging::enter(cpu, start_cpu, number) }
}

/// The rest of the start of a CPU, on its own stack and page tables, with the virtualisation extension `V`.
extern "C" fn start_cpu<V: Virtualisation>(number: usize) -> ! {
    let Some(system) = system() else { refuse(&[Part::Text("a CPU started before the system was known")]) };
    let Some(cpu) = system.plan.cpus.get(number) else {
        refuse(&[Part::Text("a CPU started that the plan does not have")])
    };
    // SAFETY: the plan's addresses were checked at boot; this CPU's tables map its pages.
    let memory = unsafe { PlanMemory::new(&system.plan) };
    // SAFETY: `check_processor` found the extension; the data was installed before the tables were entered.
    let backend = match unsafe { V::enable(cpu, cpu.data as *const CpuData, memory) } {
        Ok(backend) => backend,
        Err(missing) => refuse_without(missing),
    };
    let [delay, patience] = [START_DELAY_US, PATIENCE_US].map(|us| system.clock.ticks(us));
    match system.start_line.wait(number, system.plan.cpus.len(), processor::tsc, delay, patience) {
        Ok(start) => run::run(Cpu { number: number as u16, system, memory }, backend, start),
        Err(NoStart::Missing(missing)) => refuse(&[
            Part::Text("CPU "),
            Part::Decimal(missing as u64),
            Part::Text(" has stopped at its start"),
        ]),
        Err(NoStart::Closed) => ending::leave(system),
    }
}

/// Features that the format has and this kernel does not: a plan that uses them is refused, not half obeyed.
fn check_plan_is_for_this_kernel(plan: &Plan<'_>) {
    let refused = [
        (plan.interrupts.iter().any(|i| i.pin != NONE), "interrupts by pins"),
        (plan.bars.iter().any(|b| b.flags & bar_flags::PORTS != 0), "devices with I/O ports"),
        (plan.ram.iter().any(|r| r.start + r.size > BOOT_MAPPED), "memory above 4 GiB"),
        (
            plan.devices.iter().any(|d| d.config >= BOOT_MAPPED)
                || plan.bars.iter().any(|b| b.address >= BOOT_MAPPED)
                || plan.msix.iter().any(|m| m.address >= BOOT_MAPPED)
                || plan.iommus.iter().any(|i| i.registers + i.registers_size() > BOOT_MAPPED),
            "devices above 4 GiB",
        ),
    ];
    for (used, feature) in refused {
        if used {
            refuse(&[
                Part::Text("the plan uses "),
                Part::Text(feature),
                Part::Text(", which this kernel does not support"),
            ]);
        }
    }
}

fn check_memory(plan: &Plan<'_>, map: Result<MemoryMap, NoMap>) {
    let map = match map {
        Ok(map) => map,
        Err(NoMap::UnknownLoader) => {
            refuse(&[Part::Text("the loader speaks neither Multiboot 1 nor Multiboot 2")])
        }
        Err(NoMap::Missing) => refuse(&[Part::Text("the loader gave no memory map")]),
    };
    if let Some(MemoryRange { start, size }) = memory_map::first_missing(plan.ram, || map) {
        refuse(&[
            Part::Text("the machine has no memory where the plan needs it: "),
            Part::Hex(start),
            Part::Text(" to "),
            Part::Hex(start + size - 1),
        ]);
    }
}

/// Interrupts of devices are in the short format, remapped or not, which is for xAPIC mode (VT-d specification, 9.10; 48882, 2.2.5).
fn apic_modes(plan: &Plan<'_>) -> Modes {
    if plan.interrupts.is_empty() { Modes::Both } else { Modes::Mapped }
}

/// Interrupts are sent to the identifiers that the plan has.
fn check_cpus(plan: &Plan<'_>, apic: &LocalApic) {
    let own = processor::apic_id();
    let expected = plan.cpus.first().map_or(0, |cpu| cpu.apic_id);
    if own != expected {
        refuse(&[
            Part::Text("CPU 0 has the APIC identifier "),
            Part::Decimal(own.into()),
            Part::Text(", and the plan wants "),
            Part::Decimal(expected.into()),
        ]);
    }
    if let Some(cpu) = plan.cpus.iter().find(|cpu| !apic.reaches(cpu.apic_id)) {
        refuse(&[
            Part::Text("the local APIC is not in x2APIC mode, which the APIC identifier "),
            Part::Decimal(cpu.apic_id.into()),
            Part::Text(" needs"),
        ]);
    }
}

/// Everything the kernel needs of the processor. Gives the start of a CPU that suits it.
fn check_processor() -> (StartCpu, ExtendedState) {
    if !paging::no_execute_exists() {
        refuse_without(Feature::NoExecute.words());
    }
    if !paging::memory_types_are_usual() {
        refuse(&[Part::Text("the CPU's memory types (PAT) are not those that it starts with")]);
    }
    let start_cpu = if Svm::exists() {
        start_with::<Svm>()
    } else if Vtx::exists() {
        start_with::<Vtx>()
    } else {
        refuse(&[Part::Text(needs::NO_EXTENSION)])
    };
    let Some(state) = ExtendedState::enable() else { refuse_without(Feature::Xsave.words()) };
    (start_cpu, state)
}

fn start_with<V: Virtualisation>() -> StartCpu {
    match V::missing_feature() {
        None => start_cpu::<V>,
        Some(missing) => refuse_without(missing),
    }
}

fn refuse_without(feature: &str) -> ! {
    refuse(&[Part::Text(needs::CPU_HAS_NO), Part::Text(feature)])
}

/// Writes the frequencies that nobody knew before into the pages of the subjects.
fn publish_clock(plan: &Plan<'_>, clock: Clock) {
    let khz = clock.shown_khz();
    for subject in plan.subjects {
        PlanMemory::subject_info(subject)
            .store_u32(subject_info::TSC_KHZ_OFFSET, u32::try_from(khz).unwrap_or(u32::MAX));
        PlanMemory::boot_info(subject).store(boot_info::CPU_CYCLE_FREQ_OFFSET, khz * 1000);
    }
    for partition in plan.partitions {
        PlanMemory::scheduling_info(partition).set_clock_shift(clock.shift());
    }
}

fn greet(plan: &Plan<'_>, clock: Clock) {
    console::line(
        concat!("Palisade ", env!("CARGO_PKG_VERSION"), ": system "),
        &[
            Part::Text(plan.name()),
            Part::Text(", "),
            Part::Decimal(plan.subjects.len() as u64),
            Part::Text(" subjects, "),
            Part::Decimal(plan.cpus.len() as u64),
            Part::Text(if plan.cpus.len() == 1 { " CPU" } else { " CPUs" }),
            Part::Text(", time-stamp counter "),
            Part::Decimal(clock.khz()),
            Part::Text(" kHz"),
        ],
    );
}

const fn explain(error: PlanError) -> &'static str {
    match error {
        PlanError::Magic => "is missing",
        PlanError::Version => "has another version than this kernel",
        PlanError::Damaged => "is cut off or damaged",
        PlanError::Table(_) => "has a table outside its bounds",
        PlanError::Record(..) => "refers to something that does not exist",
    }
}

static SYSTEM: AtomicPtr<System> = AtomicPtr::new(core::ptr::null_mut());

/// The console of QEMU and Bochs, for what goes wrong before the plan is read. Elsewhere the port is unused.
const BOOT_CONSOLE: u16 = 0xe9;
/// What the boot page tables map.
const BOOT_MAPPED: u64 = 1 << 32;
/// How long a CPU may take for anything at boot. An emulator that runs its CPUs in turn can need a tenth of a second.
const PATIENCE_US: u64 = 5_000_000;
/// By how much the time-stamp counters of two CPUs may differ.
const MOST_DIFFERENCE_US: u64 = 1;
/// From the moment that the last CPU is ready to the first frame.
const START_DELAY_US: u64 = 1000;
