//! Who can reach which physical page, and whether that was declared.

use std::collections::BTreeSet;

use palisade_abi::layout::PAGE;

use super::System;
use super::facts::Facts;
use super::info::Memory;
use super::kernel_memory::{Holding, Purpose};
use super::rules::{
    CONTENT_READ_ONLY, Findings, KERNEL_UNREACHABLE, KERNEL_WRITES_TRUE, MEMORY_HAS_SOURCE, ONE_WRITER,
    PRIVATE_KEYS, SHARING_DECLARED, WX,
};
use super::space::Piece;
use super::subjects::Subject;

/// Checks every page that a subject can reach, against the kernel's memory and against the other subjects.
pub(super) fn check(system: &System<'_>, holdings: &[Holding], findings: &mut Findings, facts: &mut Facts) {
    for subject in &system.subjects {
        check_kernel_unreachable(subject, holdings, findings);
    }
    let keys = Key::all(system, findings);
    sweep(system, holdings, |stretch| {
        if stretch.holders.len() > 1 && stretch.holders.iter().any(|h| h.write) {
            facts.shared_pages += stretch.size / PAGE;
        }
        stretch.judge(system, holdings, findings);
        for key in keys.iter().filter(|k| k.start < stretch.start + stretch.size && stretch.start < k.end) {
            stretch.judge_key(system, key, findings);
        }
    });
}

fn check_kernel_unreachable(subject: &Subject<'_>, holdings: &[Holding], findings: &mut Findings) {
    for piece in subject.nested.pieces() {
        let end = piece.phys.saturating_add(piece.size);
        let first = holdings.partition_point(|h| h.end() <= piece.phys);
        let inside = holdings.iter().skip(first).take_while(|h| h.start < end);
        let forbidden = inside.filter(|h| !is_permitted(subject, piece, h));
        for holding in forbidden.take(MOST_FORBIDDEN) {
            findings.add(&KERNEL_UNREACHABLE, || {
                format!(
                    "{} can reach {} ({:#x}), {}, at its address {:#x}",
                    subject.name,
                    holding.name,
                    holding.start,
                    piece.access.name(),
                    piece.address
                )
            });
        }
    }
}

/// The few pages of the kernel that a subject may reach.
fn is_permitted(subject: &Subject<'_>, piece: &Piece, holding: &Holding) -> bool {
    let read_only = !piece.access.write && !piece.access.execute;
    let declared = || {
        let address = piece.address.saturating_add(holding.start.saturating_sub(piece.phys));
        subject.declared(address).is_some_and(|m| !m.writable && !m.executable)
    };
    match holding.purpose {
        Purpose::OwnTable { subject: owner } => owner == subject.id && !piece.access.execute,
        Purpose::SchedulingInfo { partition } => {
            read_only && usize::from(subject.record.partition) == partition
        }
        Purpose::Report => read_only && declared(),
        Purpose::CrashRecord => read_only && declared() && subject.name == LOG,
        Purpose::Kernel
        | Purpose::Plan
        | Purpose::LocalApic
        | Purpose::Iommu
        | Purpose::IommuQueues
        | Purpose::CpuStart
        | Purpose::Stack { .. }
        | Purpose::StackGuard
        | Purpose::CpuData { .. }
        | Purpose::HostArea { .. }
        | Purpose::State { .. }
        | Purpose::Bitmap
        | Purpose::Table => false,
    }
}

/// Physical memory that is alike: the same subjects reach it in the same way.
struct Stretch {
    start: u64,
    size: u64,
    holders: Vec<Holder>,
}

/// A subject that can reach a stretch.
struct Holder {
    subject: usize,
    write: bool,
    execute: bool,
    /// Where the stretch is in its address space; `None` if that is more than one place.
    address: Option<u64>,
}

impl Stretch {
    fn judge(&self, system: &System<'_>, holdings: &[Holding], findings: &mut Findings) {
        let name = |holder: &Holder| system.subjects.get(holder.subject).map_or("", |s| s.name);
        let start = self.start;
        if let [one, other, ..] = self.holders.as_slice() {
            let filled_in = system.filled_in.touch(start, start + self.size);
            findings.require(!filled_in, &KERNEL_WRITES_TRUE, || {
                format!(
                    "{} and {} both see {start:#x}, which the kernel fills in for one",
                    name(one),
                    name(other)
                )
            });
        }
        let writers: Vec<&Holder> = self.holders.iter().filter(|h| h.write).collect();
        let executor = self.holders.iter().find(|h| h.execute);
        let in_image = (system.image.start()..system.image.end()).contains(&start);
        if let (Some(writer), Some(executor)) = (writers.first(), executor) {
            findings.add(&WX, || {
                format!(
                    "{} can write and {} can execute the page at {start:#x}",
                    name(writer),
                    name(executor)
                )
            });
        }
        let purpose = holdings
            .get(holdings.partition_point(|h| h.end() <= start))
            .filter(|h| h.start <= start)
            .map(|h| h.purpose);
        match writers.as_slice() {
            [] => {
                let filled = in_image
                    || system.is_register(start)
                    || matches!(
                        purpose,
                        Some(Purpose::SchedulingInfo { .. } | Purpose::Report | Purpose::CrashRecord)
                    );
                let reader = self.holders.first().map_or("", name);
                findings.require(filled, &MEMORY_HAS_SOURCE, || {
                    format!("{reader} can read memory at {start:#x} that nobody writes")
                });
            }
            [writer] => {
                let own_table = matches!(purpose, Some(Purpose::OwnTable { .. }));
                findings.require(!in_image || own_table, &CONTENT_READ_ONLY, || {
                    format!("{} can write to the image at {start:#x}", name(writer))
                });
                for reader in self.holders.iter().filter(|h| h.subject != writer.subject) {
                    findings.require(self.is_declared(system, writer, reader), &SHARING_DECLARED, || {
                        format!(
                            "{} writes and {} reads {start:#x}, which is no channel or state page of both",
                            name(writer),
                            name(reader)
                        )
                    });
                }
            }
            [one, other, ..] => findings.add(&ONE_WRITER, || {
                format!("{} and {} can both write to {start:#x}", name(one), name(other))
            }),
        }
    }

    /// Nobody but its owner reaches a private key, and not even its owner changes it.
    fn judge_key(&self, system: &System<'_>, key: &Key, findings: &mut Findings) {
        let name = |subject: usize| system.subjects.get(subject).map_or("", |s| s.name);
        for holder in &self.holders {
            findings.require(holder.subject == key.subject && !holder.write, &PRIVATE_KEYS, || {
                let right = if holder.write { "write" } else { "read" };
                let (holder, owner) = (name(holder.subject), name(key.subject));
                format!("{holder} can {right} the private key of {owner} at {:#x}", self.start)
            });
        }
    }

    /// Whether both declare the whole stretch as part of the same thing, which one writes and the other one reads.
    fn is_declared(&self, system: &System<'_>, writer: &Holder, reader: &Holder) -> bool {
        let declared = |holder: &Holder| {
            let address = holder.address?;
            let memory = system.subjects.get(holder.subject)?.declared(address)?;
            let offset = address - memory.address;
            (self.size <= memory.size - offset).then_some((memory, offset))
        };
        let (Some((written, at)), Some((read, also_at))) = (declared(writer), declared(reader)) else {
            return false;
        };
        let alike = written.kind == read.kind && written.size == read.size && at == also_at;
        let shareable = matches!(written.kind, Memory::CHANNEL | Memory::STATE);
        alike && shareable && written.writable && !read.writable && !written.executable && !read.executable
    }
}

/// Where a subject's private key lies in physical memory.
struct Key {
    subject: usize,
    start: u64,
    end: u64,
}

impl Key {
    /// The keys of all subjects. One in several pieces is refused; what else subject infos say falsely is found elsewhere.
    fn all(system: &System<'_>, findings: &mut Findings) -> Vec<Self> {
        let mut keys = Vec::new();
        for subject in &system.subjects {
            let Some((_, key)) = subject.info.iter().flat_map(|i| i.memory()).find(|(name, _)| *name == KEY)
            else {
                continue;
            };
            let start = subject.reach.translate_range(key.address, key.size);
            findings.require(start.is_some(), &PRIVATE_KEYS, || {
                format!(
                    "the private key of {} at {:#x} is not memory in one piece",
                    subject.name, key.address
                )
            });
            keys.extend(start.map(|start| Self {
                subject: subject.id,
                start,
                end: start.saturating_add(key.size),
            }));
        }
        keys
    }
}

impl Subject<'_> {
    /// The memory resource that an address of the subject belongs to.
    pub(super) fn declared(&self, address: u64) -> Option<&Memory> {
        let memory = self.info.as_ref()?.memory();
        memory.map(|(_, m)| m).find(|m| m.address <= address && address - m.address < m.size)
    }
}

/// Visits all physical memory that subjects can reach, in order, cut wherever anything about it changes.
fn sweep(system: &System<'_>, holdings: &[Holding], mut visit: impl FnMut(&Stretch)) {
    let pieces: Vec<(usize, &Piece)> =
        system.subjects.iter().flat_map(|s| s.nested.pieces().iter().map(|p| (s.id, p))).collect();
    let mut edges: Vec<(u64, Edge)> = Vec::new();
    for (number, (_, piece)) in pieces.iter().enumerate() {
        edges.push((piece.phys, Edge::Begin(number)));
        edges.push((piece.phys.saturating_add(piece.size), Edge::End(number)));
    }
    edges.extend(cuts(system, holdings).map(|at| (at, Edge::Cut)));
    edges.sort_unstable();
    let mut active: Vec<Active> = Vec::new();
    active.resize_with(system.subjects.len(), Active::default);
    let mut start = 0;
    for (at, edge) in edges {
        if at > start {
            let holders: Vec<Holder> = active
                .iter()
                .enumerate()
                .filter_map(|(subject, active)| active.holder(subject, start, &pieces))
                .collect();
            if !holders.is_empty() {
                visit(&Stretch { start, size: at - start, holders });
            }
            start = at;
        }
        match edge {
            Edge::Cut => {}
            Edge::Begin(number) => change(&mut active, &pieces, number, true),
            Edge::End(number) => change(&mut active, &pieces, number, false),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    End(usize),
    Cut,
    Begin(usize),
}

/// The pieces of one subject that reach the memory under the sweep.
#[derive(Default)]
struct Active {
    pieces: BTreeSet<usize>,
    writable: usize,
    executable: usize,
}

impl Active {
    fn holder(&self, subject: usize, start: u64, pieces: &[(usize, &Piece)]) -> Option<Holder> {
        let (_, piece) = pieces.get(*self.pieces.first()?)?;
        let address = (self.pieces.len() == 1).then(|| piece.address + (start - piece.phys));
        Some(Holder { subject, write: self.writable > 0, execute: self.executable > 0, address })
    }
}

fn change(active: &mut [Active], pieces: &[(usize, &Piece)], number: usize, begins: bool) {
    let Some((subject, piece)) = pieces.get(number) else { return };
    let Some(active) = active.get_mut(*subject) else { return };
    let (write, execute) = (usize::from(piece.access.write), usize::from(piece.access.execute));
    if begins {
        active.pieces.insert(number);
        active.writable += write;
        active.executable += execute;
    } else {
        active.pieces.remove(&number);
        active.writable -= write;
        active.executable -= execute;
    }
}

/// Where memory changes its meaning without a change in any table.
fn cuts(system: &System<'_>, holdings: &[Holding]) -> impl Iterator<Item = u64> {
    let image = [system.image.start(), system.image.end()];
    let kernel = holdings.iter().flat_map(|h| [h.start, h.end()]);
    let declared = system.subjects.iter().flat_map(|subject| {
        let memory = subject.info.iter().flat_map(|i| i.memory());
        memory.flat_map(|(_, m)| {
            let last = m.end().saturating_sub(1);
            let end = subject.nested.translate(last).map(|phys| phys + 1);
            [subject.nested.translate(m.address), end].into_iter().flatten()
        })
    });
    image.into_iter().chain(kernel).chain(declared)
}

/// The name of the subject that reports the crash record.
const LOG: &str = "log";
/// The name of the memory resource with a private key.
const KEY: &str = "key";
/// Findings that one piece of memory can give: a piece over all of the image would give thousands.
const MOST_FORBIDDEN: usize = 16;
