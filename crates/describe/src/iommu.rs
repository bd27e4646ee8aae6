//! The IOMMU from the firmware's tables: AMD's IVRS (I/O virtualization technology specification 48882, chapter 5) or Intel's
//! DMAR (VT-d specification, chapter 8). A machine can have several units of one kind; all of them are described.

use palisade_abi::plan::iommu_kind;
use palisade_kernel_core::iommu::{HAS_NO, UNIT_AT, amd_lack, intel_lack};

use crate::acpi::Table;
use crate::bytes::{u16_at, u64_at};
use crate::memory::hexadecimal;
use crate::pci::Device;
use crate::tree::Tree;

/// The units of a machine's IOMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Iommu {
    pub(crate) kind: Kind,
    /// Physical addresses of their registers.
    pub(crate) registers: Vec<u64>,
    /// For AMD's, whose tables have room for so many: PCI buses, from bus 0 on.
    pub(crate) buses: Option<usize>,
    /// Registers of the units that are left out, for they are for other segments of the bus.
    pub(crate) left_out: Vec<u64>,
}

/// Whose IOMMU it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Amd,
    Intel,
}

impl Kind {
    /// Its name in machine files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Amd => "amd",
            Self::Intel => "intel",
        }
    }

    /// The table that describes it.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Amd => "IVRS",
            Self::Intel => "DMAR",
        }
    }

    /// Its number in plans.
    const fn number(self) -> u32 {
        match self {
            Self::Amd => iommu_kind::AMD,
            Self::Intel => iommu_kind::INTEL,
        }
    }

    /// Bytes from the first register of a unit on at which nothing else can be: AMD's may have counters behind the registers that the
    /// kernel uses (48882, 3.4).
    const fn whole_size(self) -> u64 {
        match self {
            Self::Amd => 0x8_0000,
            Self::Intel => iommu_kind::registers_size(iommu_kind::INTEL),
        }
    }

    /// Whether a structure of its table is about a unit.
    fn is_unit(self, structure: &[u8]) -> bool {
        match self {
            Self::Amd => matches!(structure.first(), Some(0x10 | 0x11 | 0x40)),
            Self::Intel => u16_at(structure, 0) == Some(REMAPPING_UNIT),
        }
    }
}

/// First and last address of the registers of every unit that is there, described or not.
pub(crate) fn registers(tree: &Tree<'_>) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    for kind in [Kind::Intel, Kind::Amd] {
        let Ok(table) = Table::read(tree, kind.table(), "the IOMMU") else { continue };
        let units = structures(&table.bytes).into_iter().flatten().filter(|unit| kind.is_unit(unit));
        let starts = units.filter_map(|unit| u64_at(unit, REGISTERS));
        ranges.extend(starts.map(|first| (first, first.saturating_add(kind.whole_size() - 1))));
    }
    ranges
}

/// Reads the table; `None` if there is none of either kind. What some unit lacks, or a card that is behind none of them, makes
/// all of them useless: then the error says why.
pub(crate) fn read(tree: &Tree<'_>, cards: &[Device]) -> Result<Option<Iommu>, String> {
    for kind in [Kind::Intel, Kind::Amd] {
        let bytes = match Table::read(tree, kind.table(), "the IOMMU") {
            Ok(found) => found.bytes,
            Err(crate::Lack::Missing { .. }) => continue,
            Err(lack) => return Err(lack.to_string()),
        };
        let units = match kind {
            Kind::Amd => amd(&bytes),
            Kind::Intel => intel(tree, &bytes, cards.len()),
        };
        let mut units = units.map_err(|why| format!("the table {} {why}", kind.table()))?;
        let registers = units.registers(kind)?;
        if let Some(card) = cards.iter().find(|card| !units.confine(&card.address)) {
            return Err(format!("the network card at {} is not behind it", card.address));
        }
        units.elsewhere.sort_unstable();
        units.elsewhere.dedup();
        let buses = (kind == Kind::Amd).then(|| buses(tree));
        return Ok(Some(Iommu { kind, registers, buses, left_out: units.elsewhere }));
    }
    Ok(None)
}

/// What a table says.
#[derive(Default)]
struct Units {
    /// The registers of each unit, once or more, and what it lacks, if that is known.
    found: Vec<(u64, Option<&'static str>)>,
    /// The functions behind them (bus, device, function), as ranges.
    behind: Vec<(u16, u16)>,
    /// Those whose accesses bear the address of another one.
    aliased: Vec<(u16, u16)>,
    /// The registers of units for other segments of the bus than the first.
    elsewhere: Vec<u64>,
}

impl Units {
    /// The registers of every unit, if the kernel can use them all.
    fn registers(&self, kind: Kind) -> Result<Vec<u64>, String> {
        let mut registers: Vec<u64> = self.found.iter().map(|(address, _)| *address).collect();
        registers.sort_unstable();
        registers.dedup();
        let size = iommu_kind::registers_size(kind.number());
        if registers.windows(2).any(|pair| pair[1] - pair[0] < size) {
            return Err("the registers of two units overlap".into());
        }
        if let Some(unit) =
            registers.iter().find(|r| **r == 0 || !r.is_multiple_of(PAGE) || **r > FOUR_GIBIBYTES - size)
        {
            return Err(format!("{UNIT_AT}{unit:#x} has its registers where the kernel does not reach them"));
        }
        if let Some((unit, lack)) = self.found.iter().find_map(|(unit, lack)| Some((unit, (*lack)?))) {
            return Err(format!("{UNIT_AT}{unit:#x}{HAS_NO}{lack}"));
        }
        if registers.is_empty() {
            Err("there is no unit for the first segment of the bus".into())
        } else {
            Ok(registers)
        }
    }

    /// Whether the function with this address, as `lspci` writes it, is behind one of them, under its own name.
    fn confine(&self, address: &str) -> bool {
        let has = |ranges: &[(u16, u16)], function| {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&function))
        };
        function(address).is_some_and(|function| has(&self.behind, function) && !has(&self.aliased, function))
    }
}

fn intel(tree: &Tree<'_>, table: &[u8], devices: usize) -> Result<Units, String> {
    if table.get(37).is_none_or(|flags| flags & INTERRUPTS_REMAPPED == 0) {
        return Err("does not allow interrupts to be remapped".into());
    }
    let mut units = Units::default();
    for unit in structures(table)?.filter(|structure| Kind::Intel.is_unit(structure)) {
        let (Some(flags), Some(segment), Some(registers)) =
            (unit.get(4), u16_at(unit, 6), u64_at(unit, REGISTERS))
        else {
            return Err(CUT_OFF.into());
        };
        if segment != 0 {
            units.elsewhere.push(registers);
            continue;
        }
        units.found.push((
            registers,
            intel_capabilities(tree, registers).and_then(|(a, b)| intel_lack(a, b, devices)),
        ));
        if flags & EVERYTHING_ELSE != 0 {
            units.behind.push((0, u16::MAX));
        }
        let mut scopes = unit.get(16..).unwrap_or_default();
        while let [kind, length, ..] = *scopes
            && length >= 6
        {
            let Some((scope, rest)) = scopes.split_at_checked(length.into()) else {
                return Err(CUT_OFF.into());
            };
            // A longer path leads through bridges, whose buses the table does not tell.
            if let (ENDPOINT, &[_, _, _, _, _, bus, device, function]) = (kind, scope) {
                let function = u16::from(bus) << 8 | u16::from(device & 31) << 3 | u16::from(function & 7);
                units.behind.push((function, function));
            }
            scopes = rest;
        }
        if !scopes.is_empty() {
            return Err(CUT_OFF.into());
        }
    }
    Ok(units)
}

/// The two capability registers of the unit with these registers, where Linux uses it and so tells them.
fn intel_capabilities(tree: &Tree<'_>, registers: u64) -> Option<(u64, u64)> {
    tree.names(UNITS).into_iter().find_map(|name| {
        let number =
            |file: &str| hexadecimal(&tree.text(&format!("{UNITS}/{name}/intel-iommu/{file}"), "").ok()?);
        (number("address")? == registers).then_some(())?;
        Some((number("cap")?, number("ecap")?))
    })
}

fn amd(table: &[u8]) -> Result<Units, String> {
    let mut units = Units::default();
    let tells_features = table.get(36).is_some_and(|info| info & FEATURES_TOLD != 0);
    for unit in structures(table)?.filter(|structure| Kind::Amd.is_unit(structure)) {
        let is_first_kind = unit.first() == Some(&0x10);
        let (Some(registers), Some(segment)) = (u64_at(unit, REGISTERS), u16_at(unit, 16)) else {
            return Err(CUT_OFF.into());
        };
        if segment != 0 {
            units.elsewhere.push(registers);
            continue;
        }
        // The first kind does not have all features.
        let features = if is_first_kind || !tells_features { None } else { u64_at(unit, 24) };
        units.found.push((registers, features.and_then(amd_lack)));
        let entries = unit.get(if is_first_kind { 24 } else { 40 }..).unwrap_or_default();
        amd_functions(entries, &mut units)?;
    }
    Ok(units)
}

/// The entries of a unit: which functions are behind it.
fn amd_functions(mut entries: &[u8], units: &mut Units) -> Result<(), String> {
    let mut first = None;
    while let Some(kind) = entries.first().copied() {
        let length = match kind {
            0..=0x3f => 4,
            0x40..=0x7f => 8,
            0x80..=0xbf => 16,
            0xc0..=0xef => 32,
            // A device of ACPI's: its name ends it, and has its length in the last byte before it.
            0xf0.. => 22 + usize::from(entries.get(21).copied().unwrap_or(0)),
        };
        let Some((entry, rest)) = entries.split_at_checked(length) else { return Err(CUT_OFF.into()) };
        let function = u16_at(entry, 1).unwrap_or(0);
        match kind {
            1 => units.behind.push((0, u16::MAX)),
            2 | 0x46 => units.behind.push((function, function)),
            0x42 => units.aliased.push((function, function)),
            3 | 0x47 => first = Some((function, false)),
            0x43 => first = Some((function, true)),
            4 => match first.take() {
                Some((first, true)) => units.aliased.push((first, function)),
                Some((first, false)) => units.behind.push((first, function)),
                None => return Err("ends a range that it does not begin".into()),
            },
            _ => {}
        }
        entries = rest;
    }
    Ok(())
}

/// The structures behind the head of either table: each has its own length behind its kind.
fn structures(table: &[u8]) -> Result<std::vec::IntoIter<&[u8]>, String> {
    let mut rest = table.get(48..).ok_or(CUT_OFF)?;
    let mut structures = Vec::new();
    while !rest.is_empty() {
        let length = u16_at(rest, 2).map_or(0, usize::from);
        let (structure, behind) = rest.split_at_checked(length).filter(|_| length >= 4).ok_or(CUT_OFF)?;
        structures.push(structure);
        rest = behind;
    }
    Ok(structures.into_iter())
}

/// How many buses there are, with those that have no device.
fn buses(tree: &Tree<'_>) -> usize {
    let names = ["sys/bus/pci/devices", "sys/class/pci_bus"].map(|directory| tree.names(directory));
    let buses = names
        .iter()
        .flatten()
        .filter_map(|name| u8::from_str_radix(name.strip_prefix("0000:")?.get(..2)?, 16).ok());
    buses.max().map_or(1, |last| usize::from(last) + 1)
}

/// `00:03.0` as a number.
fn function(address: &str) -> Option<u16> {
    let (bus, rest) = address.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let number = |text| u16::from_str_radix(text, 16).ok();
    Some(number(bus)? << 8 | number(device)? << 3 | number(function)?)
}

const UNITS: &str = "sys/class/iommu";
const CUT_OFF: &str = "is cut off";
const PAGE: u64 = 4096;
const FOUR_GIBIBYTES: u64 = 1 << 32;
/// Where the structure of a unit has the address of its registers, in either table.
const REGISTERS: usize = 8;
/// In the first byte of what IVRS says of all units: the later kinds of their structures have the features.
const FEATURES_TOLD: u8 = 1;
/// In the flags of DMAR.
const INTERRUPTS_REMAPPED: u8 = 1;
/// Kinds of structures and scopes.
const REMAPPING_UNIT: u16 = 0;
const ENDPOINT: u8 = 1;
/// In the flags of a unit: every function of its segment that no other unit names is behind it.
const EVERYTHING_ELSE: u8 = 1;
