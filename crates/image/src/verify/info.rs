//! What a subject info promises its subject, held against the tables.

use std::collections::{BTreeMap, BTreeSet};

use palisade_abi::layout::{PAGE, SUBJECT_INFO_SIZE};
use palisade_abi::plan::{source_action, target_action};

use super::System;
use super::bytes::{first_nonzero, u16_at, u32_at, u64_at};
use super::facts::sha256;
use super::file::Image;
use super::rules::{CONTENT_HASHES, EVENTS_CLOSED, Findings, SUBJECT_INFO_TRUE};
use super::subjects::Subject;

/// A subject info.
pub(super) struct Info {
    name: String,
    resources: Vec<Resource>,
}

/// An entry of a subject info.
struct Resource {
    name: String,
    data: Data,
}

enum Data {
    Memory(Memory),
    Event(u8),
    Vector(u8),
    /// A device or a part of one.
    Device,
}

/// A memory resource.
pub(super) struct Memory {
    pub(super) kind: u8,
    content: Content,
    pub(super) writable: bool,
    pub(super) executable: bool,
    pub(super) address: u64,
    pub(super) size: u64,
    hash: [u8; 32],
}

impl Memory {
    pub(super) const CHANNEL: u8 = 5;
    pub(super) const STATE: u8 = 6;
    /// The largest kind in version 05.
    const LAST_KIND: u8 = 19;

    pub(super) const fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Uninitialized,
    Fill,
    File,
}

impl Info {
    /// Reads the subject info at a physical address.
    pub(super) fn read(image: Image<'_>, phys: u64) -> Result<Self, String> {
        let bytes = image
            .at(phys, SUBJECT_INFO_SIZE)
            .ok_or_else(|| format!("its subject info at {phys:#x} is not in the image"))?;
        let count_at = match u64_at(bytes, 0) {
            Some(MAGIC_03 | MAGIC_04) => 77,
            Some(MAGIC_05) => 78,
            _ => return Err("its subject info begins with no known magic number".to_owned()),
        };
        // The one byte of padding is behind the number of resources in the older versions, before it in the newest one.
        let padding = bytes.get(if count_at == 77 { 79 } else { 77 });
        let count = usize::from(u16_at(bytes, count_at).unwrap_or(u16::MAX));
        if count > MOST_RESOURCES || padding != Some(&0) {
            return Err("the header of its subject info is malformed".to_owned());
        }
        let (used, rest) = bytes
            .get(HEADER..)
            .and_then(|b| b.split_at_checked(count * RESOURCE))
            .ok_or("its subject info is too short")?;
        let resources = used
            .chunks_exact(RESOURCE)
            .enumerate()
            .map(|(number, r)| {
                resource(r).ok_or_else(|| format!("resource {number} of its subject info is malformed"))
            })
            .collect::<Result<_, _>>()?;
        if first_nonzero(rest).is_some() {
            return Err("there is content behind the last resource of its subject info".to_owned());
        }
        let name = bytes.get(12..77).and_then(name).ok_or("the name in its subject info is malformed")?;
        Ok(Self { name, resources })
    }

    /// The memory resources with their names.
    pub(super) fn memory(&self) -> impl Iterator<Item = (&str, &Memory)> {
        self.resources.iter().filter_map(|r| match &r.data {
            Data::Memory(memory) => Some((r.name.as_str(), memory)),
            _ => None,
        })
    }

    /// The number of the source event with this name.
    pub(super) fn event(&self, name: &str) -> Option<usize> {
        self.resources.iter().find_map(|r| match r.data {
            Data::Event(number) if r.name == name => Some(usize::from(number)),
            _ => None,
        })
    }

    /// Numbers of the source events that the subject was told about.
    pub(super) fn events(&self) -> impl Iterator<Item = u8> {
        self.resources.iter().filter_map(|r| match r.data {
            Data::Event(number) => Some(number),
            _ => None,
        })
    }
}

/// Checks every subject info.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    let mut hashes = Hashes::default();
    for subject in &system.subjects {
        let Some(info) = &subject.info else { continue };
        findings.require(info.name == subject.name, &SUBJECT_INFO_TRUE, || {
            format!("{}: its subject info calls it {:?}", subject.name, info.name)
        });
        check_names(subject, info, findings);
        for (name, memory) in info.memory() {
            check_memory(subject, name, memory, findings);
            hashes.check(system, subject, name, memory, findings);
        }
        check_numbers(system, subject, info, findings);
    }
}

fn check_names(subject: &Subject<'_>, info: &Info, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for resource in &info.resources {
        let kind = match resource.data {
            Data::Memory(_) => 0,
            Data::Event(_) => 1,
            Data::Vector(_) => 2,
            Data::Device => 3,
        };
        findings.require(names.insert((kind, &resource.name)), &SUBJECT_INFO_TRUE, || {
            format!("{}: there are two resources {:?} of one kind", subject.name, resource.name)
        });
        findings.require(!matches!(resource.data, Data::Device), &SUBJECT_INFO_TRUE, || {
            let (subject, name) = (subject.name, &resource.name);
            format!("{subject}: the resource {name:?} is a device, which subject infos do not describe yet")
        });
    }
}

fn check_memory(subject: &Subject<'_>, name: &str, memory: &Memory, findings: &mut Findings) {
    let (address, size) = (memory.address, memory.size);
    let place = size > 0 && address.is_multiple_of(PAGE) && address.checked_add(size).is_some();
    let agrees = place && is_mapped(subject, memory);
    findings.require(agrees, &SUBJECT_INFO_TRUE, || {
        format!(
            "{}: the resource {name:?} at {address:#x}, {size:#x} bytes, is not mapped as its subject info says",
            subject.name
        )
    });
}

/// Whether all of it is mapped with the rights that the subject info gives.
fn is_mapped(subject: &Subject<'_>, memory: &Memory) -> bool {
    let rights = (memory.writable, memory.executable);
    subject.reach.all(memory.address, memory.size, |access| (access.write, access.execute) == rights)
}

fn check_numbers(system: &System<'_>, subject: &Subject<'_>, info: &Info, findings: &mut Findings) {
    let (sources, targets) =
        (system.plan.source_events.get(subject.id), system.plan.target_events.get(subject.id));
    for resource in &info.resources {
        let known = match resource.data {
            Data::Event(number) => sources
                .and_then(|s| s.get(usize::from(number)))
                .is_some_and(|s| s.action != source_action::UNDEFINED),
            Data::Vector(vector) => {
                let by_event = targets.is_some_and(|targets| {
                    targets.iter().any(|t| t.action == target_action::INJECT_INTERRUPT && t.vector == vector)
                });
                let mut interrupts = system.plan.interrupts.iter();
                by_event
                    || interrupts.any(|i| usize::from(i.subject) == subject.id && i.guest_vector == vector)
            }
            Data::Memory(_) | Data::Device => true,
        };
        findings.require(known, &EVENTS_CLOSED, || {
            format!(
                "{}: the plan knows no event or vector behind the resource {:?}",
                subject.name, resource.name
            )
        });
    }
}

/// Content hashes. Each stretch of the image is hashed once, however many resources describe it, and altogether not more
/// than a few times the image's size.
#[derive(Default)]
struct Hashes {
    known: BTreeMap<(u64, u64), [u8; 32]>,
    hashed: u64,
}

impl Hashes {
    fn check(
        &mut self,
        system: &System<'_>,
        subject: &Subject<'_>,
        name: &str,
        memory: &Memory,
        findings: &mut Findings,
    ) {
        let unknown = memory.hash == [0; 32];
        let Some(phys) = subject.reach.translate_range(memory.address, memory.size) else {
            findings.require(unknown || !is_mapped(subject, memory), &CONTENT_HASHES, || {
                format!("{}: the resource {name:?} has a hash, but lies in more than one piece", subject.name)
            });
            return;
        };
        let content = system.image.at(phys, memory.size);
        let plausible = match memory.content {
            Content::Uninitialized | Content::Fill => unknown,
            Content::File => content.is_some(),
        };
        findings.require(plausible, &CONTENT_HASHES, || {
            format!("{}: the resource {name:?} has content or a hash that it cannot have", subject.name)
        });
        let Some(content) = content.filter(|_| !unknown) else { return };
        let budget = (system.image.end() - system.image.start()).saturating_mul(HASHING_FACTOR);
        let hash = match self.known.get(&(phys, memory.size)) {
            Some(hash) => Some(*hash),
            None if self.hashed > budget => None,
            None => {
                self.hashed = self.hashed.saturating_add(memory.size);
                let hash = sha256(content);
                self.known.insert((phys, memory.size), hash);
                Some(hash)
            }
        };
        findings.require(hash == Some(memory.hash), &CONTENT_HASHES, || {
            format!("{}: the content hash of the resource {name:?} is wrong", subject.name)
        });
    }
}

fn resource(bytes: &[u8]) -> Option<Resource> {
    let name = name(bytes.get(4..69)?)?;
    let padding = bytes.get(69..72)?;
    let data = bytes.get(72..RESOURCE)?;
    let number = |first: u8| (first < 64 && first_nonzero(data.get(1..)?).is_none()).then_some(first);
    let data = match u32_at(bytes, 0)? {
        1 => Data::Memory(memory(data)?),
        2 => Data::Event(number(*data.first()?)?),
        3 if first_nonzero(data.get(1..)?).is_none() => Data::Vector(*data.first()?),
        4..=6 => Data::Device,
        _ => return None,
    };
    (first_nonzero(padding).is_none()).then_some(Resource { name, data })
}

fn memory(data: &[u8]) -> Option<Memory> {
    const NO_PATTERN: u16 = 256;
    let kind = *data.first()?;
    let pattern = u16_at(data, 3)?;
    let content = match data.get(1)? {
        0 => Content::Uninitialized,
        1 => Content::Fill,
        2 => Content::File,
        _ => return None,
    };
    let flags = *data.get(2)?;
    let padding = data.get(5..8)?;
    let patterned = if content == Content::Fill { pattern < NO_PATTERN } else { pattern == NO_PATTERN };
    let well_formed = kind <= Memory::LAST_KIND && flags < 4 && patterned && first_nonzero(padding).is_none();
    well_formed.then_some(Memory {
        kind,
        content,
        writable: flags & 1 != 0,
        executable: flags & 2 != 0,
        address: u64_at(data, 8)?,
        size: u64_at(data, 16)?,
        hash: data.get(24..56)?.try_into().ok()?,
    })
}

/// A name of up to 63 bytes: its length, its bytes, and zeros.
fn name(field: &[u8]) -> Option<String> {
    let (length, text) = field.split_first()?;
    let (name, rest) = text.split_at_checked(usize::from(*length)).filter(|_| *length <= 63)?;
    let clean = !name.contains(&0) && first_nonzero(rest).is_none();
    clean.then(|| String::from_utf8(name.to_vec()).ok())?
}

const MAGIC_03: u64 = 0x0300_6f66_6e69_756d;
const MAGIC_04: u64 = 0x0400_6f66_6e69_756d;
const MAGIC_05: u64 = 0x0500_6f66_6e69_756d;
const HEADER: usize = 80;
const RESOURCE: usize = 128;
const MOST_RESOURCES: usize = 255;
/// The regions of a subject do not overlap, so a good image needs no more than 1.
const HASHING_FACTOR: u64 = 4;
