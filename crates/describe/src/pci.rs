//! The PCI bus and the devices on it that a system can use: virtio network cards.

use crate::Lack;
use crate::acpi;
use crate::bytes::{u16_at, u32_at};
use crate::iommu;
use crate::memory::{hexadecimal, resources};
use crate::tree::Tree;

/// The bus.
pub(crate) struct Bus {
    /// Address of the configuration space of bus 0.
    pub(crate) config: u64,
    /// Where base addresses may be put, as (start, size).
    pub(crate) window: (u64, u64),
    pub(crate) devices: Vec<Device>,
    pub(crate) remarks: Vec<String>,
}

/// A device that a system can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// As `lspci` writes it: `00:03.0`.
    pub(crate) address: String,
    /// Vendor and device.
    pub(crate) id: (u16, u16),
    pub(crate) bars: Vec<Bar>,
    pub(crate) msix: Msix,
}

/// A base address register that leads to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) index: usize,
    pub(crate) size: u64,
    pub(crate) address: u64,
    pub(crate) wide: bool,
    pub(crate) prefetchable: bool,
}

/// The table of a device's interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Msix {
    pub(crate) bar: usize,
    pub(crate) offset: u64,
    pub(crate) entries: u16,
}

/// Reads the bus; `None` if there is none with memory-mapped configuration.
pub(crate) fn read(tree: &Tree<'_>) -> Result<Option<Bus>, Lack> {
    let Some(config) = acpi::configuration_space(tree)? else { return Ok(None) };
    if config > u64::from(u32::MAX) {
        return Err(tree.unusable("sys/firmware/acpi/tables/MCFG", WHAT, "puts it above 4 GiB"));
    }
    let window = window(tree)?;
    let names = tree.names(DEVICES);
    let mut occupied = others(tree, &names)?;
    occupied.extend(iommu::registers(tree));
    for name in &names {
        occupied.extend(
            ranges(tree, name)?
                .into_iter()
                .filter(|range| is_memory(*range))
                .map(|(first, last, _)| (first, last)),
        );
    }
    let mut bus = Bus { config, window, devices: Vec::new(), remarks: Vec::new() };
    for name in &names {
        let number = |file: &str| tree.text(&format!("{DEVICES}/{name}/{file}"), WHAT);
        let id = [number("vendor")?, number("device")?]
            .map(|text| hexadecimal(&text).and_then(|id| u16::try_from(id).ok()));
        if id != [Some(VIRTIO_NETWORK.0), Some(VIRTIO_NETWORK.1)] {
            continue;
        }
        match device(tree, name, window, &mut occupied)? {
            Ok(device) => bus.devices.push(device),
            Err(why) => bus.remarks.push(format!("the network card at {name} is left out: {why}")),
        }
    }
    if bus.devices.is_empty() && bus.remarks.is_empty() {
        bus.remarks
            .push("there is no virtio network card, the only kind of device that systems can use".to_owned());
    }
    Ok(Some(bus))
}

/// A device, or why no system can use it. What it gets is then occupied.
fn device(
    tree: &Tree<'_>,
    name: &str,
    window: (u64, u64),
    occupied: &mut Vec<(u64, u64)>,
) -> Result<Result<Device, String>, Lack> {
    let Some(address) = name.strip_prefix("0000:") else {
        return Ok(Err("it is on another segment than the first".to_owned()));
    };
    let path = format!("{DEVICES}/{name}/config");
    let config = tree.bytes(&path, WHAT)?;
    if config.len() < 256 {
        // Whoever is not root reads the first 64 bytes.
        return Err(Lack::Forbidden { what: WHAT, path: tree.path(&path) });
    }
    let Some(msix) = msix(&config) else { return Ok(Err("it has no MSI-X interrupts".to_owned())) };
    let mut bars = Vec::new();
    for (index, (first, last, flags)) in ranges(tree, name)?.into_iter().take(6).enumerate() {
        if flags & PORTS != 0 {
            return Ok(Err("it has I/O ports".to_owned()));
        }
        if !is_memory((first, last, flags)) {
            continue;
        }
        let size = last - first + 1;
        if size < PAGE {
            return Ok(Err(format!("base address register {index} has less than a page")));
        }
        let own = (first, last);
        let free = |candidate: u64| {
            occupied.iter().all(|other| *other == own || candidate > other.1 || candidate + size <= other.0)
        };
        let candidates =
            [first].into_iter().filter(|address| fits(*address, size, window)).chain(downwards(window, size));
        let Some(address) = candidates.into_iter().find(|candidate| free(*candidate)) else {
            return Ok(Err(format!("there is no room for base address register {index} below 4 GiB")));
        };
        occupied.push((address, address + size - 1));
        bars.push(Bar {
            index,
            size,
            address,
            wide: flags & WIDE != 0,
            prefetchable: flags & PREFETCHABLE != 0,
        });
    }
    if bars.len() == 1 && bars[0].index == msix.bar {
        return Ok(Err("its registers share a range with its table of interrupts".to_owned()));
    }
    let id = VIRTIO_NETWORK;
    Ok(Ok(Device { address: address.to_owned(), id, bars, msix }))
}

/// The largest range that the bus forwards below 4 GiB.
fn window(tree: &Tree<'_>) -> Result<(u64, u64), Lack> {
    let is_bus = |_: usize, name: &str| name == "PCI Bus 0000:00";
    let ranges = resources(tree, WHAT, is_bus)?;
    if !ranges.is_empty() && ranges.iter().all(|(_, last)| *last == 0) {
        return Err(Lack::Forbidden { what: WHAT, path: tree.path("proc/iomem") });
    }
    // The chipset's own devices begin there, whatever the bus is said to forward.
    let low = ranges.iter().filter(|(first, _)| *first >= 1 << 20).map(|(first, last)| {
        (first.next_multiple_of(PAGE), last.saturating_add(1).min(IO_APIC) & !(PAGE - 1))
    });
    let largest = low.filter(|(start, end)| start < end).max_by_key(|(start, end)| end - start);
    largest.map(|(start, end)| (start, end - start)).ok_or_else(|| {
        tree.unusable("proc/iomem", WHAT, "lists no addresses that the bus forwards below 4 GiB")
    })
}

/// What Linux has found among the addresses of buses besides the `functions` on them and their parts.
fn others(tree: &Tree<'_>, functions: &[String]) -> Result<Vec<(u64, u64)>, Lack> {
    // How far the bus and the function are set in that a line is part of.
    let (mut bus, mut function) = (None, None);
    resources(tree, WHAT, |indent, name| {
        bus = bus.filter(|outer| *outer < indent);
        function = function.filter(|outer| *outer < indent);
        if name.starts_with("PCI Bus ") {
            bus = bus.or(Some(indent));
            return false;
        }
        if functions.iter().any(|known| known == name) {
            function = function.or(Some(indent));
        }
        bus.is_some() && function.is_none()
    })
}

/// First and last address and flags of each register: a line each in `resource`, zeros where there is none.
fn ranges(tree: &Tree<'_>, name: &str) -> Result<Vec<(u64, u64, u64)>, Lack> {
    let path = format!("{DEVICES}/{name}/resource");
    let text = tree.text(&path, WHAT)?;
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(hexadecimal);
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    let ranges: Option<Vec<_>> = text.lines().map(range).collect();
    ranges.ok_or_else(|| tree.unusable(&path, WHAT, "is no list of ranges"))
}

const fn is_memory((first, last, flags): (u64, u64, u64)) -> bool {
    flags & MEMORY != 0 && last > first
}

const fn fits(address: u64, size: u64, (start, room): (u64, u64)) -> bool {
    address >= start && size <= room && address - start <= room - size
}

/// Addresses in a window at which a range of this size can begin, the highest first.
fn downwards((start, room): (u64, u64), size: u64) -> impl Iterator<Item = u64> {
    let highest = (start + room).saturating_sub(size) & !(size - 1);
    std::iter::successors(Some(highest), move |address| address.checked_sub(size))
        .take_while(move |address| *address >= start)
}

/// The MSI-X capability (PCI Local Bus Specification 3.0, section 6.8.2), if the list of capabilities has one.
fn msix(config: &[u8]) -> Option<Msix> {
    if u16_at(config, STATUS)? & HAS_CAPABILITIES == 0 {
        return None;
    }
    let mut at = usize::from(*config.get(CAPABILITIES)?) & !3;
    // There is room for 48 of them: a list that is longer has no end.
    for _ in 0..48 {
        if at < 64 {
            return None;
        }
        if *config.get(at)? == MSIX {
            let table = u32_at(config, at + 4)?;
            return Some(Msix {
                bar: (table & 7) as usize,
                offset: u64::from(table & !7),
                entries: (u16_at(config, at + 2)? & 0x7ff) + 1,
            });
        }
        at = usize::from(*config.get(at + 1)?) & !3;
    }
    None
}

const WHAT: &str = "the PCI bus";
const DEVICES: &str = "sys/bus/pci/devices";
/// A virtio network card of version 1 (Virtual I/O Device specification 1.2, section 4.1.2).
const VIRTIO_NETWORK: (u16, u16) = (0x1af4, 0x1041);
const PAGE: u64 = 4096;
const IO_APIC: u64 = 0xfec0_0000;
/// Flags in `resource` (Linux, include/linux/ioport.h).
const PORTS: u64 = 0x100;
const MEMORY: u64 = 0x200;
const PREFETCHABLE: u64 = 0x2000;
const WIDE: u64 = 0x10_0000;
/// Registers of the configuration space, and what is in them.
const STATUS: usize = 6;
const HAS_CAPABILITIES: u16 = 1 << 4;
const CAPABILITIES: usize = 0x34;
const MSIX: u8 = 0x11;
