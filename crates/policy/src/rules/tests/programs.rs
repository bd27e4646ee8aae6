use palisade_abi::layout::{LOWEST, PROGRAM, PROGRAM_END};

use crate::testing::{Elf, TestLibrary, abi_note, assert_breaks, assert_passes, hello_with, plan, plan_with};
use crate::{Options, Planned, Problems};

fn plan_program(elf: Elf) -> Result<Planned, Problems> {
    plan_with(&hello_with(""), &Options::default(), &TestLibrary::new().with("hello", elf))
}

fn changed(change: impl FnOnce(&mut Elf)) -> Result<Planned, Problems> {
    let mut elf = Elf::unikernel();
    change(&mut elf);
    plan_program(elf)
}

#[test]
fn a_unikernel_for_muen_passes_whatever_empty_segments_it_has() {
    let planned = assert_passes(plan_program(Elf::unikernel()));
    assert_eq!(planned.plan.subjects[3].abi_version, 4);
    assert!(!planned.plan.subjects[3].native);
}

#[test]
fn a_file_for_another_machine_or_of_another_kind_is_refused() {
    assert_breaks(changed(|elf| elf.machine = 183), "program-elf", 2, "x86-64");
    assert_breaks(changed(|elf| elf.kind = 3), "program-elf", 2, "statically linked");
    assert_breaks(changed(|elf| elf.segments[1].size = 1), "program-elf", 2, "damaged");
}

#[test]
fn whole_notes_pass_and_damaged_ones_are_refused() {
    assert_passes(plan_program(Elf::native()));
    let cut_off = |elf: &mut Elf| {
        elf.notes[0].pop();
    };
    assert_breaks(changed(cut_off), "program-notes", 2, "build the unikernel again");
}

#[test]
fn only_the_target_muen_runs() {
    assert_passes(changed(|elf| elf.notes = vec![abi_note(4, 2)]));
    for (number, name) in [(1, "hvt"), (2, "spt"), (3, "virtio"), (6, "xen")] {
        let result = changed(|elf| elf.notes = vec![abi_note(number, 1)]);
        assert!(result.as_ref().unwrap_err().iter().any(|problem| problem.message().contains(name)));
        assert_breaks(result, "program-target", 2, "muen");
    }
    assert_breaks(changed(|elf| elf.notes.clear()), "program-target", 2, "muen");
}

#[test]
fn abi_versions_2_to_4_are_known() {
    use crate::plan::InfoVersion;
    let versions = |version: u32, magic: u64| {
        let planned = assert_passes(changed(|elf| {
            elf.notes = vec![abi_note(4, version)];
            elf.segments[1].bytes[0x101..0x109].copy_from_slice(&magic.to_le_bytes());
        }));
        planned.plan.subjects[3].info_version
    };
    assert_eq!(versions(2, 0), InfoVersion::V03);
    assert_eq!(versions(3, 0x0300_6f66_6e69_756d), InfoVersion::V03);
    assert_eq!(versions(3, 0x0400_6f66_6e69_756d), InfoVersion::V04);
    assert_eq!(versions(4, 0), InfoVersion::V05);
}

#[test]
fn an_unknown_abi_version_is_refused() {
    assert_breaks(
        changed(|elf| elf.notes = vec![abi_note(4, 9)]),
        "program-abi-version",
        2,
        "versions 2, 3 and 4",
    );
    assert_breaks(changed(|elf| elf.notes = vec![abi_note(4, 3)]), "program-abi-version", 2, "ABI version 4");
}

#[test]
fn segments_in_order_pass() {
    let planned = assert_passes(plan_program(Elf::unikernel()));
    let hello = &planned.plan.subjects[3];
    assert_eq!(hello.program_last, PROGRAM + 0x4fff);
}

#[test]
fn a_program_linked_to_1_mib_as_bindings_before_abi_3_did_passes() {
    let planned = assert_passes(changed(|elf| {
        elf.entry -= PROGRAM / 2;
        elf.segments[1..].iter_mut().for_each(|segment| segment.address -= PROGRAM / 2);
    }));
    assert_eq!(planned.plan.subjects[3].program_last, PROGRAM / 2 + 0x4fff);
}

#[test]
fn segments_that_lie_wrong_are_refused() {
    let low = |elf: &mut Elf| {
        elf.segments[1].address = LOWEST - 0x1000;
        elf.entry = LOWEST;
    };
    assert_breaks(changed(low), "program-layout", 2, "programs lie in 0x10000");
    let overlap = |elf: &mut Elf| elf.segments[2].address = PROGRAM + 0x1000;
    assert_breaks(changed(overlap), "program-layout", 2, "damaged");
    let outside = |elf: &mut Elf| elf.segments[3].address = PROGRAM_END - 0x1000;
    assert_breaks(changed(outside), "program-layout", 2, "programs lie in");
    assert_breaks(changed(|elf| elf.entry = PROGRAM + 0x2000), "program-layout", 2, "executable segment");
}

#[test]
fn segments_with_the_same_rights_may_share_a_page() {
    let planned = assert_passes(changed(|elf| {
        let bss =
            crate::testing::TestSegment { address: PROGRAM + 0x5010, size: 0x2000, flags: 6, bytes: vec![7] };
        elf.segments[3].size = 0x2008;
        elf.segments.push(bss);
    }));
    let regions = &planned.plan.subjects[3].regions;
    let data: Vec<_> = regions.iter().filter(|r| r.name == "data").map(|r| (r.address, r.size)).collect();
    assert_eq!(data, [(PROGRAM + 0x3000, 0x5000)]);
}

#[test]
fn memory_that_is_writable_and_executable_is_refused() {
    assert_breaks(changed(|elf| elf.segments[1].flags = 7), "program-w-xor-x", 2, "separate-code");
    let shared_page = |elf: &mut Elf| elf.segments[2].address = PROGRAM + 0x1800;
    assert_breaks(changed(shared_page), "program-w-xor-x", 2, "separate-code");
}

#[test]
fn a_stack_of_64_mebibytes_passes_and_a_larger_one_is_refused() {
    assert_passes(plan_program(Elf::native_with_stack(64 << 20)));
    assert_breaks(
        plan_program(Elf::native_with_stack((64 << 20) + 0x1000)),
        "program-stack",
        2,
        "64 MiB or less",
    );
}

#[test]
fn a_command_line_of_8191_bytes_passes() {
    assert_passes(plan(&hello_with(&format!("bootparams = \"{}\"", "x".repeat(8191)))));
}

#[test]
fn a_command_line_that_is_too_long_or_has_a_nul_is_refused() {
    let long = format!("bootparams = \"{}\"", "x".repeat(8192));
    assert_breaks(plan(&hello_with(&long)), "command-line", 3, "8191 bytes");
    assert_breaks(plan(&hello_with("bootparams = \"a\\u0000b\"")), "command-line", 3, "remove");
}

#[test]
fn a_network_device_with_both_channels_is_connected() {
    assert_passes(plan_with(
        "[subject.a]\nunikernel = \"net\"\n[subject.b]\nunikernel = \"net\"\n\
         [[channel]]\nname = \"ab\"\nwriter = \"a:service|out\"\nreader = \"b:service|in\"\n\
         [[channel]]\nname = \"ba\"\nwriter = \"b:service|out\"\nreader = \"a:service|in\"\n",
        &Options::default(),
        &TestLibrary::new().with("net", Elf::with_devices(&[("service", 2)])),
    ));
}

#[test]
fn a_device_that_is_not_connected_is_refused_with_what_it_needs() {
    let network = TestLibrary::new().with("net", Elf::with_devices(&[("service", 2)]));
    let alone = "[subject.a]\nunikernel = \"net\"\n";
    let plan = |text: &str| plan_with(text, &Options::default(), &network);
    assert_breaks(
        plan(&format!("machine = \"bochs\"\n{alone}")),
        "devices-connected",
        3,
        "reader = \"a:service|in\"",
    );
    let half = "[subject.hello]\nunikernel = \"hello\"\n\
                [[channel]]\nname = \"c\"\nwriter = \"hello:x\"\nreader = \"a:service|in\"\n";
    assert_breaks(plan(&format!("{alone}{half}")), "devices-connected", 2, "writer = \"a:service|out\"");
    let block = Elf::with_devices(&[("disk", 1)]);
    assert_breaks(plan_program(block), "devices-connected", 2, "cannot connect block devices");
}

#[test]
fn pauses_between_1_ms_and_1_hour_pass() {
    assert_passes(plan(&hello_with("restart = \"always\"\nbackoff = \"1 ms\"\nbackoff_max = \"3600 s\"")));
}

#[test]
fn pauses_out_of_range_or_order_are_refused() {
    let paused = |lines: &str| plan(&hello_with(&format!("restart = \"always\"\n{lines}")));
    assert_breaks(paused("backoff = \"10 us\""), "restart-pause", 4, "1 ms to 3600 s");
    assert_breaks(paused("backoff_max = \"2 ms\""), "restart-pause", 4, "100 ms or more");
}

#[test]
fn a_pause_without_restarts_is_pointed_out() {
    let planned = assert_passes(plan(&hello_with("backoff = \"1 s\"")));
    assert_eq!(
        planned.warnings.iter().map(|w| (w.rule().id, w.is_warning())).collect::<Vec<_>>(),
        [("no-effect", true)]
    );
    assert!(assert_passes(plan(&hello_with("backoff = \"1 s\"\nrestart = \"always\""))).warnings.is_empty());
}
