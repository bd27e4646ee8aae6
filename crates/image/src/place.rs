//! Where everything with content lies in the image.

use palisade_abi::layout::{IMAGE_BASE, PAGE, SUBJECT_INFO_SIZE, TIMED_EVENT, page_align_up};
use palisade_abi::plan as abi;
use palisade_policy::plan::{Backing, Plan, Region, Rights, Subject};

use crate::bitmap;
use crate::blob;
use crate::cpuid;
use crate::error::PackError;
use crate::info;
use crate::iommu::{self, PlacedIommu};
use crate::kernel::Kernel;
use crate::store::Store;
use crate::tables;

/// The places of everything with content.
pub(crate) struct Placement {
    /// The plan as the kernel reads it.
    pub(crate) plan: (u64, u64),
    /// What each subject has in the image, in the order of the subjects.
    pub(crate) subjects: Vec<PlacedSubject>,
    /// What subjects see of CPUID.
    pub(crate) cpuid: cpuid::Leaves,
    /// Tables of the IOMMU, if the machine has one.
    pub(crate) iommu: Option<PlacedIommu>,
    /// Roots of the kernel's page tables, one per CPU.
    pub(crate) kernel_roots: Vec<u64>,
}

impl Placement {
    /// The records of the units of the machine's IOMMU.
    pub(crate) fn iommus(&self, plan: &Plan) -> Vec<abi::Iommu> {
        let placed = plan.machine.iommu.as_ref().zip(self.iommu);
        placed.map_or_else(Vec::new, |(iommu, placed)| placed.records(iommu, plan.iommu_queues))
    }
}

/// What a subject has in the image. All addresses are physical unless said otherwise.
pub(crate) struct PlacedSubject {
    /// Its regions, in the order of the plan.
    pub(crate) regions: Vec<PlacedRegion>,
    pub(crate) subject_info: u64,
    pub(crate) boot_info: u64,
    /// Guest address of the boot info.
    pub(crate) boot_info_guest: u64,
    /// Its timed-event page, or 0.
    pub(crate) timed_event: u64,
    pub(crate) tables: tables::SubjectTables,
    pub(crate) iopm: u64,
    pub(crate) msrpm: u64,
    pub(crate) io_bitmaps: u64,
    pub(crate) msr_bitmap: u64,
}

/// Where a region of a subject lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedRegion {
    /// Physical address.
    pub(crate) address: u64,
    /// SHA-256 of its content, if the content is known and stays.
    pub(crate) digest: Option<[u8; 32]>,
}

/// Lays out everything behind the kernel. The plan gets its place, but not yet its content.
pub(crate) fn place(plan: &Plan, kernel: &Kernel, store: &mut Store) -> Result<Placement, PackError> {
    for segment in &kernel.segments {
        let start = (segment.address - IMAGE_BASE) as usize;
        let owner = format!("kernel: {}", crate::map::segment_name(segment.rights));
        // Segments can have a gap between them; it belongs to the one before.
        let next = kernel.segments.iter().map(|s| s.address).find(|a| *a > segment.address);
        let size = next.unwrap_or(kernel.end()) - segment.address;
        store.append(owner, &kernel.bytes[start..start + size as usize], size);
    }
    let cpuid = cpuid::Leaves::of(plan);
    let plan_size = blob::size(plan, &cpuid)?;
    let plan_start = store.append("kernel: plan", &[], plan_size);
    let mut subjects = Vec::with_capacity(plan.subjects.len());
    for subject in &plan.subjects {
        subjects.push(place_subject(subject, store)?);
    }
    let iommu = iommu::place(plan, store)?;
    let plan_place = (plan_start, page_align_up(plan_size));
    let mut placement = Placement { plan: plan_place, subjects, cpuid, iommu, kernel_roots: Vec::new() };
    for cpu in 0..plan.cpus.len() {
        let root = tables::kernel(plan, &placement, kernel, cpu, store)?;
        placement.kernel_roots.push(root);
    }
    Ok(placement)
}

fn place_subject(subject: &Subject, store: &mut Store) -> Result<PlacedSubject, PackError> {
    let mut regions = Vec::with_capacity(subject.regions.len());
    for region in &subject.regions {
        check_region(subject, region)?;
        regions.push(place_region(subject, region, store)?);
    }
    let info = only(subject, "subject info", |r| matches!(r.backing, Backing::SubjectInfo))?;
    let boot = only(subject, "boot info", |r| matches!(r.backing, Backing::BootInfo))?;
    let digests: Vec<_> = regions.iter().map(|region| region.digest).collect();
    store.fill(regions[info].address, &info::subject_info(subject, &digests)?);
    let timed_event = subject.regions.iter().position(|r| r.address == TIMED_EVENT);
    if let Some(msr) = subject.msrs.iter().find(|msr| !bitmap::can_grant(**msr)) {
        return Err(PackError::subject(&subject.name, format!("MSR {msr:#x} cannot be passed through")));
    }
    Ok(PlacedSubject {
        subject_info: regions[info].address,
        boot_info: regions[boot].address,
        boot_info_guest: subject.regions[boot].address,
        timed_event: timed_event.map_or(0, |index| regions[index].address),
        tables: tables::subject(subject, &regions, store)?,
        iopm: share(store, subject, "I/O permission map (AMD)", &bitmap::amd_ports(&subject.ports)),
        msrpm: share(store, subject, "MSR permission map (AMD)", &bitmap::amd_msrs(&subject.msrs)),
        io_bitmaps: share(store, subject, "I/O bitmaps (Intel)", &bitmap::intel_ports(&subject.ports)),
        msr_bitmap: share(store, subject, "MSR bitmap (Intel)", &bitmap::intel_msrs(&subject.msrs)),
        regions,
    })
}

fn place_region(subject: &Subject, region: &Region, store: &mut Store) -> Result<PlacedRegion, PackError> {
    let owner = format!("{}: {}", subject.name, region.name);
    Ok(match &region.backing {
        Backing::Volatile(address) | Backing::Device(address) => {
            PlacedRegion { address: *address, digest: None }
        }
        Backing::Content(content) => {
            let (address, digest) = if region.name == PRIVATE_KEY {
                store.keep(owner, content, region.size)
            } else {
                store.share(owner, content, region.size, region.address)
            };
            PlacedRegion { address, digest: Some(digest) }
        }
        // The kernel writes frequencies into both, so they are nobody else's and have no digest. The subject info is
        // written when the digests of all regions are known.
        Backing::SubjectInfo => PlacedRegion { address: store.append(owner, &[], region.size), digest: None },
        Backing::BootInfo => {
            let content = info::boot_info(subject, region)?;
            PlacedRegion { address: store.append(owner, &content, region.size), digest: None }
        }
    })
}

fn check_region(subject: &Subject, region: &Region) -> Result<(), PackError> {
    let refuse = |why: &str| {
        Err(PackError::subject(
            &subject.name,
            format!("region \"{}\" at {:#x} {why}", region.name, region.address),
        ))
    };
    if region.size == 0 || region.size > MAX_REGION || !(region.address | region.size).is_multiple_of(PAGE) {
        return refuse("is not a number of whole pages that can be placed");
    }
    match &region.backing {
        Backing::Device(_) if region.rights == Rights::ReadExecute => {
            refuse("belongs to a device and cannot be executable")
        }
        Backing::Volatile(_) | Backing::Device(_) => Ok(()),
        _ if region.rights == Rights::ReadWrite => {
            refuse("has its content in the image and cannot be writable")
        }
        Backing::SubjectInfo if region.size != SUBJECT_INFO_SIZE => {
            refuse("has not the size of a subject info")
        }
        Backing::Content(content) if content.len() as u64 > region.size => {
            refuse("is smaller than its content")
        }
        _ => Ok(()),
    }
}

/// The index of the only region that is `wanted`.
fn only(subject: &Subject, what: &str, wanted: impl Fn(&Region) -> bool) -> Result<usize, PackError> {
    let mut found = subject.regions.iter().enumerate().filter(|(_, r)| wanted(r)).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        _ => Err(PackError::subject(&subject.name, format!("it must have its {what} exactly once"))),
    }
}

fn share(store: &mut Store, subject: &Subject, what: &str, content: &[u8]) -> u64 {
    store.share(format!("{}: {what}", subject.name), content, content.len() as u64, 0).0
}

/// The region with a subject's private key. No page of it is another subject's too, even if that has the same key.
const PRIVATE_KEY: &str = "key";

/// Physical addresses are below 4 GiB.
const MAX_REGION: u64 = 1 << 32;
