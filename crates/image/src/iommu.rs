//! The tables of the machine's IOMMU: what each device reaches, and which interrupts it raises. A device of the plan reaches
//! the memory that it shares with its driver, at the driver's own addresses; all others reach nothing.
//!
//! Facts: AMD I/O virtualization technology specification (48882), 2.2.2 and 2.2.5; Intel VT-d specification, 9.1, 9.3
//! and 9.10.

use palisade_abi::layout::PAGE;
use palisade_abi::plan as abi;
use palisade_policy::plan::{Device, Iommu, IommuKind, Plan, Rights};

use crate::error::PackError;
use crate::paging::{Caching, Format, Largest, Mapping, Tables};
use crate::store::Store;

/// Where the tables of an IOMMU lie. All addresses are physical.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedIommu {
    device_table: u64,
    device_table_size: u64,
    /// Intel's; 0 for AMD, whose devices have a table each.
    interrupt_table: u64,
}

impl PlacedIommu {
    /// The records of its units in the plan.
    pub(crate) fn records(&self, iommu: &Iommu, queues: u64) -> Vec<abi::Iommu> {
        let record = |(registers, number): (&u64, u64)| abi::Iommu {
            kind: iommu.kind.number(),
            device_table_size: self.device_table_size as u32,
            registers: *registers,
            device_table: self.device_table,
            interrupt_table: self.interrupt_table,
            queues: queues + number * abi::Iommu::QUEUES_SIZE,
        };
        iommu.registers.iter().zip(0..).map(record).collect()
    }
}

/// Makes the tables of the machine's IOMMU, if it has one.
pub(crate) fn place(plan: &Plan, store: &mut Store) -> Result<Option<PlacedIommu>, PackError> {
    let Some(iommu) = &plan.machine.iommu else { return Ok(None) };
    let mut devices = Vec::new();
    let mut first_interrupt = 0;
    for (number, device) in plan.devices.iter().enumerate() {
        if device.hardware.bdf >> 8 >= iommu.buses {
            return Err(PackError::device(&device.hardware.name, "it is on a bus beyond the IOMMU's"));
        }
        let interrupts = interrupts(plan, device, first_interrupt)?;
        first_interrupt += interrupts.len();
        devices.push(Translated {
            function: device.hardware.bdf,
            name: &device.hardware.name,
            // 0 is for what has no memory of its own.
            domain: number as u64 + 1,
            root: page_tables(device, iommu.kind, store)?,
            interrupts,
        });
    }
    Ok(Some(match iommu.kind {
        IommuKind::Amd => amd(iommu, &devices, store),
        IommuKind::Intel => intel(&devices, store),
    }))
}

/// A device whose accesses are translated.
struct Translated<'a> {
    function: u16,
    name: &'a str,
    domain: u64,
    root: u64,
    interrupts: Vec<Interrupt>,
}

/// An interrupt that is passed on.
struct Interrupt {
    /// Its place in the table, and what the device sends.
    index: usize,
    vector: u8,
    apic_id: u32,
}

fn interrupts(plan: &Plan, device: &Device, first: usize) -> Result<Vec<Interrupt>, PackError> {
    let refuse = |problem| PackError::device(&device.hardware.name, problem);
    let cpu = plan.subjects.get(usize::from(device.subject)).and_then(|s| plan.cpus.get(usize::from(s.cpu)));
    let apic_id = cpu.ok_or_else(|| refuse("its driver runs on no CPU"))?.apic_id;
    if apic_id > abi::Interrupt::LAST_APIC_ID {
        return Err(refuse(
            "no interrupt reaches the CPU of its driver, whose local APIC identifier is too large",
        ));
    }
    if first + device.interrupts.len() > REMAPPED {
        return Err(refuse("there are more interrupts than can be remapped"));
    }
    let numbered = device.interrupts.iter().zip(first..);
    Ok(numbered.map(|(i, index)| Interrupt { index, vector: i.host_vector, apic_id }).collect())
}

/// What a device reaches: the memory that it shares with its driver. Returns the root.
fn page_tables(device: &Device, kind: IommuKind, store: &mut Store) -> Result<u64, PackError> {
    let format = match kind {
        IommuKind::Amd => Format::AmdDevice,
        IommuKind::Intel => Format::IntelDevice,
    };
    let root = store.end();
    let mut tables = Tables::new(format, Largest::LargePage, root);
    for (guest, phys, size) in &device.dma {
        let (from, to, size) = (*guest, *phys, *size);
        let mapping = Mapping { from, to, size, rights: Rights::ReadWrite, caching: Caching::WriteBack };
        tables.map(&mapping).map_err(|_| {
            PackError::device(&device.hardware.name, "the memory that it shares cannot be mapped")
        })?;
    }
    let name = format!("{}: page tables of the IOMMU", device.hardware.name);
    Ok(store.append(name, &tables.to_bytes(), tables.size()))
}

fn amd(iommu: &Iommu, devices: &[Translated<'_>], store: &mut Store) -> PlacedIommu {
    let mut entries = vec![AMD_BLOCKED; usize::from(iommu.buses) * FUNCTIONS_OF_BUS];
    for device in devices {
        let mut table = vec![0; AMD_INTERRUPTS];
        for interrupt in &device.interrupts {
            table[interrupt.index] = AMD_REMAP | interrupt.apic_id << 8 | u32::from(interrupt.vector) << 16;
        }
        let bytes: Vec<u8> = table.iter().flat_map(|entry: &u32| entry.to_le_bytes()).collect();
        let name = format!("{}: interrupts through the IOMMU", device.name);
        let interrupt_table = store.append(name, &bytes, bytes.len() as u64);
        entries[usize::from(device.function)] = [
            AMD_VALID | AMD_FOUR_LEVELS | device.root | AMD_READ | AMD_WRITE,
            device.domain,
            AMD_INTERRUPTS_VALID | AMD_TABLE_LENGTH | interrupt_table | AMD_INTERRUPTS_REMAPPED,
            0,
        ];
    }
    let bytes: Vec<u8> = entries.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    let device_table_size = bytes.len() as u64;
    let device_table = store.append("IOMMU: device table", &bytes, device_table_size);
    PlacedIommu { device_table, device_table_size, interrupt_table: 0 }
}

fn intel(devices: &[Translated<'_>], store: &mut Store) -> PlacedIommu {
    let mut root = [[0; 2]; 256];
    for bus in 0..=u8::MAX {
        let on_bus = |device: &&Translated<'_>| device.function >> 8 == u16::from(bus);
        let mut contexts = [[0; 2]; FUNCTIONS_OF_BUS];
        for device in devices.iter().filter(on_bus) {
            contexts[usize::from(device.function & 0xff)] =
                [device.root | INTEL_PRESENT, INTEL_FOUR_LEVELS | device.domain << 8];
        }
        if devices.iter().any(|device| on_bus(&device)) {
            let table = store.append(format!("IOMMU: devices of bus {bus:02x}"), &bytes_of(&contexts), PAGE);
            root[usize::from(bus)] = [table | INTEL_PRESENT, 0];
        }
    }
    let mut interrupts = [[0; 2]; REMAPPED];
    for device in devices {
        for interrupt in &device.interrupts {
            let destination = u64::from(interrupt.apic_id) << 40;
            interrupts[interrupt.index] = [
                INTEL_PRESENT | u64::from(interrupt.vector) << 16 | destination,
                u64::from(device.function) | INTEL_SOURCE_CHECKED,
            ];
        }
    }
    PlacedIommu {
        device_table: store.append("IOMMU: root table", &bytes_of(&root), PAGE),
        device_table_size: PAGE,
        interrupt_table: store.append("IOMMU: interrupts", &bytes_of(&interrupts), PAGE),
    }
}

fn bytes_of(entries: &[[u64; 2]; 256]) -> Vec<u8> {
    entries.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

const FUNCTIONS_OF_BUS: usize = 256;
/// Interrupts of all devices: AMD's devices would take larger numbers for delivery modes; Intel's table has a page.
const REMAPPED: usize = 256;

/// A device that reaches nothing: its entry is valid and grants neither access nor interrupts.
const AMD_BLOCKED: [u64; 4] = [AMD_VALID, 0, AMD_INTERRUPTS_VALID, 0];
/// The entry is valid, for translations too.
const AMD_VALID: u64 = 3;
const AMD_FOUR_LEVELS: u64 = 4 << 9;
const AMD_READ: u64 = 1 << 61;
const AMD_WRITE: u64 = 1 << 62;
const AMD_INTERRUPTS_VALID: u64 = 1;
/// The table has 2 to the power of this many entries; here it fills a page.
const AMD_TABLE_LENGTH: u64 = 10 << 1;
const AMD_INTERRUPTS: usize = 1 << 10;
const AMD_INTERRUPTS_REMAPPED: u64 = 2 << 60;
/// An interrupt is remapped to a fixed one, of one CPU.
const AMD_REMAP: u32 = 1;

const INTEL_PRESENT: u64 = 1;
/// Address width 2 in a context entry.
const INTEL_FOUR_LEVELS: u64 = 2;
/// The interrupt is that of the function in the lower 16 bits, and of no other one.
const INTEL_SOURCE_CHECKED: u64 = 1 << 18;
