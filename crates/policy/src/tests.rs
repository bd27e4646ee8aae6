//! Whole systems, from text to plan: what each subject gets, and promises that hold for every system.

mod elf;
mod network;
mod properties;
mod wiring;

use palisade_abi::init_table;
use palisade_abi::layout::{self, INIT_TABLE, PRISTINE};

use crate::plan::{Backing, Region, Rights, Subject, SubjectKind};
use crate::testing::{Elf, TestLibrary, assert_passes, hello_with, plan, plan_with};
use crate::{Options, for_unikernel, load};

const HELLO: &str = include_str!("../../../systems/hello.toml");

fn region<'a>(subject: &'a Subject, name: &str) -> &'a Region {
    subject.regions.iter().find(|region| region.name == name).unwrap_or_else(|| panic!("no region {name}"))
}

#[test]
fn the_systems_that_come_with_palisade_are_planned() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systems");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let planned = assert_passes(load(&path, &Options::default(), &TestLibrary::new()));
        assert!(planned.warnings.is_empty(), "{:?}", planned.warnings);
    }
}

/// The operations of a subject's init table.
fn operations(subject: &Subject) -> (u64, Vec<init_table::Operation>) {
    let Backing::Content(bytes) = &region(subject, "init table").backing else {
        panic!("the table is content")
    };
    let (entry, operations) = init_table::parse(bytes).expect("a whole table, aligned by its `Arc`");
    (entry, operations.to_vec())
}

#[test]
fn the_hello_system_has_its_own_subjects_and_the_unikernel() {
    let planned = assert_passes(plan(HELLO));
    let names: Vec<&str> = planned.plan.subjects.iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["time", "log", "supervisor", "hello"]);
    let hello = &planned.plan.subjects[3];
    assert_eq!((hello.kind, hello.native), (SubjectKind::Unikernel, true));
    assert_eq!(hello.command_line, "Hi!");
    assert_eq!(hello.entry, layout::INIT_STUB);
    assert_eq!(planned.plan.name, "hello");
}

#[test]
fn ram_follows_the_program_without_a_hole() {
    let planned = assert_passes(plan(HELLO));
    let hello = &planned.plan.subjects[3];
    let (data, ram) = (region(hello, "data"), region(hello, "ram"));
    assert_eq!(data.address + data.size, ram.address);
    assert_eq!((ram.size, ram.rights), (16 << 20, Rights::ReadWrite));
    assert_eq!((hello.ram_end, hello.stack_pointer), (ram.address + ram.size, ram.address + ram.size - 8));
}

#[test]
fn large_memory_can_be_mapped_with_large_pages_wherever_it_begins() {
    let planned = assert_passes(plan(HELLO));
    let ram = region(&planned.plan.subjects[3], "ram");
    let Backing::Volatile(phys) = ram.backing else { panic!("RAM is volatile") };
    assert_eq!(phys % layout::LARGE_PAGE, ram.address % layout::LARGE_PAGE);
}

#[test]
fn the_init_stub_restores_every_byte_that_the_subject_alone_can_write() {
    let planned = assert_passes(plan(HELLO));
    for subject in &planned.plan.subjects {
        let (entry, operations) = operations(subject);
        assert_eq!(entry, layout::PROGRAM + 0x10);
        let mut restored: Vec<(u64, u64)> =
            operations.iter().map(|o| (o.destination, o.destination + o.size)).collect();
        restored.sort_unstable();
        let own = |region: &&Region| {
            region.rights == Rights::ReadWrite && !["debuglog", "time_info"].contains(&region.name.as_str())
        };
        for region in subject.regions.iter().filter(own) {
            let end =
                restored.iter().fold(region.address, |at, (start, end)| if *start == at { *end } else { at });
            assert!(end >= region.address + region.size, "{} of {}", region.name, subject.name);
        }
    }
}

#[test]
fn initialised_data_is_restored_from_a_read_only_copy() {
    let planned = assert_passes(plan(HELLO));
    let hello = &planned.plan.subjects[3];
    let pristine = region(hello, "pristine data");
    assert_eq!((pristine.address, pristine.rights), (PRISTINE, Rights::Read));
    assert!(matches!(&pristine.backing, Backing::Content(bytes) if **bytes == *b"data"));
    let copy = init_table::Operation::copy(layout::PROGRAM + 0x3000, PRISTINE, 4);
    assert!(operations(hello).1.contains(&copy));
}

#[test]
fn memory_that_the_init_stub_restores_is_not_cleared_at_boot() {
    let planned = assert_passes(plan(HELLO));
    let kept = |owner: &str| planned.plan.volatile.iter().any(|range| range.owner == owner && !range.clear);
    assert!(
        kept("hello: ram") && kept("hello: data") && kept("hello: stack") && kept("kernel: crash record")
    );
    let cleared = |owner: &str| planned.plan.volatile.iter().any(|range| range.owner == owner && range.clear);
    assert!(cleared("channel debuglog_hello") && cleared("kernel: report") && cleared("time: time page"));
}

#[test]
fn the_init_table_lies_behind_the_stub() {
    let planned = assert_passes(plan(HELLO));
    let table = region(&planned.plan.subjects[0], "init table");
    assert_eq!((table.address, table.rights), (INIT_TABLE, Rights::Read));
}

#[test]
fn the_same_description_gives_the_same_plan() {
    let plan = || format!("{:?}", assert_passes(plan(HELLO)).plan);
    assert_eq!(plan(), plan());
}

#[test]
fn the_crash_record_stays_where_it_is_when_the_system_changes() {
    let record = |text: &str| assert_passes(plan(text)).plan.crash_record;
    let other = format!("{}[subject.more]\nunikernel = \"hello\"\n", hello_with("ram = \"128 MiB\""));
    assert_eq!(record(HELLO), record(&other));
}

#[test]
fn a_unikernel_needs_no_description() {
    let path = std::env::temp_dir().join(format!("Web Server-{}.muen", std::process::id()));
    std::fs::write(&path, Elf::unikernel().bytes()).unwrap();
    let planned = for_unikernel(&path, "--name=\"x\\y\"\t", &Options::default(), &TestLibrary::new());
    std::fs::remove_file(&path).unwrap();
    let planned = assert_passes(planned);
    let subject = &planned.plan.subjects[3];
    assert_eq!(subject.name, format!("web-server-{}", std::process::id()));
    assert_eq!(subject.command_line, "--name=\"x\\y\"\t");
}

#[test]
fn the_command_line_of_the_command_overrides_the_end_of_the_system() {
    let options = Options { on_end: Some(crate::EndAction::Stay), ..Options::default() };
    let planned = assert_passes(plan_with(&hello_with(""), &options, &TestLibrary::new()));
    assert!(planned.plan.subjects[2].source_events.iter().all(|event| event.name != "end"));
}
