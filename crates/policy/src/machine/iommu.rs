//! `[iommu]`: the units between a machine's devices and its memory.

use std::slice;

use palisade_abi::layout::PAGE;
use palisade_abi::plan::iommu_kind;

use super::devices::Occupied;
use crate::document::{Fields, Node, Value, integer_of};
use crate::plan::{Iommu, IommuKind, MachineDevice};
use crate::problem::{Collector, Problem};
use crate::rules::machine as rules;
use crate::source::Place;

/// An IOMMU, and where it is described.
pub(super) struct Described {
    pub(super) iommu: Iommu,
    /// The registers of its units.
    pub(super) registers: Vec<Occupied>,
    place: Place,
}

/// The IOMMU of a machine, which keeps out of what is `occupied`; `None` if the file describes none.
pub(super) fn read(fields: &Fields<'_>, occupied: &[Occupied], problems: &Collector) -> Option<Described> {
    let (key, node) = fields.entry("iommu")?;
    let table = Fields::of(node, &key.place, "iommu", problems)?;
    if !table.has("kind") {
        table.missing("kind", "say what it is: kind = \"amd\" or kind = \"intel\"");
    }
    let kind = table.choice("kind", &KINDS);
    let listed = match table.node("registers") {
        Some(Node { value: Value::Array(items), .. }) => items.as_slice(),
        Some(one) => slice::from_ref(one),
        None => &[],
    };
    if listed.is_empty() {
        table.missing("registers", "give the address of its registers: registers = 0xfed8_0000");
    }
    let listed = listed.iter().map(|node| integer_of(node, "registers", 0..=u64::from(u32::MAX), problems));
    let listed: Option<Vec<_>> = listed.collect();
    let buses = table.integer("buses", 1..=MOST_BUSES).map_or(MOST_BUSES, |buses| buses.value);
    table.finish();
    let (kind, listed) = (kind?.value, listed.filter(|listed| !listed.is_empty())?);
    let size = iommu_kind::registers_size(kind.number());
    let mut registers: Vec<Occupied> = Vec::new();
    for start in &listed {
        if let Some(help) = why_not_at(start.value, size, occupied.iter().chain(&registers)) {
            let message = format!("the IOMMU cannot have registers at {:#x}", start.value);
            problems.add(Problem::error(&rules::IOMMU, message).at(&start.place, "these").help(help));
        }
        registers.push(Occupied { start: start.value, size, what: "a unit of the IOMMU".to_owned() });
    }
    let starts = registers.iter().map(|own| own.start).collect();
    Some(Described { iommu: Iommu { kind, registers: starts, buses }, registers, place: key.place.clone() })
}

/// Why no unit can have so many bytes of registers here.
fn why_not_at<'a>(start: u64, size: u64, mut occupied: impl Iterator<Item = &'a Occupied>) -> Option<String> {
    if start == 0 || !start.is_multiple_of(PAGE) || start + size > ADDRESSES {
        let help = "they fill whole pages below 4 GiB; the firmware's ACPI table (IVRS, DMAR) says where";
        return Some(help.to_owned());
    }
    occupied.find(|other| other.meets(start, size)).map(|other| format!("{} is there", other.what))
}

impl Described {
    /// Whether all `devices` are on the buses that its tables have entries for.
    pub(super) fn check_devices(&self, devices: &[MachineDevice], problems: &Collector) {
        let buses = self.iommu.buses;
        if let Some(beyond) = devices.iter().find(|device| device.bdf >> 8 >= buses) {
            problems.add(
                Problem::error(&rules::IOMMU, format!("`{}` is not behind the IOMMU", beyond.name))
                    .at(&self.place, format!("has the buses below {buses:#x}"))
                    .help(format!("write `buses = {}`, or more", (beyond.bdf >> 8) + 1)),
            );
        }
    }
}

const KINDS: [(&str, IommuKind); 2] = [("amd", IommuKind::Amd), ("intel", IommuKind::Intel)];
const MOST_BUSES: u16 = 256;
/// What the kernel reaches.
const ADDRESSES: u64 = 1 << 32;
