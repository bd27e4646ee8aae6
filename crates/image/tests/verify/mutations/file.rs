//! Damage to the file, the kernel's bytes, and the plan as a whole.

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{Frame, MemoryRange, Partition, SourceEvent, Table};

use super::{Mutation, breaks};
use crate::damage::{Damage, SEGMENT};
use crate::system::{HELLO, STOPPED, TIME};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks("image-is-elf", &[], "the file is no ELF file", |d| d.file[0] = 0),
    breaks("image-is-elf", &[], "the file is for another processor", |d| d.file[18] = 40),
    breaks("image-is-elf", &[], "the file is cut off in its header", |d| d.file.truncate(100)),
    breaks(
        "image-is-elf",
        &["kernel-bytes-known", "kernel-segments"],
        "the entry point is in the plan",
        |d| {
            let plan = d.plan_address();
            d.file[24..32].copy_from_slice(&plan.to_le_bytes());
        },
    ),
    breaks("image-is-elf", &[], "the file has sections", |d| d.file[60] = 1),
    breaks("image-is-elf", &["no-hidden-bytes"], "the program header is elsewhere", |d| {
        d.file.copy_within(64..120, 0x800);
        d.file[32..34].copy_from_slice(&0x800_u16.to_le_bytes());
        d.file[0x900] = 1;
    }),
    breaks("kernel-bytes-known", &["kernel-segments"], "the kernel is entered in its data", |d| {
        d.file[24..32].copy_from_slice(&0x10_3000_u64.to_le_bytes());
    }),
    breaks("one-load-segment", &[], "there is a second program header", |d| d.file[56] = 2),
    breaks("one-load-segment", &[], "the segment is loaded elsewhere", |d| d.file[PADDR + 2] += 1),
    breaks("one-load-segment", &[], "the segment wants memory behind its content", |d| {
        add_page(d, MEMSZ);
    }),
    breaks("one-load-segment", &[], "bytes follow the segment", |d| d.file.extend([0; PAGE as usize])),
    breaks("no-hidden-bytes", &[], "there is content between header and segment", |d| d.file[0x800] = 1),
    breaks("no-hidden-bytes", &[], "there is content behind the plan", |d| {
        let (plan, size) = (d.plan_address(), d.read_header().total_size);
        assert!(!size.is_multiple_of(PAGE));
        d.at(plan + size)[0] = 1;
    }),
    breaks("no-hidden-bytes", &[], "a page that belongs to nothing has content", |d| {
        d.file.extend([1; PAGE as usize]);
        add_page(d, MEMSZ);
        add_page(d, FILESZ);
        d.header(|h| h.image_end += PAGE);
        d.record(Table::Ram, 0, |r: &mut MemoryRange| r.size += PAGE);
    }),
    breaks("multiboot-headers", &["kernel-bytes-known"], "the Multiboot 1 magic is gone", |d| {
        d.file[SEGMENT] = 0
    }),
    breaks("multiboot-headers", &["kernel-bytes-known"], "Multiboot 1 loads only a part", |d| {
        d.file[SEGMENT + 22] = 0x11;
    }),
    breaks("multiboot-headers", &["kernel-bytes-known"], "Multiboot 1 enters the plan", |d| {
        d.file[SEGMENT + 30] = 0x11;
    }),
    breaks("multiboot-headers", &["kernel-bytes-known"], "the Multiboot 2 checksum is wrong", |d| {
        d.file[SEGMENT + 32 + 12] ^= 1;
    }),
    breaks("kernel-bytes-known", &[], "a byte of the kernel's text is changed", |d| {
        d.at(0x10_0090)[0] = 0x90
    }),
    breaks("kernel-bytes-known", &[], "a byte of the kernel's data is changed", |d| d.at(0x10_3000)[0] ^= 1),
    breaks("plan-valid", &[], "the plan is gone", |d| {
        let plan = d.plan_address();
        d.at(plan)[0] = 0;
    }),
    breaks("plan-valid", &[], "the plan's checksum is wrong", |d| {
        let plan = d.plan_address();
        d.at(plan)[24] ^= 1;
    }),
    breaks("plan-valid", &[], "the plan has another version", |d| d.header(|h| h.version = 1)),
    breaks("plan-valid", &[], "the plan is cut off", |d| d.header(|h| h.total_size -= 64)),
    breaks("plan-valid", &[], "a table lies behind the plan", |d| {
        d.header(|h| h.tables[8].offset = 0x10_0000)
    }),
    breaks("plan-valid", &[], "the schedule has a gap at its end", |d| {
        d.record(Table::Frames, 1, |f: &mut Frame| f.end_us = 9000);
    }),
    breaks("plan-valid", &[], "frames are out of order", |d| {
        d.record(Table::Frames, 0, |f: &mut Frame| f.end_us = 10_000);
    }),
    breaks("plan-valid", &[], "a subject is in two groups", |d| {
        d.record(Table::Members, 1, |m: &mut u16| *m = 0);
    }),
    breaks("plan-valid", &[], "a subject is in a group that does not exist", |d| {
        d.subject(HELLO, |s| s.group = 9)
    }),
    breaks("plan-valid", &[], "a partition runs on a CPU that does not exist", |d| {
        d.record(Table::Partitions, 0, |p: &mut Partition| p.cpu = 1);
    }),
    breaks("plan-valid", &[], "an event leads to an undefined one", |d| {
        d.source_event(HELLO, STOPPED, |e| e.target_event = 7);
    }),
    breaks("plan-valid", &[], "an event unmasks an interrupt that does not exist", |d| {
        d.source_event(HELLO, STOPPED, |e: &mut SourceEvent| e.action = 7);
    }),
    breaks("plan-valid", &[], "the image is cleared at boot", |d| {
        d.record(Table::Clear, 0, |r: &mut MemoryRange| r.start = 0x10_1000);
    }),
    breaks("plan-valid", &[], "the crash record is cleared at boot", |d| {
        let record = d.read_header().crash_record;
        d.record(Table::Clear, 0, |r: &mut MemoryRange| r.start = record);
    }),
    breaks("plan-matches-image", &[], "the plan gives another end of the image", |d| {
        d.header(|h| h.image_end -= PAGE);
    }),
    breaks("plan-matches-image", &[], "the plan gives another end of the kernel", |d| {
        d.header(|h| h.kernel_end -= PAGE);
    }),
    breaks("plan-matches-image", &[], "a reserved field has a value", |d| {
        d.record(Table::Frames, 0, |f: &mut Frame| f.reserved = 1);
    }),
    breaks("plan-valid", &[], "the action after a fatal error is unknown", |d| d.header(|h| h.on_fatal = 3)),
    breaks("plan-matches-image", &[], "a subject has an unknown flag", |d| {
        d.subject(HELLO, |s| s.flags |= 4)
    }),
    breaks("names-unique", &["subject-info-true"], "two subjects have one name", |d| {
        let name = d.read_subject(TIME).name;
        d.subject(HELLO, |s| s.name = name);
    }),
    breaks("names-unique", &["subject-info-true"], "a subject has no name", |d| {
        d.subject(HELLO, |s| s.name = [0; 32])
    }),
    breaks("plan-matches-image", &[], "the system has no name", |d| d.header(|h| h.name = [0; 32])),
];

/// Makes a size in the program header larger by a page.
fn add_page(d: &mut Damage, field: usize) {
    let bytes: [u8; 8] = d.file[field..field + 8].try_into().expect("eight bytes");
    d.file[field..field + 8].copy_from_slice(&(u64::from_le_bytes(bytes) + PAGE).to_le_bytes());
}

/// Fields of the program header.
const PADDR: usize = 64 + 24;
const FILESZ: usize = 64 + 32;
const MEMSZ: usize = 64 + 40;
