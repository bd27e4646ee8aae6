//! What a subject is told: subject info and boot info. The kernel, or whoever is in its place, fills in frequencies.

use palisade_abi::boot_info::{self, CommandLineError};
use palisade_abi::layout::{BOOT_INFO, BOOT_INFO_SIZE, MAX_COMMAND_LINE, SUBJECT_INFO_SIZE};
use palisade_abi::subject_info::{Builder, Content, Data, MemoryKind, MemoryResource, Version};
use palisade_policy::plan::{Backing, InfoVersion, Region, ResourceData, Subject};

use crate::error::PackError;
use crate::store::padded_digest;

/// The subject info of a subject whose regions have these digests.
///
/// # Errors
/// Something of the subject does not fit into it.
pub fn subject_info(subject: &Subject, digests: &[Option<[u8; 32]>]) -> Result<Vec<u8>, PackError> {
    let refuse = |what: &str, error| {
        PackError::subject(&subject.name, format!("{what} cannot be in its subject info: {error:?}"))
    };
    let version = match subject.info_version {
        InfoVersion::V03 => Version::V03,
        InfoVersion::V04 => Version::V04,
        InfoVersion::V05 => Version::V05,
    };
    let mut bytes = Box::new([0; SUBJECT_INFO_SIZE as usize]);
    let mut builder =
        Builder::new(&mut bytes, version, &subject.name, 0).map_err(|error| refuse("its name", error))?;
    for resource in &subject.resources {
        let data = match &resource.data {
            ResourceData::Event(number) => Data::Event(*number),
            ResourceData::Vector(number) => Data::Vector(*number),
            ResourceData::Memory { kind, address, size, writable, executable } => {
                let kind = MemoryKind::from_number(Version::V05, *kind).ok_or_else(|| {
                    let problem = format!("resource \"{}\" has an unknown kind", resource.name);
                    PackError::subject(&subject.name, problem)
                })?;
                let digest = digest_at(subject, digests, *address, *size);
                Data::Memory(MemoryResource {
                    kind,
                    content: if digest.is_some() { Content::File } else { Content::Uninitialized },
                    writable: *writable,
                    executable: *executable,
                    address: *address,
                    size: *size,
                    hash: digest.unwrap_or_default(),
                })
            }
        };
        builder
            .add(&resource.name, &data)
            .map_err(|error| refuse(&format!("resource \"{}\"", resource.name), error))?;
    }
    Ok(bytes.to_vec())
}

/// The boot info of a subject, with its command line. `region` is where it finds it.
///
/// # Errors
/// It would not be where programs look for it, or the command line does not fit.
pub fn boot_info(subject: &Subject, region: &Region) -> Result<Vec<u8>, PackError> {
    let refuse = |problem: String| PackError::subject(&subject.name, problem);
    if (region.address, region.size) != (BOOT_INFO, BOOT_INFO_SIZE) {
        return Err(refuse(format!("its boot info must be {BOOT_INFO_SIZE} bytes at {BOOT_INFO:#x}")));
    }
    let mut bytes = [0; BOOT_INFO_SIZE as usize];
    boot_info::write(&mut bytes, subject.ram_end, subject.program_last, &subject.command_line).map_err(
        |error| {
            refuse(match error {
                CommandLineError::TooLong(length) => {
                    format!(
                        "its command line is too long: {length} bytes, {} are possible",
                        MAX_COMMAND_LINE - 1
                    )
                }
                CommandLineError::Nul(at) => format!("its command line contains NUL at byte {at}"),
            })
        },
    )?;
    Ok(bytes.to_vec())
}

/// SHA-256 of a region, if its content is known and stays: what [`subject_info`] has to be told.
#[must_use]
pub fn digest(region: &Region) -> Option<[u8; 32]> {
    match &region.backing {
        Backing::Content(content) => Some(padded_digest(content, region.size)),
        _ => None,
    }
}

/// The digest of the region that is exactly this memory, if its content is known.
fn digest_at(subject: &Subject, digests: &[Option<[u8; 32]>], address: u64, size: u64) -> Option<[u8; 32]> {
    let index = subject.regions.iter().position(|r| (r.address, r.size) == (address, size))?;
    *digests.get(index)?
}
