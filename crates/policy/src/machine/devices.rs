//! `[pci]` and `[[device]]`: the devices of a machine that a system can use.

use palisade_abi::layout::{MAX_NAME, PAGE};
use palisade_abi::pci::MSIX_ENTRY_SIZE;

use crate::document::{Fields, Node, integer_of};
use crate::plan::{Bar, Driver, MachineDevice, Msix, Pci};
use crate::problem::{Collector, Problem};
use crate::rules::{machine as rules, names, reading};
use crate::source::{Located, Place};
use crate::units;

/// Physical addresses that something has already.
#[derive(Debug, Clone)]
pub(super) struct Occupied {
    pub(super) start: u64,
    pub(super) size: u64,
    /// Who has them.
    pub(super) what: String,
}

impl Occupied {
    pub(super) fn meets(&self, start: u64, size: u64) -> bool {
        start < self.start.saturating_add(self.size) && self.start < start.saturating_add(size)
    }
}

/// The PCI bus and its devices, which keep out of what is `occupied`.
pub(super) fn read(
    fields: &Fields<'_>,
    mut occupied: Vec<Occupied>,
    problems: &Collector,
) -> (Option<Pci>, Vec<MachineDevice>) {
    let devices: Vec<_> = fields.array("device").iter().filter_map(|node| device(node, problems)).collect();
    let pci = fields.entry("pci").and_then(|(key, node)| pci(node, &key.place, problems));
    if !fields.has("pci") && !devices.is_empty() {
        fields.missing("pci", "devices need a bus: [pci] with `config` and `window`");
    }
    check_distinct(&devices, problems);
    if let Some(pci) = &pci {
        check_bus(pci, &devices, &mut occupied, problems);
        for device in &devices {
            check_bars(device, &pci.value, &mut occupied, problems);
        }
    }
    devices.iter().for_each(|device| check_msix(device, problems));
    (pci.map(|pci| pci.value), devices.into_iter().map(|device| device.device).collect())
}

/// A device, and where the parts that are checked stand.
struct Described {
    device: MachineDevice,
    name: Place,
    address: Place,
    /// In the order of the device's base address registers.
    bars: Vec<Place>,
    msix: Place,
}

fn pci(node: &Node, key: &Place, problems: &Collector) -> Option<Located<Pci>> {
    let fields = Fields::of(node, key, "pci", problems)?;
    let config = fields.integer("config", 0..=LAST_ADDRESS);
    if !fields.has("config") {
        fields
            .missing("config", "give the address of the configuration space of bus 0: config = 0xb000_0000");
    }
    let example = "give the range for base addresses: window = { start = 0xc000_0000, size = \"1003 MiB\" }";
    let window = fields.node("window").and_then(|node| {
        let fields = Fields::of(node, &node.place, "window", problems)?;
        let (start, size) = (fields.integer("start", 0..=LAST_ADDRESS), fields.size("size"));
        for key in ["start", "size"].into_iter().filter(|key| !fields.has(key)) {
            fields.missing(key, example);
        }
        fields.finish();
        Some((start?.value, size?.value))
    });
    if !fields.has("window") {
        fields.missing("window", example);
    }
    fields.finish();
    Some(Located::new(Pci { config: config?.value, window: window? }, key))
}

fn device(node: &Node, problems: &Collector) -> Option<Described> {
    let fields = Fields::of(node, &node.place, "device", problems)?;
    let name = fields.required_text("name", "every device has a name: name = \"net0\"");
    if !fields.has("driver") {
        fields.missing("driver", "say what drives it: driver = \"virtio-net\"");
    }
    let driver = fields.choice("driver", &DRIVERS);
    let address = fields.required_text("address", "say where it is on the bus: address = \"00:03.0\"");
    let bdf = address.as_ref().and_then(|text| {
        parsed(
            text,
            parse_address(&text.value),
            "an address",
            "bus:device.function, such as \"00:03.0\"",
            problems,
        )
    });
    let id = fields.required_text("id", "say what must be found there: id = \"1af4:1041\"");
    let id = id.and_then(|text| {
        parsed(&text, parse_id(&text.value), "a device", "vendor:device, such as \"1af4:1041\"", problems)
    });
    if !fields.has("bars") {
        fields.missing("bars", "list its base address registers: bars = [{ index = 0, size = \"16 KiB\", address = 0xfe00_0000 }]");
    }
    let bars = fields.array("bars").iter().filter_map(|node| bar(node, problems));
    let (bars, places) = bars.map(|bar| (bar.value, bar.place)).unzip();
    if !fields.has("msix") {
        fields.missing(
            "msix",
            "say where its interrupts are told: msix = { bar = 1, offset = 0, entries = 4 }",
        );
    }
    let msix = fields.node("msix").and_then(|node| msix(node, problems));
    fields.finish();
    let ((name, address, msix), (vendor, id)) = ((name?, address?, msix?), id?);
    Some(Described {
        device: MachineDevice {
            name: name.value,
            driver: driver?.value,
            bdf: bdf?,
            vendor,
            device: id,
            bars,
            msix: Some(msix.value),
        },
        name: name.place,
        address: address.place,
        bars: places,
        msix: msix.place,
    })
}

fn bar(node: &Node, problems: &Collector) -> Option<Located<Bar>> {
    let fields = Fields::of(node, &node.place, "base address register", problems)?;
    let index = fields.integer("index", 0..=5);
    let size = fields.size("size");
    let address = fields.integer("address", 0..=LAST_ADDRESS);
    let bits = fields.node("bits").and_then(|node| {
        let bits = integer_of(node, "bits", 32..=64_u8, problems)?;
        if !matches!(bits.value, 32 | 64) {
            problems.add(
                Problem::error(&reading::VALUE, "a base address register has 32 or 64 bits")
                    .at(&bits.place, "neither")
                    .help("write `bits = 64`, or leave it out for 32"),
            );
        }
        Some(bits.value)
    });
    let prefetchable = fields.boolean("prefetchable").is_some_and(|prefetchable| prefetchable.value);
    for key in ["index", "size", "address"].into_iter().filter(|key| !fields.has(key)) {
        fields.missing(key, "write { index = 0, size = \"16 KiB\", address = 0xfe00_0000 }");
    }
    fields.finish();
    let bar = Bar {
        index: index?.value,
        address: address?.value,
        size: size?.value,
        wide: bits == Some(64),
        prefetchable,
    };
    Some(Located::new(bar, &node.place))
}

fn msix(node: &Node, problems: &Collector) -> Option<Located<Msix>> {
    let fields = Fields::of(node, &node.place, "msix", problems)?;
    let bar = fields.integer("bar", 0..=5);
    let offset = fields.integer("offset", 0..=LAST_ADDRESS).map_or(0, |offset| offset.value);
    let entries = fields.integer("entries", 1..=MOST_ENTRIES);
    for key in ["bar", "entries"].into_iter().filter(|key| !fields.has(key)) {
        fields.missing(key, "write { bar = 1, offset = 0, entries = 4 }");
    }
    fields.finish();
    let msix = Msix { bar: bar?.value, offset, entries: entries?.value };
    Some(Located::new(msix, &node.place))
}

/// The meaning of a text, or the problem that it has none.
fn parsed<T>(
    text: &Located<String>,
    meaning: Option<T>,
    what: &str,
    form: &str,
    problems: &Collector,
) -> Option<T> {
    if meaning.is_none() {
        problems.add(
            Problem::error(&reading::VALUE, format!("`{}` is not {what}", text.value))
                .at(&text.place, format!("not {what}"))
                .help(format!("write it as hexadecimal numbers, {form}")),
        );
    }
    meaning
}

/// `00:03.0`, as `lspci` writes it.
fn parse_address(text: &str) -> Option<u16> {
    let (bus, rest) = text.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let part = |digits: &str, last| hexadecimal(digits).filter(|number| *number <= last);
    Some(part(bus, 0xff)? << 8 | part(device, 0x1f)? << 3 | part(function, 7)?)
}

/// `1af4:1041`.
fn parse_id(text: &str) -> Option<(u16, u16)> {
    let (vendor, device) = text.split_once(':')?;
    Some((hexadecimal(vendor)?, hexadecimal(device)?))
}

fn hexadecimal(digits: &str) -> Option<u16> {
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| only_digits)
}

fn check_distinct(devices: &[Described], problems: &Collector) {
    let broken =
        |message: String, place: &Place| Problem::error(&rules::DEVICES, message).at(place, "this one");
    for (number, device) in devices.iter().enumerate() {
        let name = &device.device.name;
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(names::is_allowed) {
            problems.add(
                broken(format!("`{}` is no name for a device", name.escape_debug()), &device.name)
                    .help(format!("use 1 to {MAX_NAME} characters of a-z, 0-9, `_` and `-`")),
            );
        }
        let earlier = &devices[..number];
        if let Some(first) = earlier.iter().find(|other| other.device.name == *name) {
            problems.add(
                broken(format!("two devices are called `{name}`"), &device.name)
                    .at(&first.name, "the first one")
                    .help("give one of them another name"),
            );
        }
        if let Some(first) = earlier.iter().find(|other| other.device.bdf == device.device.bdf) {
            let first_name = &first.device.name;
            problems.add(
                broken(format!("`{first_name}` and `{name}` have the same address"), &device.address)
                    .at(&first.address, "the first one")
                    .help("lspci shows the address of every device"),
            );
        }
    }
}

/// Adds the configuration space of the buses in use to what is occupied.
fn check_bus(pci: &Located<Pci>, devices: &[Described], occupied: &mut Vec<Occupied>, problems: &Collector) {
    let buses = devices.iter().map(|device| u64::from(device.device.bdf >> 8) + 1).max().unwrap_or(1);
    let Pci { config, window: (start, size) } = pci.value;
    let broken = |message: String| Problem::error(&rules::PCI, message).at(&pci.place, "this bus");
    if !config.is_multiple_of(BUS_SIZE) {
        problems.add(
            broken(format!("the configuration space cannot lie at {config:#x}"))
                .help("it takes 1 MiB for each bus, and begins at a multiple of that"),
        );
    }
    if size == 0 || start.saturating_add(size) > LAST_ADDRESS + 1 {
        problems.add(
            broken(format!("the window cannot have {} at {start:#x}", units::size(size)))
                .help("it holds at least one page, and ends at 4 GiB or below"),
        );
    }
    let what = "the chipset, from the I/O APIC on".to_owned();
    occupied.push(Occupied { start: IO_APIC, size: LAST_ADDRESS + 1 - IO_APIC, what });
    if let Some(other) = occupied.iter().find(|other| other.meets(config, buses * BUS_SIZE)) {
        problems.add(
            broken(format!("the configuration space at {config:#x} overlaps {}", other.what))
                .help("the machine's firmware says where it is: the ACPI table MCFG"),
        );
    }
    let what = "the configuration space of the bus".to_owned();
    occupied.push(Occupied { start: config, size: buses * BUS_SIZE, what });
}

/// Adds the base addresses of a device to what is occupied.
fn check_bars(described: &Described, pci: &Pci, occupied: &mut Vec<Occupied>, problems: &Collector) {
    let device = &described.device;
    let (first, window) = pci.window;
    let mut registers: Vec<u8> = Vec::new();
    for (bar, place) in device.bars.iter().zip(&described.bars) {
        let Bar { index, address, size, .. } = *bar;
        let what = format!("base address register {index} of `{}`", device.name);
        let fits = address >= first && address.saturating_add(size) <= first.saturating_add(window);
        let own = if bar.wide { vec![index, index + 1] } else { vec![index] };
        let (wrong, help) = if !size.is_power_of_two() || !(PAGE..=LARGEST_BAR).contains(&size) {
            let largest = units::size(LARGEST_BAR);
            (
                format!("cannot have {}", units::size(size)),
                format!("its size is a power of two, 4 KiB to {largest}"),
            )
        } else if !address.is_multiple_of(size) {
            (
                format!("cannot lie at {address:#x}"),
                format!("its address is a multiple of its size: {:#x}", address & !(size - 1)),
            )
        } else if !fits {
            let end = first.saturating_add(window);
            (
                format!("lies outside the window of the bus at {address:#x}"),
                format!("the window is {first:#x}..{end:#x}"),
            )
        } else if let Some(other) = occupied.iter().find(|other| other.meets(address, size)) {
            (
                format!("overlaps {} at {address:#x}", other.what),
                "give it an address that nobody has".to_owned(),
            )
        } else if own.iter().any(|register| *register > 5 || registers.contains(register)) {
            (
                "takes a register that does not exist or is taken".to_owned(),
                "there are 0 to 5; one of 64 bits takes the next one too".to_owned(),
            )
        } else {
            registers.extend(own);
            occupied.push(Occupied { start: address, size, what });
            continue;
        };
        problems
            .add(Problem::error(&rules::BARS, format!("{what} {wrong}")).at(place, "this one").help(help));
    }
}

fn check_msix(described: &Described, problems: &Collector) {
    let device = &described.device;
    let Some(msix) = device.msix else { return };
    let end = msix.offset.saturating_add(u64::from(msix.entries) * MSIX_ENTRY_SIZE);
    let bar = device.bars.iter().find(|bar| bar.index == msix.bar);
    let help = match bar {
        None => format!("{} has no base address register {}", device.name, msix.bar),
        Some(bar) if end > bar.size => {
            format!("{} ends at {end:#x}, the register's range at {:#x}", msix.entries, bar.size)
        }
        Some(_) if !msix.offset.is_multiple_of(8) => "its offset is a multiple of 8".to_owned(),
        Some(_) if device.bars.len() == 1 => {
            "its registers must be in another one: whoever writes the table sends writes anywhere".to_owned()
        }
        Some(_) => return,
    };
    problems.add(
        Problem::error(&rules::MSIX, format!("the MSI-X table of `{}` cannot lie there", device.name))
            .at(&described.msix, "this table")
            .help(help),
    );
}

const DRIVERS: [(&str, Driver); 1] = [("virtio-net", Driver::VirtioNet)];
/// Plans have no addresses from 4 GiB on.
const LAST_ADDRESS: u64 = u32::MAX as u64;
/// Bytes of a bus in the configuration space: 32 devices of 8 functions with a page each.
const BUS_SIZE: u64 = 1 << 20;
/// Six of them fit a driver's address space.
const LARGEST_BAR: u64 = 64 << 20;
/// Where PCs have their first I/O APIC. From there to 4 GiB are more of the chipset's own: timers, local APICs, the addresses
/// that make writes interrupts, the firmware.
const IO_APIC: u64 = 0xfec0_0000;
/// What the message control register can count (PCI Local Bus Specification 3.0, 6.8.2.3).
const MOST_ENTRIES: u16 = 2048;
