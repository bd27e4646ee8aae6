//! Machine files: what hardware a system is made for.

mod devices;
mod iommu;
mod processor;

use std::path::Path;
use std::sync::Arc;

use palisade_abi::layout::{PAGE, page_align_up};
use palisade_abi::needs::Feature;

use crate::document::{self, Fields, did_you_mean};
use crate::input::read_text;
use crate::plan::{self, PortWrite};
use crate::problem::{Collector, Problem};
use crate::rules::{machine as rules, reading};
use crate::source::{Located, Place, Source};

use devices::Occupied;

/// A machine as its file describes it, with the memory and CPUs of this system.
#[derive(Debug, Clone)]
pub struct MachineDescription {
    /// What allocation needs.
    pub machine: plan::Machine,
    /// The ways to power it off, by name; the first is the default.
    pub power_off: Vec<(String, Vec<PortWrite>)>,
    /// The emulators that can be this machine, the usual one first. Empty if its file names none.
    pub emulators: Vec<Emulator>,
    /// Features of its CPUs, as far as its file says whether they are there.
    features: Vec<(Feature, Located<bool>)>,
}

/// An emulator of whole machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulator {
    /// QEMU, whose software CPU is an AMD one.
    Qemu,
    /// Bochs, with an Intel CPU.
    Bochs,
}

impl Emulator {
    /// The machine that a system is for which is to run in this emulator and names no machine.
    #[must_use]
    pub const fn usual_machine(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-q35",
            Self::Bochs => "bochs",
        }
    }

    /// Its name in machine files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Bochs => "bochs",
        }
    }
}

impl MachineDescription {
    /// Usable memory altogether.
    #[must_use]
    pub fn usable_size(&self) -> u64 {
        self.machine.usable.iter().map(|(_, size)| size).sum()
    }

    /// Whether its CPUs have a feature, if its file says that.
    pub(crate) fn feature(&self, wanted: Feature) -> Option<&Located<bool>> {
        self.features.iter().find(|(feature, _)| *feature == wanted).map(|(_, known)| known)
    }

    /// The network card with this name, or the first one.
    pub(crate) fn network_card(&self, name: Option<&str>) -> Option<&plan::MachineDevice> {
        let is_wanted = |device: &&plan::MachineDevice| name.is_none_or(|name| device.name == name);
        self.network_cards().find(is_wanted)
    }

    /// Its network cards.
    pub(crate) fn network_cards(&self) -> impl Iterator<Item = &plan::MachineDevice> {
        self.machine.devices.iter().filter(|device| match device.driver {
            plan::Driver::VirtioNet => true,
        })
    }

    /// The port writes of a power-off method.
    #[must_use]
    pub fn power_off_method(&self, name: &str) -> Option<&[PortWrite]> {
        self.power_off.iter().find(|(method, _)| method == name).map(|(_, writes)| writes.as_slice())
    }
}

/// What a system asks of its machine beyond the machine's file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) memory: Option<u64>,
    pub(crate) cpus: Option<u16>,
}

/// The machines that need no file.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("qemu-q35", include_str!("../../../machines/qemu-q35.toml")),
    ("qemu-q35-vtd", include_str!("../../../machines/qemu-q35-vtd.toml")),
    ("bochs", include_str!("../../../machines/bochs.toml")),
    ("qemu-or-bochs", include_str!("../../../machines/qemu-or-bochs.toml")),
];

/// Reads the machine that a description names: a built-in one, or a `.toml` file relative to the description's folder.
pub(crate) fn load(
    name: &Located<String>,
    folder: &Path,
    wanted: Wanted,
    problems: &Collector,
) -> Option<MachineDescription> {
    let text = match BUILT_IN.iter().find(|(known, _)| *known == name.value) {
        Some((_, text)) => (*text).to_owned(),
        None if name.value.ends_with(".toml") => {
            let path = folder.join(&name.value);
            read_text(&path)
                .inspect_err(|error| {
                    problems.add(
                        Problem::error(&reading::FILE, format!("cannot read {}: {error}", path.display()))
                            .at(&name.place, "this machine file")
                            .help("the path is relative to the folder of the description"),
                    );
                })
                .ok()?
        }
        None => {
            let known = BUILT_IN.iter().map(|(known, _)| *known);
            problems.add(
                Problem::error(&rules::KNOWN, format!("there is no machine `{}`", name.value))
                    .at(&name.place, "unknown machine")
                    .help(format!(
                        "{} (a machine file is named by its path, which ends in .toml)",
                        did_you_mean(&name.value, known)
                    )),
            );
            return None;
        }
    };
    let stem =
        Path::new(&name.value).file_stem().map_or_else(|| name.value.clone(), |s| s.to_string_lossy().into());
    read(&stem, Arc::new(Source { name: name.value.clone(), text }), wanted, problems)
}

fn read(name: &str, source: Arc<Source>, wanted: Wanted, problems: &Collector) -> Option<MachineDescription> {
    let table = document::parse(&source, problems);
    let start = Place { source, range: 0..0 };
    let what = format!("machine {name}");
    let fields = Fields::new(&table, &start, &what, problems);
    let cpus = fields.integer("cpus", 1..=u16::MAX).map_or(1, |cpus| cpus.value);
    let cpus = wanted.cpus.unwrap_or(cpus);
    let given_ids: Option<Vec<u32>> = fields.has("apic_ids").then(|| {
        let ids = fields.array("apic_ids").iter();
        ids.filter_map(|id| document::integer_of(id, "apic_ids", 0..=u32::MAX, problems))
            .map(|id| id.value)
            .collect()
    });
    let Memory { installed, ram, usable } = memory(&fields, wanted.memory, problems)?;
    let reset = port_writes(&fields, "reset", problems);
    if fields.entry("reset").is_none() {
        fields.missing(
            "reset",
            "give the port writes that reset the machine: [{ port = 0xcf9, width = 1, value = 6 }]",
        );
    }
    let local_apic =
        fields.integer("local_apic", 0..=u64::from(u32::MAX)).map_or(LOCAL_APIC, |address| address.value);
    let ram = ram.into_iter().map(|(start, size)| Occupied { start, size, what: "memory".to_owned() });
    let apic = Occupied { start: local_apic, size: PAGE, what: "the local APIC".to_owned() };
    let occupied: Vec<Occupied> = ram.chain([apic]).collect();
    let iommu = iommu::read(&fields, &occupied, problems);
    let registers = iommu.iter().flat_map(|iommu| iommu.registers.clone());
    let (pci, devices) = devices::read(&fields, occupied.into_iter().chain(registers).collect(), problems);
    if let Some(iommu) = &iommu {
        iommu.check_devices(&devices, problems);
    }
    let machine = plan::Machine {
        name: name.to_owned(),
        memory: installed,
        usable,
        cpus,
        apic_ids: given_ids.unwrap_or_else(|| (0..u32::from(cpus)).collect()),
        local_apic,
        debug_port: fields.integer("debug_port", 1..=u16::MAX).map(|port| port.value),
        pm_timer_port: fields.integer("pm_timer_port", 1..=u16::MAX).map(|port| port.value),
        reset,
        serial_port: fields.integer("serial_port", 1..=0xfff8).map_or(COM1, |port| port.value),
        iommu: iommu.map(|described| described.iommu),
        pci,
        devices,
    };
    let power_off = power_off(&fields, problems);
    let features = processor::read(&fields, problems);
    let emulators = fields.choices("emulators", &[Emulator::Qemu, Emulator::Bochs].map(|it| (it.name(), it)));
    fields.finish();
    Some(MachineDescription { machine, power_off, emulators, features })
}

/// The memory of a machine.
struct Memory {
    /// Bytes altogether.
    installed: u64,
    /// Where it lies below 4 GiB, as (start, size); what is not usable included.
    ram: Vec<(u64, u64)>,
    /// What is usable of it below 4 GiB.
    usable: Vec<(u64, u64)>,
}

fn memory(fields: &Fields<'_>, wanted: Option<u64>, problems: &Collector) -> Option<Memory> {
    let Some((key, node)) = fields.entry("memory") else {
        fields.missing("memory", "add a table: [memory] with `installed = \"512 MiB\"`");
        return None;
    };
    let memory = Fields::of(node, &key.place, "memory", problems)?;
    let installed = memory.size("installed").map(|size| size.value);
    if !memory.has("installed") {
        memory.missing("installed", "say how much memory the machine has: installed = \"512 MiB\"");
    }
    let installed = wanted.or(installed);
    let start = memory.size("start").map_or(ONE_MEBIBYTE, |size| size.value);
    let low_limit = memory.size("low_limit").map_or(USUAL_LOW_LIMIT, |size| size.value);
    let low_beyond = memory.size("low_beyond_limit").map_or(low_limit, |size| size.value);
    let firmware = memory.size("firmware").map_or(0, |size| size.value);
    let explicit = memory.has("usable").then(|| explicit_ranges(memory.array("usable"), problems));
    memory.finish();
    let installed = installed?;
    let (low, installed_end) =
        if installed < low_limit { (installed, installed) } else { (low_beyond, FOUR_GIBIBYTES) };
    let ram = explicit.clone().unwrap_or_else(|| vec![(0, low)]);
    let usable =
        explicit.unwrap_or_else(|| vec![(start, low.saturating_sub(firmware).saturating_sub(start))]);
    let end = installed_end.min(FOUR_GIBIBYTES);
    Some(Memory { installed, ram, usable: usable.into_iter().filter_map(|range| clip(range, end)).collect() })
}

/// The part of a range below `end`, in whole pages.
fn clip((start, size): (u64, u64), end: u64) -> Option<(u64, u64)> {
    let end = start.saturating_add(size).min(end) & !(PAGE - 1);
    let start = page_align_up(start);
    (end > start).then(|| (start, end - start))
}

/// `usable = [{ start = "1 MiB", size = "511 MiB" }]`, sorted, overlaps refused.
fn explicit_ranges(items: &[document::Node], problems: &Collector) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64, &Place)> = Vec::new();
    for item in items {
        let Some(range) = Fields::of(item, &item.place, "usable range", problems) else { continue };
        let values = (range.size("start"), range.size("size"));
        range.finish();
        match values {
            (Some(start), Some(size)) => ranges.push((start.value, size.value, &item.place)),
            _ => problems.add(
                Problem::error(&reading::MISSING_KEY, "a usable range has a start and a size")
                    .at(&item.place, "this range")
                    .help("write { start = \"1 MiB\", size = \"511 MiB\" }"),
            ),
        }
    }
    ranges.sort_by_key(|(start, ..)| *start);
    for pair in ranges.windows(2) {
        if pair[0].0.saturating_add(pair[0].1) > pair[1].0 {
            problems.add(
                Problem::error(&rules::MEMORY_MAP, "usable ranges of memory overlap")
                    .at(pair[1].2, "begins before the range below it ends")
                    .help("each byte of memory belongs to one range"),
            );
        }
    }
    ranges.into_iter().map(|(start, size, _)| (start, size)).collect()
}

fn power_off(fields: &Fields<'_>, problems: &Collector) -> Vec<(String, Vec<PortWrite>)> {
    let mut methods = Vec::new();
    for item in fields.array("power_off") {
        let Some(method) = Fields::of(item, &item.place, "power-off method", problems) else { continue };
        let name = method.required_text("name", "give it a name that descriptions can choose");
        let writes = port_writes(&method, "writes", problems);
        method.finish();
        methods.extend(name.map(|name| (name.value, writes)));
    }
    methods
}

fn port_writes(fields: &Fields<'_>, key: &'static str, problems: &Collector) -> Vec<PortWrite> {
    let read = |item: &document::Node| {
        let write = Fields::of(item, &item.place, "port write", problems)?;
        let port = write.integer("port", 0..=u16::MAX);
        let width = write.integer("width", 1..=4_u16);
        let value = write.integer("value", 0..=u32::MAX);
        write.finish();
        let (Some(port), Some(width), Some(value)) = (port, width, value) else {
            problems.add(incomplete_write(&item.place));
            return None;
        };
        if width.value == 3 {
            problems.add(incomplete_write(&width.place));
        }
        Some(PortWrite { port: port.value, width: width.value, value: value.value })
    };
    fields.array(key).iter().filter_map(read).collect()
}

fn incomplete_write(place: &Place) -> Problem {
    Problem::error(&reading::VALUE, "this is no port write")
        .at(place, "not complete")
        .help("write { port = 0x604, width = 2, value = 0x2000 }; the width is 1, 2 or 4 bytes")
}

/// Where every x86 machine has its local APIC after reset.
const LOCAL_APIC: u64 = 0xfee0_0000;
/// The first serial port of a PC.
const COM1: u16 = 0x3f8;
const ONE_MEBIBYTE: u64 = 1 << 20;
const FOUR_GIBIBYTES: u64 = 1 << 32;
/// Every machine leaves at least this much of its memory below the addresses of its devices.
const USUAL_LOW_LIMIT: u64 = 2 << 30;
