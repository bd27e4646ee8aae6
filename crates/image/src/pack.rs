//! Packing: the one way from a plan to an image.

use palisade_abi::layout::{IMAGE_BASE, PAGE};
use palisade_policy::plan::Plan;
use sha2::{Digest, Sha256};

use crate::blob;
use crate::elf;
use crate::error::PackError;
use crate::kernel::Kernel;
use crate::map;
use crate::place;
use crate::store::Store;

/// A finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Name of the system.
    pub name: String,
    /// The ELF file: what a boot loader gets.
    pub bytes: Vec<u8>,
    /// What lies where and who reaches it, for people: the content of `NAME.map.txt`.
    pub map: String,
    /// SHA-256 of the kernel as it lies in memory, from 1 MiB to the page boundary where the plan begins. The same for
    /// every system with the same kernel.
    pub kernel_sha256: [u8; 32],
    /// First physical address after the image, which begins at 1 MiB.
    pub end: u64,
}

/// Makes the image of a system.
///
/// # Errors
/// The kernel or the plan cannot be placed; see [`PackError`].
pub fn pack(plan: &Plan, kernel_elf: &[u8]) -> Result<Image, PackError> {
    check_volatile(plan)?;
    let kernel = Kernel::read(kernel_elf)?;
    let limit = plan.volatile.first().map_or(END_OF_MEMORY, |range| range.start.min(END_OF_MEMORY));
    let mut store = Store::new(limit);
    let placement = place::place(plan, &kernel, &mut store)?;
    let end = store.end();
    if end > limit {
        let owner = plan.volatile.first().map_or("nobody", |range| &range.owner).into();
        return Err(PackError::MeetsVolatileMemory { end, limit, owner });
    }
    if !plan
        .machine
        .usable
        .iter()
        .any(|(start, size)| *start <= IMAGE_BASE && end <= start.saturating_add(*size))
    {
        return Err(PackError::NotUsableMemory { end, machine: plan.machine.name.clone() });
    }
    store.fill(placement.plan.0, &blob::write(plan, &placement, kernel.end(), end)?);
    let kernel_sha256 = Sha256::digest(&kernel.bytes).into();
    let (mut bytes, items) = store.finish();
    elf::write_headers(&mut bytes, kernel.entry);
    Ok(Image {
        name: plan.name.clone(),
        bytes,
        map: map::write(plan, &placement, &kernel, &items, &kernel_sha256)?,
        kernel_sha256,
        end,
    })
}

/// The joined tables of the plan rely on the order of the volatile ranges.
fn check_volatile(plan: &Plan) -> Result<(), PackError> {
    let mut end = 0;
    for range in &plan.volatile {
        let next = range.start.checked_add(range.size);
        let whole_pages = range.size > 0 && (range.start | range.size).is_multiple_of(PAGE);
        match next {
            Some(next) if whole_pages && range.start >= end => end = next,
            _ => return Err(PackError::Volatile(range.start)),
        }
    }
    Ok(())
}

/// Physical memory above 4 GiB is not used.
const END_OF_MEMORY: u64 = 1 << 32;

#[cfg(test)]
mod tests;
