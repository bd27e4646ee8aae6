//! Damage to what a subject is told, and to how it starts.

use palisade_abi::layout::{BOOT_INFO, CHANNELS, INIT_TABLE, PAGE, STATUS, TIMED_EVENT};
use palisade_abi::plan::{CodeRange, Partition, Table};

use super::{Mutation, breaks};
use crate::damage::{Damage, Rights};
use crate::system::{CONSTANTS, DATA, HELLO, LOG, RAM, RAM_SIZE, SUPERVISOR, TEXT, TIME};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks("sharing-declared", &[], "the reader declares a channel as something else", |d| {
        d.resource(LOG, "debuglog_hello")[0] = 0;
    }),
    breaks("sharing-declared", &[], "the reader declares half of a channel", |d| {
        d.resource(LOG, "debuglog_hello")[18] /= 2;
    }),
    breaks("sharing-declared", &["memory-restored"], "the writer declares a channel as plain memory", |d| {
        d.resource(HELLO, "debuglog")[0] = 0;
    }),
    breaks("kernel-unreachable", &["subject-info-true"], "the report is not declared", |d| {
        d.resource(SUPERVISOR, "report")[8..24].copy_from_slice(&address_and_size(TEXT, PAGE));
    }),
    breaks(
        "subject-info-true",
        &["sharing-declared"],
        "a channel is declared writable for its reader",
        |d| {
            d.resource(LOG, "debuglog_hello")[2] = 1;
        },
    ),
    breaks("subject-info-true", &[], "text is declared writable", |d| d.resource(HELLO, "text")[2] = 3),
    breaks("subject-info-true", &[], "a declared page is not mapped", |d| {
        d.resource(HELLO, "timed_event")[8..16].copy_from_slice(&FREE.to_le_bytes());
    }),
    breaks("subject-info-true", &["sharing-declared"], "a channel is declared larger than it is", |d| {
        d.resource(HELLO, "debuglog")[18] += 1;
    }),
    breaks("subject-info-true", &[], "a declared region is empty", |d| {
        d.resource(HELLO, "timed_event")[17] = 0
    }),
    breaks(
        "subject-info-true",
        &["memory-restored", "sharing-declared"],
        "a declared region goes round the end of all addresses",
        |d| {
            d.resource(HELLO, "timed_event")[8..24]
                .copy_from_slice(&address_and_size(TIMED_EVENT, 0_u64.wrapping_sub(PAGE)));
        },
    ),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "a kind of memory is unknown",
        |d| d.resource(HELLO, "text")[0] = 20,
    ),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "a right is unknown",
        |d| d.resource(HELLO, "text")[2] |= 4,
    ),
    breaks("subject-info-true", &[], "a subject info has another subject's name", |d| {
        d.info(HELLO)[13] = b'H'
    }),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "a subject info has an unknown magic",
        |d| d.info(HELLO)[7] = 9,
    ),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "a subject info has too many resources",
        |d| d.info(TIME)[79] = 1,
    ),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "a subject info ends too early",
        |d| d.info(TIME)[78] -= 1,
    ),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "the resources of a subject info have a gap",
        |d| d.info(HELLO)[80] = 0,
    ),
    breaks("subject-info-true", &[], "a subject info has a device", |d| {
        let count = usize::from(d.info(TIME)[78]);
        d.info(TIME)[80 + count * 128] = 4;
        d.info(TIME)[78] += 1;
    }),
    breaks(
        "subject-info-true",
        &["events-closed", "memory-restored", "sharing-declared"],
        "a name in a subject info has no end",
        |d| d.info(HELLO)[81] = 64,
    ),
    breaks("subject-info-true", &[], "two resources have one name", |d| {
        let length = "text".len();
        d.info(HELLO)[84] = length as u8;
        d.info(HELLO)[85..85 + 7].copy_from_slice(b"text\0\0\0");
    }),
    breaks("content-hashes", &[], "a content hash is wrong", |d| d.resource(HELLO, "text")[24] ^= 1),
    breaks("content-hashes", &[], "the content behind a hash is changed", |d| {
        let text = d.phys(HELLO, TEXT);
        d.at(text)[100] ^= 1;
    }),
    breaks("content-hashes", &[], "volatile memory claims content", |d| d.resource(HELLO, "debuglog")[1] = 2),
    breaks(
        "kernel-writes-true",
        &["content-hashes", "memory-restored", "sharing-declared", "subject-info-true"],
        "the kernel writes to another subject info",
        |d| {
            let other = d.read_subject(TIME).subject_info;
            d.subject(HELLO, |s| s.subject_info = other);
        },
    ),
    breaks("kernel-writes-true", &[], "a subject sees another one's subject info", |d| {
        let info = d.read_subject(TIME).subject_info;
        d.map(HELLO, FREE, info, Rights::Read);
    }),
    breaks("kernel-writes-true", &[], "the kernel writes to another boot info", |d| {
        let other = d.read_subject(TIME).boot_info;
        d.subject(HELLO, |s| s.boot_info = other);
    }),
    breaks("kernel-writes-true", &["kernel-tables"], "the kernel reads another timed event", |d| {
        let other = d.read_subject(TIME).timed_event;
        d.subject(HELLO, |s| s.timed_event = other);
    }),
    breaks("kernel-writes-true", &["kernel-tables"], "the kernel reads a timed event from RAM", |d| {
        let ram = d.phys(HELLO, RAM);
        d.subject(HELLO, |s| s.timed_event = ram);
    }),
    breaks("kernel-writes-true", &["kernel-tables"], "the kernel does not know the timed event", |d| {
        d.subject(HELLO, |s| s.timed_event = 0);
    }),
    breaks(
        "kernel-writes-true",
        &["init-table-true", "memory-has-source", "subject-info-true"],
        "a subject cannot write its timed event",
        |d| {
            d.protect(HELLO, TIMED_EVENT, Rights::Read);
        },
    ),
    breaks(
        "kernel-writes-true",
        &["kernel-tables", "kernel-unreachable", "memory-has-source"],
        "scheduling info is published elsewhere",
        |d| {
            let status = d.phys(TIME, STATUS);
            d.record(Table::Partitions, 0, |p: &mut Partition| p.scheduling_info = status);
        },
    ),
    breaks("boot-info-true", &[], "the memory size goes beyond the RAM", |d| {
        boot_info(d)[..8].copy_from_slice(&(RAM + RAM_SIZE + PAGE).to_le_bytes());
    }),
    breaks("boot-info-true", &[], "the memory size is no multiple of a page", |d| boot_info(d)[0] = 1),
    breaks("boot-info-true", &[], "the command line lies outside the boot info", |d| {
        boot_info(d)[24..32].copy_from_slice(&CHANNELS.to_le_bytes());
    }),
    breaks("boot-info-true", &[], "the command line has no end", |d| boot_info(d)[64..3 * 4096].fill(b'x')),
    breaks("entry-executable", &["memory-restored"], "a subject starts in its data", |d| {
        d.subject(HELLO, |s| s.rip = DATA);
    }),
    breaks("entry-executable", &[], "a subject's stack pointer is in its text", |d| {
        d.subject(HELLO, |s| s.rsp = TEXT + 0x100);
    }),
    breaks("entry-executable", &[], "a subject's stack pointer is not aligned", |d| {
        d.subject(HELLO, |s| s.rsp -= 1);
    }),
    breaks("memory-restored", &[], "a subject that can be reset has no init table", |d| {
        d.subject(HELLO, |s| s.rip = TEXT)
    }),
    breaks("memory-restored", &[], "the init table forgets a page of RAM", |d| {
        operation(d, 2)[16..24].copy_from_slice(&(RAM_SIZE - PAGE).to_le_bytes())
    }),
    breaks("memory-restored", &["init-table-true"], "the init table is cut off", |d| {
        init_table(d)[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    }),
    breaks("init-table-true", &[], "the init table ends in data", |d| {
        init_table(d)[..8].copy_from_slice(&DATA.to_le_bytes());
    }),
    breaks("init-table-true", &["memory-restored"], "the init table writes to text", |d| {
        operation(d, 3)[..8].copy_from_slice(&TEXT.to_le_bytes());
    }),
    breaks("init-table-true", &[], "the init table writes behind the RAM", |d| {
        operation(d, 2)[16..24].copy_from_slice(&(RAM_SIZE + PAGE).to_le_bytes())
    }),
    breaks("init-table-true", &[], "the init table writes beyond all addresses", |d| {
        operation(d, 3)[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    }),
    breaks("init-table-true", &[], "the init table copies what the subject can change", |d| {
        operation(d, 0)[8..16].copy_from_slice(&RAM.to_le_bytes());
    }),
    breaks("code-is-text", &["kernel-tables"], "a code range is not text", |d| {
        code_range(d, |c| (c.virt, c.size) = (CONSTANTS, PAGE));
    }),
    breaks("code-is-text", &["kernel-tables"], "a code range lies elsewhere in memory", |d| {
        code_range(d, |c| c.phys += PAGE);
    }),
    breaks("code-is-text", &["kernel-tables"], "a code range is too long", |d| {
        code_range(d, |c| c.size += PAGE)
    }),
];

fn boot_info(d: &mut Damage) -> &mut [u8] {
    let phys = d.phys(HELLO, BOOT_INFO);
    d.at(phys)
}

/// The init table. All subjects have the same one, since they are equally large.
fn init_table(d: &mut Damage) -> &mut [u8] {
    let phys = d.phys(HELLO, INIT_TABLE);
    d.at(phys)
}

fn operation(d: &mut Damage, number: usize) -> &mut [u8] {
    &mut init_table(d)[16 + number * 32..]
}

/// Changes the first code range of a subject: its text.
fn code_range(d: &mut Damage, change: impl FnOnce(&mut CodeRange)) {
    let first = d.read_subject(HELLO).first_code;
    d.record(Table::Code, usize::from(first), change);
}

fn address_and_size(address: u64, size: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// Nothing is mapped here, but there are tables for it.
const FREE: u64 = 0xe_0007_0000;
