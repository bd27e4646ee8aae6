//! What a subject's address space consists of, as its launcher has to be told.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use palisade_abi::boot_info::{CPU_CYCLE_FREQ_OFFSET, HOST_FEATURES_OFFSET};
use palisade_abi::init_table::{self, Operation};
use palisade_abi::launch::{Region, backing, rights};
use palisade_abi::layout::{FAULT_RECORD, INIT_TABLE, PAGE};
use palisade_abi::platform::HOSTED;
use palisade_abi::subject_info::TSC_KHZ_OFFSET;
use palisade_image::info;
use palisade_policy::plan::{Backing, Plan, Rights, Subject};
use zerocopy::IntoBytes;

use crate::Error;
use crate::clock::Clock;
use crate::memory::sealed;

/// A subject's address space before it exists.
#[derive(Debug)]
pub(crate) struct AddressSpace {
    /// Its regions.
    pub(crate) regions: Vec<Region>,
    /// What has to be copied and filled at each start.
    pub(crate) operations: Vec<Operation>,
    /// Address of the program's first instruction.
    pub(crate) entry: u64,
    content: OwnedFd,
}

impl AddressSpace {
    /// That of a subject. `fault_record` is where its record lies in the shared memory.
    pub(crate) fn new(
        plan: &Plan,
        subject: &Subject,
        clock: Clock,
        fault_record: u64,
    ) -> Result<Self, Error> {
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut regions = Vec::new();
        let mut end = 0;
        for region in &subject.regions {
            let write = region.rights == Rights::ReadWrite;
            let (backing, offset) = match &region.backing {
                Backing::Device(_) => return Err(Error::Plan("a unikernel has registers of a device")),
                Backing::Volatile(_) if write && is_private(plan, region.address, subject) => {
                    (backing::PRIVATE, 0)
                }
                Backing::Volatile(physical) => (backing::SHARED, *physical),
                content => {
                    let bytes = match content {
                        Backing::Content(bytes) => bytes.to_vec(),
                        Backing::SubjectInfo => subject_info(subject, clock)?,
                        _ => boot_info(subject, region, clock)?,
                    };
                    let offset = end;
                    pieces.push((offset, bytes));
                    end += region.size;
                    (backing::CONTENT, offset)
                }
            };
            let rights = match region.rights {
                Rights::Read => 0,
                Rights::ReadWrite => rights::WRITE,
                Rights::ReadExecute => rights::EXECUTE,
            };
            regions.push(Region { address: region.address, size: region.size, offset, backing, rights });
        }
        let (entry, operations) = start(subject, &regions)?;
        let record = Region {
            address: FAULT_RECORD,
            size: PAGE,
            offset: fault_record,
            backing: backing::SHARED,
            rights: rights::WRITE,
        };
        regions.push(record);
        let pieces = pieces.iter().map(|(offset, bytes)| (*offset, bytes.as_slice()));
        let content =
            sealed("palisade-content", end, pieces).map_err(Error::system("memory cannot be had"))?;
        Ok(Self { regions, operations, entry, content })
    }

    /// What nobody can write.
    pub(crate) fn content(&self) -> BorrowedFd<'_> {
        self.content.as_fd()
    }
}

/// Whether nobody else has the volatile memory that the subject has at this address.
fn is_private(plan: &Plan, address: u64, owner: &Subject) -> bool {
    let place = |region: &palisade_policy::plan::Region| match region.backing {
        Backing::Volatile(physical) => Some((physical, physical + region.size)),
        _ => None,
    };
    let own = owner.regions.iter().find(|region| region.address == address).and_then(place);
    let Some((start, end)) = own else { return false };
    let all = plan.subjects.iter().flat_map(|subject| &subject.regions).filter_map(place);
    all.filter(|(other, other_end)| *other < end && start < *other_end).count() == 1
}

/// The first instruction, and what has to be restored. New private memory is zero.
fn start(subject: &Subject, regions: &[Region]) -> Result<(u64, Vec<Operation>), Error> {
    let missing = || Error::Plan("a unikernel has no init table");
    let table = subject.regions.iter().find(|region| region.address == INIT_TABLE).ok_or_else(missing)?;
    let Backing::Content(bytes) = &table.backing else { return Err(missing()) };
    let words = aligned(bytes);
    let (entry, operations) = init_table::parse(words.as_bytes()).ok_or_else(missing)?;
    let is_zero = |operation: &Operation| {
        let inside = |region: &Region| {
            region.backing == backing::PRIVATE
                && region.address <= operation.destination
                && operation.destination + operation.size <= region.address + region.size
        };
        operation.source == 0 && operation.fill == 0 && regions.iter().any(inside)
    };
    Ok((entry, operations.iter().filter(|operation| !is_zero(operation)).copied().collect()))
}

/// A copy of bytes with the alignment of records.
pub(crate) fn aligned(bytes: &[u8]) -> Vec<u64> {
    let mut words = vec![0; bytes.len().div_ceil(8)];
    words.as_mut_bytes().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    words
}

fn subject_info(subject: &Subject, clock: Clock) -> Result<Vec<u8>, Error> {
    let digests: Vec<_> = subject.regions.iter().map(info::digest).collect();
    let mut bytes = info::subject_info(subject, &digests)?;
    put(&mut bytes, TSC_KHZ_OFFSET, &clock.kilohertz().to_le_bytes());
    Ok(bytes)
}

fn boot_info(
    subject: &Subject,
    region: &palisade_policy::plan::Region,
    clock: Clock,
) -> Result<Vec<u8>, Error> {
    let mut bytes = info::boot_info(subject, region)?;
    put(&mut bytes, CPU_CYCLE_FREQ_OFFSET, &(u64::from(clock.kilohertz()) * 1000).to_le_bytes());
    put(&mut bytes, HOST_FEATURES_OFFSET, &HOSTED.to_le_bytes());
    Ok(bytes)
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes.iter_mut().skip(offset).zip(value).for_each(|(to, from)| *to = *from);
}
