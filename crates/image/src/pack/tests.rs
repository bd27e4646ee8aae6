//! What an image promises, checked on a small system.

use std::sync::Arc;

use palisade_abi::layout::{
    BOOT_INFO, CHANNELS, CPU_STACK_SIZE, GUEST_TABLES, PAGE, PROGRAM, SCHEDULING_INFO, TIMED_EVENT,
};
use palisade_abi::plan::{self as abi, source_action, trap};
use palisade_abi::subject_info::{Content, SubjectInfo};
use palisade_policy::plan::{Backing, Rights};
use zerocopy::IntoBytes;

use super::*;
use crate::paging::tests::translate;
use crate::paging::{Caching, Format};
use crate::testing::{CHANNEL_SIZE, FakeKernel, MIB, RAM_SIZE, region, sample_plan, use_second_cpu};
use crate::verify::{Expected, verify};

mod devices;

/// A packed sample with its memory as it is after loading, aligned for reading in place.
struct Packed {
    plan: Plan,
    image: Image,
    memory: Vec<u64>,
}

impl Packed {
    fn new(plan: Plan) -> Self {
        let image = pack(&plan, &FakeKernel::default().file()).unwrap();
        let memory = image.bytes[elf::FILE_OFFSET..]
            .chunks(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
            .collect();
        Self { plan, image, memory }
    }

    fn at(&self, address: u64) -> &[u8] {
        &self.memory.as_bytes()[(address - IMAGE_BASE) as usize..]
    }

    fn parsed(&self) -> abi::Plan<'_> {
        abi::Plan::parse(self.at(0x10_5000)).unwrap()
    }

    fn nested(&self, format: Format, id: usize, address: u64) -> Option<crate::paging::tests::Found> {
        let subject = self.parsed().subjects[id];
        let root = if format == Format::AmdNested { subject.npt_root } else { subject.ept_root };
        translate(format, self.at(root), root, address)
    }

    fn guest(&self, id: usize, address: u64) -> Option<crate::paging::tests::Found> {
        let tables = self.nested(Format::AmdNested, id, GUEST_TABLES).unwrap().to;
        translate(Format::Native, self.at(tables), GUEST_TABLES, address)
    }
}

fn sample() -> Packed {
    Packed::new(sample_plan())
}

fn refusal(change: impl FnOnce(&mut Plan)) -> PackError {
    let mut plan = sample_plan();
    change(&mut plan);
    pack(&plan, &FakeKernel::default().file()).unwrap_err()
}

#[test]
fn the_packed_plan_says_what_the_allocated_one_says() {
    let packed = sample();
    let (plan, parsed) = (&packed.plan, packed.parsed());
    assert_eq!(parsed.name(), "sample");
    assert_eq!((parsed.header.image_start, parsed.header.image_end), (IMAGE_BASE, packed.image.end));
    assert_eq!(parsed.header.kernel_end, 0x10_5000);
    assert_eq!((parsed.header.report, parsed.header.crash_record), (plan.report, plan.crash_record));
    assert_eq!((parsed.header.debug_port, parsed.header.pm_timer_port), (0xe9, 0x608));
    assert_eq!(parsed.cpus[0].stack_top, plan.cpus[0].stack + CPU_STACK_SIZE);
    assert_eq!(parsed.frames.iter().map(|f| f.end_us).collect::<Vec<_>>(), [5000, 10_000]);
    assert_eq!(parsed.groups.len(), 2);
    assert_eq!(parsed.members, [0, 1]);
    assert_eq!(parsed.power_off[0].port, 0x604);
    assert_eq!(parsed.reset[0].value, 6);
    assert_eq!(parsed.subject_name(1), "hello");
    let (log, hello) = (&parsed.subjects[0], &parsed.subjects[1]);
    assert_eq!(log.flags, abi::subject_flags::KERNEL_EXCEPTIONS | abi::subject_flags::AUTOSTART);
    assert_eq!(hello.flags, abi::subject_flags::AUTOSTART);
    assert_eq!((hello.rip, hello.rsp, hello.rdi), (PROGRAM, PROGRAM + 0x2000 + RAM_SIZE - 8, BOOT_INFO));
    assert_eq!(hello.timed_event, plan.subjects[1].regions[5].backing.volatile());
    assert_eq!(hello.guest_root, GUEST_TABLES);
}

#[test]
fn the_independent_verifier_finds_nothing_wrong() {
    let kernel = FakeKernel::default().file();
    let image = pack(&sample_plan(), &kernel).unwrap();
    let verdict = verify(&image.bytes, &Expected { kernel: Some(&kernel) });
    assert!(verdict.is_good(), "{:#?}", verdict.findings);
    assert_eq!(verdict.facts.kernel_sha256, Some(image.kernel_sha256));
}

#[test]
fn events_and_traps_have_their_numbers() {
    let packed = sample();
    let parsed = packed.parsed();
    let exit = parsed.source_events[1][1];
    assert_eq!((exit.action, exit.target, exit.target_event, exit.flags), (source_action::NONE, 0, 2, 0));
    assert!(
        parsed.source_events[1]
            .iter()
            .enumerate()
            .all(|(n, e)| n == 1 || e.action == source_action::UNDEFINED)
    );
    assert_eq!(parsed.target_events[0][2].action, abi::target_action::NONE);
    let traps = &parsed.subjects[1].trap_events;
    let no_faults = [trap::HALT, trap::PAUSE].map(usize::from);
    assert!(traps.iter().enumerate().all(|(n, e)| *e == if no_faults.contains(&n) { 0xff } else { 1 }));
    assert!(parsed.subjects[0].trap_events.iter().all(|e| *e == 0xff));
}

#[test]
fn an_event_to_another_cpu_interrupts_that_cpu() {
    let mut plan = sample_plan();
    use_second_cpu(&mut plan);
    let packed = Packed::new(plan);
    assert_eq!(packed.parsed().source_events[1][1].flags, abi::source_flags::IPI);
}

#[test]
fn a_cpus_kernel_reaches_the_state_of_its_own_subjects_only() {
    let mut plan = sample_plan();
    use_second_cpu(&mut plan);
    let packed = Packed::new(plan);
    let state = packed.plan.subjects[1].state;
    let reaches = |cpu: usize| {
        let root = packed.parsed().cpus[cpu].kernel_root;
        translate(Format::Native, packed.at(root), root, state).is_some()
    };
    assert!(!reaches(0) && reaches(1));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let (first, second) = (sample().image, sample().image);
    assert!(first == second);
}

#[test]
fn memory_is_counted_once_and_cleared_only_where_the_plan_says() {
    let packed = sample();
    let parsed = packed.parsed();
    let inside = |ranges: &[abi::MemoryRange], address: u64| {
        ranges.iter().filter(|r| (r.start..r.start + r.size).contains(&address)).count()
    };
    for range in &packed.plan.volatile {
        for address in (range.start..range.start + range.size).step_by(PAGE as usize) {
            assert_eq!(inside(parsed.ram, address), 1);
            assert_eq!(inside(parsed.clear, address), usize::from(range.clear));
        }
    }
    assert_eq!(inside(parsed.ram, IMAGE_BASE), 1);
    assert_eq!(inside(parsed.ram, packed.image.end), 0);
}

#[test]
fn both_nested_tables_give_each_page_its_place_and_rights() {
    let packed = sample();
    for (id, subject) in packed.plan.subjects.iter().enumerate() {
        for format in [Format::AmdNested, Format::IntelExtended] {
            for region in &subject.regions {
                for offset in (0..region.size).step_by(PAGE as usize) {
                    let found = packed.nested(format, id, region.address + offset).unwrap();
                    assert_eq!((found.rights, found.caching), (region.rights, Caching::WriteBack));
                    if let Backing::Volatile(address) = region.backing {
                        assert_eq!(found.to, address + offset);
                    }
                }
                assert_eq!(
                    packed.nested(format, id, region.address - PAGE).is_some(),
                    has(subject, region.address - PAGE)
                );
            }
            assert!(packed.nested(format, id, PROGRAM + 2 * MIB).unwrap().large, "RAM uses large pages");
        }
    }
}

fn has(subject: &palisade_policy::plan::Subject, address: u64) -> bool {
    subject.regions.iter().any(|r| (r.address..r.address + r.size).contains(&address))
}

#[test]
fn a_subjects_own_tables_map_its_regions_one_to_one_and_not_themselves() {
    let packed = sample();
    for (id, subject) in packed.plan.subjects.iter().enumerate() {
        for region in &subject.regions {
            for offset in (0..region.size).step_by(PAGE as usize) {
                let found = packed.guest(id, region.address + offset).unwrap();
                assert_eq!((found.to, found.rights), (region.address + offset, region.rights));
            }
        }
        assert_eq!(packed.guest(id, GUEST_TABLES), None);
        for format in [Format::AmdNested, Format::IntelExtended] {
            assert_eq!(packed.nested(format, id, GUEST_TABLES).unwrap().rights, Rights::ReadWrite);
        }
    }
    let own = |id| packed.nested(Format::AmdNested, id, GUEST_TABLES).unwrap().to;
    assert_ne!(own(0), own(1), "tables that a processor may write are never shared");
}

#[test]
fn programs_and_bitmaps_that_are_equal_are_stored_once() {
    let packed = sample();
    let (log, hello) = (packed.parsed().subjects[0], packed.parsed().subjects[1]);
    let text = |id| packed.nested(Format::AmdNested, id, PROGRAM).unwrap().to;
    assert_eq!(text(0), text(1));
    assert!(packed.at(text(0)).starts_with(b"\xf4 what both execute\0"));
    assert_eq!((log.msrpm, log.msr_bitmap), (hello.msrpm, hello.msr_bitmap));
    assert_ne!(log.iopm, hello.iopm);
    assert_ne!(log.io_bitmaps, hello.io_bitmaps);
    assert_eq!((log.first_cpuid, log.cpuids), (hello.first_cpuid, hello.cpuids));
    assert_ne!((log.subject_info, log.boot_info), (hello.subject_info, hello.boot_info));
}

#[test]
fn only_granted_ports_are_open_in_the_image() {
    let packed = sample();
    for (id, subject) in packed.parsed().subjects.iter().enumerate() {
        for port in 0..=0xffff_usize {
            let granted = id == 0 && (0x3f8..0x400).contains(&port);
            for map in [subject.iopm, subject.io_bitmaps] {
                assert_eq!(packed.at(map)[port / 8] >> (port % 8) & 1 == 0, granted, "{port:#x}");
            }
        }
    }
}

#[test]
fn the_kernel_reaches_its_own_memory_and_no_subjects_ram() {
    let packed = sample();
    let root = packed.parsed().cpus[0].kernel_root;
    let reach = |address| {
        translate(Format::Native, packed.at(root), root, address).map(|f| (f.to, f.rights, f.caching))
    };
    let rights = |address| {
        reach(address).map(|(to, rights, _)| {
            assert_eq!(to, address);
            rights
        })
    };
    assert_eq!(rights(IMAGE_BASE), Some(Rights::ReadExecute));
    assert_eq!(rights(IMAGE_BASE + 0x1000), None, "a hole between segments");
    assert_eq!(rights(IMAGE_BASE + 0x2000), Some(Rights::Read));
    assert_eq!(rights(IMAGE_BASE + 0x4000), Some(Rights::ReadWrite));
    assert_eq!(rights(0x10_5000), Some(Rights::Read), "plan");
    assert_eq!(reach(0xfee0_0000), Some((0xfee0_0000, Rights::ReadWrite, Caching::Uncached)));
    let text = packed.nested(Format::AmdNested, 0, PROGRAM).unwrap().to;
    assert_eq!(rights(text), Some(Rights::Read));

    let reached =
        ["kernel: ", ": state", ": XSAVE area", ": control", ": timed event", "scheduling info of "];
    for range in &packed.plan.volatile {
        let expected = reached.iter().any(|part| range.owner.contains(part)).then_some(Rights::ReadWrite);
        for address in (range.start..range.start + range.size).step_by(PAGE as usize) {
            assert_eq!(rights(address), expected, "{}", range.owner);
        }
    }
    assert_eq!(rights(packed.plan.cpus[0].stack - PAGE), None, "guard below the stack");
    let parsed = packed.parsed();
    let hidden = parsed
        .subjects
        .iter()
        .flat_map(|s| [s.npt_root, s.ept_root, s.iopm, s.msrpm, s.subject_info, s.boot_info]);
    assert!(hidden.chain([root]).all(|address| rights(address).is_none()));
}

#[test]
fn a_subject_finds_its_resources_with_the_digests_of_what_cannot_change() {
    let packed = sample();
    let info = SubjectInfo::parse(packed.at(packed.parsed().subjects[1].subject_info)).unwrap();
    assert_eq!((info.name(), info.tsc_khz(), info.event("solo5_exit")), ("hello", 0, Some(1)));
    let text = info.memory("text").unwrap();
    let content = [b"\xf4 what both execute".as_slice(), &[0; 0x2000 - 19]].concat();
    assert_eq!((text.content, text.hash), (Content::File, Sha256::digest(content).into()));
    let channel = info.memory("debuglog").unwrap();
    assert_eq!((channel.address, channel.size, channel.hash), (CHANNELS, CHANNEL_SIZE, [0; 32]));
    assert_eq!(channel.content, Content::Uninitialized);
}

#[test]
fn a_subject_finds_its_command_line() {
    let packed = sample();
    let region = packed.at(packed.parsed().subjects[1].boot_info);
    let (info, command_line) = palisade_abi::boot_info::read(region).unwrap();
    assert_eq!((info.mem_size, info.kernel_end), (PROGRAM + 0x2000 + RAM_SIZE, PROGRAM + 0x1fff));
    assert_eq!(command_line, b"I am hello");
}

#[test]
fn code_ranges_lead_to_the_instructions() {
    let packed = sample();
    let parsed = packed.parsed();
    for (id, subject) in parsed.subjects.iter().enumerate() {
        let code = abi::slice(parsed.code, subject.first_code, subject.codes);
        assert_eq!(code.len(), 1);
        assert_eq!((code[0].virt, code[0].size), (PROGRAM, 0x2000));
        assert_eq!(code[0].phys, packed.nested(Format::AmdNested, id, PROGRAM).unwrap().to);
    }
}

#[test]
fn the_map_names_every_range_and_who_reaches_it() {
    let packed = sample();
    let map = &packed.image.map;
    let line =
        |part: &str| map.lines().find(|l| l.contains(part)).unwrap_or_else(|| panic!("no {part} in\n{map}"));
    assert!(line("kernel: text").contains("0x0000100000..0x0000102000"));
    assert!(line("log: text, hello: text").ends_with("[log r-x, hello r-x]"));
    assert!(line("channel debuglog, cleared at boot").ends_with("[log r--, hello rw-]"));
    assert!(line("local APIC").contains("uncached"));
    assert!(line("ports ").ends_with("ports 0x3f8..=0x3ff"));
    assert!(line("solo5_exit").ends_with("no action -> log: wake (2)"));
    assert!(line("5000..10000").ends_with("main"));
    assert!(packed.plan.volatile.iter().all(|r| map.contains(&r.owner)));
}

#[test]
fn an_image_that_meets_volatile_memory_is_refused_with_figures() {
    let error = refusal(|plan| {
        let content: Arc<[u8]> = vec![1; 60 * MIB as usize].into();
        plan.subjects[1].regions.push(region(
            "big",
            0x8000_0000,
            60 * MIB,
            Rights::Read,
            Backing::Content(content),
        ));
    });
    let PackError::MeetsVolatileMemory { end, limit, .. } = error else { panic!("{error}") };
    assert!(end > 61 * MIB && limit < 64 * MIB);
    let text = error.to_string();
    assert!(
        text.contains(&format!("{limit:#x}")) && text.contains(" MiB") && text.contains("less RAM"),
        "{text}"
    );
}

#[test]
fn an_image_outside_usable_memory_is_refused() {
    let error = refusal(|plan| plan.machine.usable = vec![(0, 0x9_f000), (IMAGE_BASE, 0x1_0000)]);
    assert!(matches!(error, PackError::NotUsableMemory { .. }), "{error}");
    assert!(error.to_string().contains("machine \"test\""));
}

#[test]
fn volatile_memory_must_be_a_sorted_list_of_separate_pages() {
    assert!(matches!(refusal(|plan| plan.volatile.swap(0, 1)), PackError::Volatile(_)));
    assert!(matches!(refusal(|plan| plan.volatile[0].size += 0x10), PackError::Volatile(_)));
    assert!(matches!(refusal(|plan| plan.volatile[0].size = u64::MAX - 0xfff), PackError::Volatile(_)));
}

#[test]
fn kernel_memory_has_one_owner() {
    assert!(matches!(refusal(|p| p.subjects[0].state = p.report), PackError::KernelMemory(at) if at != 0));
    assert!(matches!(refusal(|p| p.subjects[0].state = IMAGE_BASE), PackError::KernelMemory(IMAGE_BASE)));
}

#[test]
fn a_subject_that_cannot_be_placed_is_named_with_the_reason() {
    let text = |change: fn(&mut palisade_policy::plan::Subject)| {
        let text = refusal(|plan| change(&mut plan.subjects[1])).to_string();
        assert!(text.starts_with("subject \"hello\": "), "{text}");
        text
    };
    assert!(text(|s| s.regions[0].rights = Rights::ReadWrite).contains("cannot be writable"));
    assert!(
        text(|s| s.regions[0].backing = Backing::Content(vec![1; 0x2001].into()))
            .contains("smaller than its content")
    );
    assert!(text(|s| s.regions[1].size += 8).contains("whole pages"));
    assert!(text(|s| s.regions[1].size = 0).contains("whole pages"));
    assert!(text(|s| s.regions[1].size = 1 << 60).contains("whole pages"));
    assert!(text(|s| s.regions[1].address = PROGRAM + PAGE).contains("overlap at 0x201000"));
    assert!(text(|s| s.regions[1].address = 1 << 47).contains("cannot be mapped"));
    assert!(text(|s| s.regions[1].address = GUEST_TABLES).contains("overlap at 0xd00000000"));
    assert!(text(|s| drop(s.regions.remove(4))).contains("boot info exactly once"));
    assert!(text(|s| s.regions[3].backing = Backing::SubjectInfo).contains("size of a subject info"));
    assert!(text(|s| s.regions[4].address += PAGE).contains("boot info must be"));
    assert!(text(|s| s.command_line = "x".repeat(8192)).contains("too long: 8192 bytes, 8191"));
    assert!(text(|s| s.command_line = "a\0b".into()).contains("NUL at byte 1"));
    assert!(text(|s| s.resources[0].name = "n".repeat(64)).contains("subject info: NameTooLong"));
    assert!(text(|s| s.msrs = vec![0xc001_0015]).contains("MSR 0xc0010015"));
    assert!(text(|s| s.source_events[0].number = 64).contains("event number 64"));
}

#[test]
fn a_plan_the_kernel_would_refuse_is_not_packed() {
    let error = refusal(|plan| plan.subjects[1].source_events[0].target = Some((0, 3)));
    assert!(matches!(error, PackError::Plan(abi::PlanError::Record(abi::Table::SourceEvents, 1))), "{error}");
    assert!(matches!(refusal(|plan| plan.cpus[0].frames[1].0 = 9000), PackError::Plan(_)));
    assert!(matches!(refusal(|plan| plan.subjects[0].xcr0 = 1), PackError::Plan(_)));
}

#[test]
fn too_many_records_are_refused() {
    let error = refusal(|plan| plan.cpus[0].frames = (1..=0xffff).map(|end| (end, 0)).collect());
    assert_eq!(error, PackError::TooMany("minor frames"));
}

#[test]
fn pages_of_one_program_are_not_visible_at_another_address() {
    let packed = sample();
    assert_eq!(packed.guest(1, SCHEDULING_INFO + PAGE), None);
    assert_eq!(packed.guest(1, TIMED_EVENT + PAGE), None);
    assert_eq!(packed.guest(1, 0), None);
}

trait VolatileAddress {
    fn volatile(&self) -> u64;
}

impl VolatileAddress for Backing {
    fn volatile(&self) -> u64 {
        match self {
            Backing::Volatile(address) => *address,
            _ => panic!("not volatile"),
        }
    }
}
