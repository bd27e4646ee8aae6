//! `[iommu]`: the unit between a machine's devices and its memory.

use palisade_abi::layout::PAGE;

use super::devices::Occupied;
use crate::document::Fields;
use crate::plan::{Iommu, IommuKind, MachineDevice};
use crate::problem::{Collector, Problem};
use crate::rules::machine as rules;
use crate::source::Place;

/// An IOMMU, and where it is described.
pub(super) struct Described {
    pub(super) iommu: Iommu,
    /// Its registers.
    pub(super) registers: Occupied,
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
    if !table.has("registers") {
        table.missing("registers", "give the address of its registers: registers = 0xfed8_0000");
    }
    let registers = table.integer("registers", 0..=u64::from(u32::MAX));
    let buses = table.integer("buses", 1..=MOST_BUSES).map_or(MOST_BUSES, |buses| buses.value);
    table.finish();
    let (kind, registers) = (kind?.value, registers?);
    let start = registers.value;
    let own = Occupied { start, size: registers_size(kind), what: "the registers of the IOMMU".to_owned() };
    let broken = |help: String| {
        Problem::error(&rules::IOMMU, format!("the IOMMU cannot have registers at {start:#x}"))
            .at(&registers.place, "these")
            .help(help)
    };
    if start == 0 || !start.is_multiple_of(PAGE) || start + own.size > ADDRESSES {
        let help = "they fill whole pages below 4 GiB; the firmware's ACPI table (IVRS, DMAR) says where";
        problems.add(broken(help.into()));
    } else if let Some(other) = occupied.iter().find(|other| other.meets(start, own.size)) {
        problems.add(broken(format!("{} is there", other.what)));
    }
    Some(Described {
        iommu: Iommu { kind, registers: start, buses },
        registers: own,
        place: key.place.clone(),
    })
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

const fn registers_size(kind: IommuKind) -> u64 {
    match kind {
        IommuKind::Amd => 4 * PAGE,
        IommuKind::Intel => PAGE,
    }
}

const KINDS: [(&str, IommuKind); 2] = [("amd", IommuKind::Amd), ("intel", IommuKind::Intel)];
const MOST_BUSES: u16 = 256;
/// What the kernel reaches.
const ADDRESSES: u64 = 1 << 32;
