//! Damage to subjects' own and nested tables.

use palisade_abi::layout::{
    CHANNELS, CRASH_RECORD, GUEST_TABLES, INIT_TABLE, LARGE_PAGE, PAGE, REPORT, SCHEDULING_INFO, STATUS,
};

use super::{Mutation, breaks};
use crate::damage::{ACCESSED, DIRTY, EPT_EXECUTE, LARGE, NO_EXECUTE, PRESENT, Rights, Tree, USER, WRITE};
use crate::system::{CONSTANTS, DATA, HELLO, LOG, RAM, SUPERVISOR, TEXT, TIME};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks(
        "tables-inside-image",
        &["nested-tables-equal", "no-hidden-bytes"],
        "an Intel table lies in a subject's RAM",
        |d| {
            let ram = d.phys(HELLO, RAM);
            d.entry(Tree::Ept(HELLO), FREE, 2, |e| (e & 0xfff) | ram);
        },
    ),
    breaks(
        "tables-inside-image",
        &["nested-tables-equal", "no-hidden-bytes"],
        "an Intel table lies in the kernel",
        |d| {
            d.entry(Tree::Ept(HELLO), FREE, 2, |e| (e & 0xfff) | 0x10_3000);
        },
    ),
    breaks("tables-are-trees", &[], "a table is used at two addresses", |d| {
        let mut used = 0;
        d.entry(Tree::Ept(HELLO), FREE, 3, |e| {
            used = e;
            e
        });
        d.entry(Tree::Ept(HELLO), FREE + (8 << 30), 3, |_| used);
    }),
    breaks("tables-are-trees", &[], "a table refers to itself", |d| {
        let root = d.read_subject(HELLO).npt_root;
        d.entry(Tree::Npt(HELLO), 1 << 40, 4, |_| root | PRESENT | WRITE | USER | ACCESSED);
    }),
    breaks(
        "tables-are-trees",
        &["nested-tables-equal", "no-hidden-bytes"],
        "two subjects share a nested table",
        |d| {
            let mut other = 0;
            d.entry(Tree::Ept(TIME), FREE, 2, |e| {
                other = e;
                e
            });
            d.entry(Tree::Ept(HELLO), FREE, 2, |_| other);
        },
    ),
    breaks("table-bits", &[], "a nested page is the supervisor's", |d| {
        d.entry(Tree::Npt(HELLO), STATUS, 1, |e| e & !USER);
    }),
    breaks("table-bits", &[], "a nested table is the supervisor's", |d| {
        d.entry(Tree::Npt(HELLO), STATUS, 3, |e| e & !USER);
    }),
    breaks("table-bits", &[], "a nested entry has a reserved bit", |d| {
        d.entry(Tree::Npt(HELLO), STATUS, 1, |e| e | 1 << 52);
    }),
    breaks("table-bits", &[], "a nested entry is global", |d| {
        d.entry(Tree::Npt(HELLO), STATUS, 1, |e| e | 1 << 8)
    }),
    breaks("table-bits", &[], "a nested page is not accessed yet", |d| {
        d.entry(Tree::Npt(HELLO), STATUS, 1, |e| e & !ACCESSED);
    }),
    breaks("table-bits", &[], "a page of a subject's own tables is not dirty yet", |d| {
        d.entry(Tree::Guest(HELLO), STATUS, 1, |e| e & !DIRTY);
    }),
    breaks("table-bits", &[], "a page of a subject's own tables is the user's", |d| {
        d.entry(Tree::Guest(HELLO), STATUS, 1, |e| e | USER);
    }),
    breaks("table-bits", &[], "a page of a subject's own tables is written through", |d| {
        d.entry(Tree::Guest(HELLO), STATUS, 1, |e| e | 1 << 3);
    }),
    breaks("table-bits", &[], "an Intel entry has another memory type", |d| {
        d.entry(Tree::Ept(HELLO), STATUS, 1, |e| e & !(7 << 3) | 1 << 3);
    }),
    breaks("table-bits", &[], "an Intel entry can be executed in user mode", |d| {
        d.entry(Tree::Ept(HELLO), STATUS, 1, |e| e | 1 << 10);
    }),
    breaks("table-bits", &[], "an Intel page can be written but not read", |d| {
        d.entry(Tree::Ept(HELLO), STATUS, 1, |e| e & !1);
    }),
    breaks("table-bits", &[], "an absent entry has content", |d| {
        d.entry(Tree::Npt(HELLO), FREE, 1, |_| 0x5000)
    }),
    breaks("table-bits", &[], "an entry is for a page of 1 GiB", |d| {
        d.entry(Tree::Npt(HELLO), 1 << 30, 3, |_| PRESENT | USER | ACCESSED | LARGE);
    }),
    breaks("table-bits", &[], "a large entry has an attribute bit", |d| {
        d.entry(Tree::Npt(HELLO), LARGE_RAM, 2, |e| e | 1 << 9);
    }),
    breaks("nested-tables-equal", &[], "the Intel tables lead elsewhere", |d| {
        d.entry(Tree::Ept(HELLO), STATUS, 1, |e| e + PAGE);
    }),
    breaks("nested-tables-equal", &[], "the Intel tables lead into the kernel", |d| {
        d.entry(Tree::Ept(HELLO), STATUS, 1, |e| (e & 0xfff) | 0x10_3000);
    }),
    breaks("nested-tables-equal", &[], "the Intel tables give another right", |d| {
        d.entry(Tree::Ept(HELLO), CONSTANTS, 1, |e| e | 2);
    }),
    breaks("nested-tables-equal", &[], "the Intel tables lack a page", |d| {
        d.entry(Tree::Ept(HELLO), CONSTANTS, 1, |_| 0);
    }),
    breaks("nested-tables-equal", &[], "the Intel tables lead elsewhere with a large page", |d| {
        d.entry(Tree::Ept(HELLO), LARGE_RAM, 2, |e| e + LARGE_PAGE);
    }),
    breaks(
        "guest-is-identity",
        &["guest-rights-equal-nested", "memory-restored"],
        "a virtual page leads elsewhere",
        |d| {
            d.map_own(HELLO, FREE, STATUS, Rights::ReadWrite);
        },
    ),
    breaks("guest-rights-equal-nested", &[], "only the nested tables map a page", |d| {
        let ram = d.phys(HELLO, RAM);
        d.map_nested(HELLO, FREE, ram, Rights::ReadWrite);
    }),
    breaks("guest-rights-equal-nested", &[], "only a subject's own tables map a page", |d| {
        d.map_own(HELLO, FREE, FREE, Rights::Read);
    }),
    breaks("guest-is-identity", &[], "a subject has memory at address 0", |d| {
        let ram = d.phys(HELLO, LARGE_RAM);
        d.map_large(HELLO, 0, ram);
    }),
    breaks(
        "guest-rights-equal-nested",
        &["memory-restored"],
        "only a subject's own tables let it write",
        |d| {
            d.map_own(HELLO, CONSTANTS, CONSTANTS, Rights::ReadWrite);
        },
    ),
    breaks("guest-tables-hidden", &[], "a page table has a virtual address", |d| {
        let table = d.phys(HELLO, GUEST_TABLES);
        d.map(HELLO, FREE, table, Rights::Read);
    }),
    breaks("guest-tables-hidden", &[], "a page table is read-only for the processor", |d| {
        d.protect_nested(HELLO, GUEST_TABLES, Rights::Read);
    }),
    breaks(
        "guest-tables-hidden",
        &["kernel-unreachable", "write-xor-execute"],
        "a page table is executable",
        |d| {
            d.protect_nested(HELLO, GUEST_TABLES, Rights::Everything);
        },
    ),
    breaks(
        "write-xor-execute",
        &["code-is-text", "content-read-only", "init-table-true", "memory-restored", "subject-info-true"],
        "text is writable",
        |d| d.protect(HELLO, TEXT, Rights::Everything),
    ),
    breaks("write-xor-execute", &[], "a large page of RAM is executable", |d| {
        d.entry(Tree::Guest(HELLO), LARGE_RAM, 2, |e| e & !NO_EXECUTE);
        d.entry(Tree::Npt(HELLO), LARGE_RAM, 2, |e| e & !NO_EXECUTE);
        d.entry(Tree::Ept(HELLO), LARGE_RAM, 2, |e| e | EPT_EXECUTE);
    }),
    breaks("write-xor-execute", &["nested-tables-equal"], "data is executable on Intel processors", |d| {
        d.entry(Tree::Ept(HELLO), DATA, 1, |e| e | EPT_EXECUTE);
    }),
    breaks("write-xor-execute", &["subject-info-true"], "one executes what another writes", |d| {
        d.protect(LOG, CHANNELS, Rights::ReadExecute);
    }),
    breaks("one-writer", &["subject-info-true"], "the reader of a channel can write to it", |d| {
        d.protect(LOG, CHANNELS, Rights::ReadWrite);
    }),
    breaks("one-writer", &["memory-restored"], "a subject can write to another one's data", |d| {
        let data = d.phys(TIME, DATA);
        d.map(HELLO, FREE, data, Rights::ReadWrite);
    }),
    breaks("sharing-declared", &[], "a subject can read another one's data", |d| {
        let data = d.phys(TIME, DATA);
        d.map(HELLO, FREE, data, Rights::Read);
    }),
    breaks("sharing-declared", &[], "a subject can read another one's RAM through a large page", |d| {
        let ram = d.phys(TIME, LARGE_RAM);
        d.map_large(HELLO, LARGE_FREE, ram);
    }),
    breaks("sharing-declared", &[], "writer and reader see a channel at different offsets", |d| {
        let next = d.phys(LOG, CHANNELS + PAGE);
        d.map(LOG, CHANNELS, next, Rights::Read);
    }),
    breaks(
        "content-read-only",
        &["memory-restored", "sharing-declared"],
        "a subject can write to its init table",
        |d| {
            d.protect(HELLO, INIT_TABLE, Rights::ReadWrite);
        },
    ),
    breaks(
        "memory-has-source",
        &["init-table-true", "subject-info-true"],
        "nobody writes a status page",
        |d| {
            d.protect(HELLO, STATUS, Rights::Read);
        },
    ),
    breaks("kernel-unreachable", &[], "a subject can read the kernel", |d| {
        d.map(HELLO, FREE, 0x10_0000, Rights::Read)
    }),
    breaks(
        "kernel-unreachable",
        &["content-read-only", "memory-restored"],
        "a subject can write to the kernel",
        |d| {
            d.map(HELLO, FREE, 0x10_3000, Rights::ReadWrite);
        },
    ),
    breaks("kernel-unreachable", &[], "a subject can read the plan", |d| {
        let plan = d.plan_address();
        d.map(HELLO, FREE, plan, Rights::Read);
    }),
    breaks("kernel-unreachable", &["memory-has-source"], "a subject can read its saved registers", |d| {
        let state = d.read_subject(HELLO).state;
        d.map(HELLO, FREE, state, Rights::Read);
    }),
    breaks("kernel-unreachable", &[], "a subject can read its nested tables", |d| {
        let root = d.read_subject(HELLO).npt_root;
        d.map(HELLO, FREE, root, Rights::Read);
    }),
    breaks(
        "kernel-unreachable",
        &["sharing-declared"],
        "a subject can read another one's page tables",
        |d| {
            let table = d.phys(TIME, GUEST_TABLES);
            d.map(HELLO, FREE, table, Rights::Read);
        },
    ),
    breaks("kernel-unreachable", &[], "a subject can read its I/O bitmap", |d| {
        let bitmap = d.read_subject(HELLO).iopm;
        d.map(HELLO, FREE, bitmap, Rights::Read);
    }),
    breaks(
        "kernel-unreachable",
        &["memory-listed", "memory-restored"],
        "a subject can use the local APIC",
        |d| {
            d.map(HELLO, FREE, 0xfee0_0000, Rights::ReadWrite);
        },
    ),
    breaks("kernel-unreachable", &[], "a subject reads the crash record", |d| {
        let record = d.read_header().crash_record;
        d.map(HELLO, FREE, record, Rights::Read);
    }),
    breaks(
        "kernel-unreachable",
        &["memory-restored", "subject-info-true"],
        "the log can write to the crash record",
        |d| {
            d.protect(LOG, CRASH_RECORD, Rights::ReadWrite);
        },
    ),
    breaks("kernel-unreachable", &[], "a subject reads the report without declaring it", |d| {
        let report = d.read_header().report;
        d.map(HELLO, FREE, report, Rights::Read);
    }),
    breaks(
        "kernel-unreachable",
        &["memory-restored", "subject-info-true"],
        "the supervisor can write to the report",
        |d| {
            d.protect(SUPERVISOR, REPORT, Rights::ReadWrite);
        },
    ),
    breaks(
        "kernel-unreachable",
        &["kernel-writes-true", "memory-restored", "sharing-declared"],
        "a subject can write to its scheduling info",
        |d| {
            d.protect(HELLO, SCHEDULING_INFO, Rights::ReadWrite);
        },
    ),
    breaks(
        "kernel-unreachable",
        &[
            "content-read-only",
            "kernel-writes-true",
            "memory-listed",
            "one-writer",
            "sharing-declared",
            "write-xor-execute",
        ],
        "a large page covers the kernel",
        |d| {
            d.entry(Tree::Npt(HELLO), LARGE_RAM, 2, |e| e & !0x000f_ffff_ffff_f000);
            d.entry(Tree::Ept(HELLO), LARGE_RAM, 2, |e| e & !0x000f_ffff_ffff_f000);
        },
    ),
    breaks("memory-listed", &["memory-has-source"], "a subject can read memory below 1 MiB", |d| {
        d.map(HELLO, FREE, 0x5000, Rights::Read);
    }),
];

/// Nothing is mapped here, but there are tables for it.
const FREE: u64 = 0xe_0007_0000;
/// RAM that a large page maps.
const LARGE_RAM: u64 = 0x40_0000;
/// The same for a large page where nothing is mapped.
const LARGE_FREE: u64 = 0x100_0000;
