//! Reading programs.

use crate::elf::{File, InitStub, Inspection, Program};
use crate::testing::{Elf, TestSegment, abi_note};

#[test]
fn an_inspection_tells_target_version_segments_devices_and_memory() {
    let inspection = Inspection::of(&Elf::with_devices(&[("service", 2), ("disk", 1)]).bytes()).unwrap();
    assert_eq!((inspection.target.as_deref(), inspection.abi_version), (Some("muen"), Some(4)));
    assert_eq!((inspection.subject_info, inspection.native, inspection.stack_size), (Some(5), false, None));
    assert_eq!((inspection.segments.len(), inspection.memory), (3, 0x5000));
    assert_eq!(inspection.segments.iter().map(|s| s.rights).collect::<Vec<_>>(), ["r-x", "r--", "rw-"]);
    let devices: Vec<_> =
        inspection.devices.iter().map(|device| (device.name.as_str(), device.kind)).collect();
    assert_eq!(devices, [("service", "network"), ("disk", "block")]);
    assert!(inspection.obstacles.is_empty());
}

#[test]
fn an_inspection_of_a_program_for_another_target_says_why_it_does_not_run() {
    let mut elf = Elf::unikernel();
    elf.notes = vec![abi_note(1, 2)];
    let inspection = Inspection::of(&elf.bytes()).unwrap();
    assert_eq!((inspection.target.as_deref(), inspection.subject_info), (Some("hvt"), None));
    assert!(inspection.obstacles[0].contains("hvt"));
}

#[test]
fn a_file_that_is_no_elf_file_is_refused() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF"] {
        assert_eq!(File::parse(bytes).unwrap_err().rule.id, "program-elf");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = Elf::with_devices(&[("service", 2)]).bytes();
    assert!(File::parse(&bytes).is_ok());
    for length in 0..bytes.len() {
        let flaw = File::parse(&bytes[..length]).expect_err("something is missing");
        assert!(!flaw.help.is_empty());
    }
}

#[test]
fn a_segment_of_impossible_size_is_refused() {
    let mut elf = Elf::unikernel();
    elf.segments[3].size = u64::MAX - elf.segments[3].address;
    let file = File::parse(&elf.bytes()).unwrap();
    assert!(Program::new(&file).is_err());
    assert!(Inspection::of(&elf.bytes()).is_ok());
    elf.segments[3].size = u64::MAX;
    assert!(File::parse(&elf.bytes()).is_err());
}

#[test]
fn an_init_stub_lies_in_its_page() {
    let stub = InitStub::new(&File::parse(&Elf::init().bytes()).unwrap()).unwrap();
    assert_eq!((stub.entry, stub.code.len(), stub.code[0]), (0xe_0003_0000, 0x1000, 0x90));
    let changes: [fn(&mut TestSegment); 3] = [|s| s.flags = 6, |s| s.address += 0x1000, |s| s.size = 0x2000];
    for change in changes {
        let mut elf = Elf::init();
        change(&mut elf.segments[0]);
        assert!(InitStub::new(&File::parse(&elf.bytes()).unwrap()).is_err());
    }
}
