//! The page tables of an image: three sets for each subject, one set for the kernel on each CPU.

use std::collections::BTreeMap;

use palisade_abi::layout::{CPU_DATA_SIZE, CPU_STACK_SIZE, GUEST_TABLES, PAGE};
use palisade_abi::plan as abi;
use palisade_policy::plan::{Backing, Plan, Region, Rights, Subject};

use crate::devices;
use crate::error::PackError;
use crate::kernel::Kernel;
use crate::paging::{Caching, Format, Largest, MapError, Mapping, Tables};
use crate::place::{PlacedRegion, Placement};
use crate::store::Store;

/// Roots of a subject's page tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubjectTables {
    /// Its own: a guest-physical address.
    pub(crate) guest_root: u64,
    /// AMD nested page tables.
    pub(crate) npt_root: u64,
    /// Intel extended page tables.
    pub(crate) ept_root: u64,
}

/// Makes a subject's tables: its own, and the two vendors' nested ones with the same translation and rights.
///
/// Its own tables are in its guest-physical memory, because its processor reads them there, and not in its guest-virtual
/// memory. They have to be writable in the nested tables: AMD counts every step of a guest's table walk as a write.
pub(crate) fn subject(
    subject: &Subject,
    regions: &[PlacedRegion],
    store: &mut Store,
) -> Result<SubjectTables, PackError> {
    let virtual_memory: Vec<Mapping> = subject.regions.iter().map(|r| mapping(r, r.address)).collect();
    let guest = build(subject, Format::Native, GUEST_TABLES, &virtual_memory)?;
    let guest_address =
        store.append(format!("{}: page tables", subject.name), &guest.to_bytes(), guest.size());

    let mut physical_memory: Vec<Mapping> =
        subject.regions.iter().zip(regions).map(|(region, placed)| mapping(region, placed.address)).collect();
    physical_memory.push(Mapping {
        from: GUEST_TABLES,
        to: guest_address,
        size: guest.size(),
        rights: Rights::ReadWrite,
        caching: Caching::WriteBack,
    });
    let mut nested = |format, name| {
        let tables = build(subject, format, store.end(), &physical_memory)?;
        Ok(store.append(format!("{}: {name}", subject.name), &tables.to_bytes(), tables.size()))
    };
    Ok(SubjectTables {
        guest_root: GUEST_TABLES,
        npt_root: nested(Format::AmdNested, "nested page tables (AMD)")?,
        ept_root: nested(Format::IntelExtended, "extended page tables (Intel)")?,
    })
}

/// A region that is found at `to`.
fn mapping(region: &Region, to: u64) -> Mapping {
    let caching = match region.backing {
        Backing::Device(_) => Caching::Uncached,
        Backing::Volatile(_) | Backing::Content(_) | Backing::SubjectInfo | Backing::BootInfo => {
            Caching::WriteBack
        }
    };
    Mapping { from: region.address, to, size: region.size, rights: region.rights, caching }
}

fn build(subject: &Subject, format: Format, base: u64, mappings: &[Mapping]) -> Result<Tables, PackError> {
    let mut tables = Tables::new(format, Largest::LargePage, base);
    for mapping in mappings {
        tables.map(mapping).map_err(|error| {
            let problem = match error {
                MapError::Overlap(address) => format!("two regions overlap at {address:#x}"),
                MapError::Range(address) => format!("the region at {address:#x} cannot be mapped"),
            };
            PackError::subject(&subject.name, problem)
        })?;
    }
    Ok(tables)
}

/// Makes the kernel's tables for one CPU and returns their root.
pub(crate) fn kernel(
    plan: &Plan,
    placement: &Placement,
    kernel: &Kernel,
    cpu: usize,
    store: &mut Store,
) -> Result<u64, PackError> {
    let root = store.end();
    let mut tables = Tables::new(Format::Native, Largest::Page, root);
    for range in kernel_ranges(plan, placement, kernel, cpu)? {
        let KernelRange { address, size, rights, caching, .. } = range;
        tables
            .map(&Mapping { from: address, to: address, size, rights, caching })
            .map_err(|(MapError::Overlap(at) | MapError::Range(at))| PackError::KernelMemory(at))?;
    }
    Ok(store.append(format!("kernel: page tables of CPU {cpu}"), &tables.to_bytes(), tables.size()))
}

/// Memory that the kernel reaches on one CPU, at its physical address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelRange {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) rights: Rights,
    pub(crate) caching: Caching,
    pub(crate) name: String,
}

/// Everything the kernel reaches on one CPU, sorted. No memory of a subject is among it but its code, which the kernel
/// reads to recognise `vmcall`, and its timed-event page.
pub(crate) fn kernel_ranges(
    plan: &Plan,
    placement: &Placement,
    kernel: &Kernel,
    cpu: usize,
) -> Result<Vec<KernelRange>, PackError> {
    let mut ranges = Vec::new();
    let mut add = |address, size, rights, name: String| {
        ranges.push(KernelRange { address, size, rights, caching: Caching::WriteBack, name });
    };
    for segment in &kernel.segments {
        add(segment.address, segment.size, segment.rights, crate::map::segment_name(segment.rights).into());
    }
    add(placement.plan.0, placement.plan.1, Rights::Read, "plan".into());
    add(plan.crash_record, PAGE, Rights::ReadWrite, "crash record".into());
    add(plan.report, PAGE, Rights::ReadWrite, "report".into());
    if let Some(own) = plan.cpus.get(cpu) {
        add(own.stack, CPU_STACK_SIZE, Rights::ReadWrite, "stack".into());
        add(own.data, CPU_DATA_SIZE, Rights::ReadWrite, "CPU data".into());
        add(own.host_area, PAGE, Rights::ReadWrite, "host area".into());
    }
    for partition in plan.partitions.iter().filter(|p| usize::from(p.cpu) == cpu) {
        add(
            partition.scheduling_info,
            PAGE,
            Rights::ReadWrite,
            format!("{}: scheduling info", partition.name),
        );
    }
    let mut code = BTreeMap::new();
    for (subject, placed) in plan.subjects.iter().zip(&placement.subjects) {
        if usize::from(subject.cpu) != cpu {
            continue;
        }
        for (address, what) in
            [(subject.state, "state"), (subject.xsave, "XSAVE area"), (subject.control, "control")]
        {
            add(address, PAGE, Rights::ReadWrite, format!("{}: {what}", subject.name));
        }
        if placed.timed_event != 0 {
            add(placed.timed_event, PAGE, Rights::ReadWrite, format!("{}: timed event", subject.name));
        }
        for (region, place) in subject.regions.iter().zip(&placed.regions) {
            if region.rights == Rights::ReadExecute {
                // Subjects with the same program share its code.
                code.entry((place.address, region.size)).or_insert_with(Vec::new).push(subject.name.as_str());
            }
        }
    }
    for ((address, size), owners) in code {
        add(address, size, Rights::Read, format!("{}: code", owners.join(", ")));
    }
    let mut add_registers = |address, name| {
        let (size, rights, caching) = (PAGE, Rights::ReadWrite, Caching::Uncached);
        ranges.push(KernelRange { address, size, rights, caching, name });
    };
    add_registers(plan.machine.local_apic, "local APIC".into());
    for page in devices::kernel_pages(plan, cpu)? {
        add_registers(page.address, page.name);
    }
    // The boot CPU sets the IOMMU up and looks after its faults.
    for record in placement.iommus(plan).into_iter().filter(|_| cpu == 0) {
        ranges.push(KernelRange {
            address: record.registers,
            size: record.registers_size(),
            rights: Rights::ReadWrite,
            caching: Caching::Uncached,
            name: "IOMMU".into(),
        });
        ranges.push(KernelRange {
            address: record.queues,
            size: abi::Iommu::QUEUES_SIZE,
            rights: Rights::ReadWrite,
            caching: Caching::WriteBack,
            name: "queues of the IOMMU".into(),
        });
    }
    ranges.sort_by_key(|r| r.address);
    Ok(ranges)
}
