//! A plan that parses has no dangling index and no value out of range.

use std::mem::offset_of;

use palisade_abi::layout::MAX_EVENTS;
use palisade_abi::plan::{
    Bar, CHECKSUM_START, Device, Group, Header, Iommu, NONE, Plan, PlanError, SourceEvent, TABLES, Table,
    TableRef, TargetEvent, bar_flags, checksum, iommu_kind, source_action, source_flags, target_action,
};
use palisade_fuzz_targets::samples::Tables;
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn a_plan_is_read_back_as_it_was_written() {
    for tables in [Tables::small(), Tables::full()] {
        with_plan(&tables.to_bytes(), |plan| {
            let plan = plan.unwrap();
            assert_eq!(plan.name(), "sample");
            assert_eq!(plan.cpus, tables.cpus);
            assert_eq!(plan.frames, tables.frames);
            assert_eq!(plan.partitions, tables.partitions);
            assert_eq!(plan.groups, tables.groups);
            assert_eq!(plan.members, tables.members);
            assert_eq!(plan.subjects, tables.subjects);
            assert_eq!(plan.source_events, tables.sources);
            assert_eq!(plan.target_events, tables.targets);
            assert_eq!(plan.cpuid, tables.cpuid);
            assert_eq!(plan.code, tables.code);
            assert_eq!(plan.ram, tables.ram);
            assert_eq!(plan.clear, tables.clear);
            assert_eq!((plan.power_off, plan.reset), (&tables.power_off[..], &tables.reset[..]));
            assert_eq!((plan.interrupts, plan.devices), (&tables.interrupts[..], &tables.devices[..]));
            assert_eq!(
                (plan.bars, plan.msix, plan.iommus),
                (&tables.bars[..], &tables.msix[..], &tables.iommus[..])
            );
        });
    }
}

#[test]
fn subjects_have_names() {
    with_plan(&Tables::full().to_bytes(), |plan| {
        let plan = plan.unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|s| plan.subject_name(s)), ["time", "log", "supervisor", "hello", ""]);
    });
}

#[test]
fn a_plan_may_have_more_memory_behind_it() {
    let mut bytes = Tables::full().to_bytes();
    bytes.extend([0xff; 100]);
    assert_eq!(error(&bytes), None);
}

#[test]
fn bytes_that_are_no_plan_are_told_from_damaged_ones() {
    let good = Tables::full().to_bytes();
    let damaged = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        error(&bytes)
    };
    assert_eq!(error(&[]), Some(PlanError::Magic));
    assert_eq!(damaged(0, b'p'), Some(PlanError::Magic));
    assert_eq!(damaged(8, 1), Some(PlanError::Version));
    assert_eq!(damaged(12, 0), Some(PlanError::Version));
    assert_eq!(damaged(16, 40), Some(PlanError::Damaged));
    assert_eq!(damaged(24, good[24] ^ 1), Some(PlanError::Damaged));
    assert_eq!(error(&good[..good.len() - 1]), Some(PlanError::Damaged));
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let good = Tables::small().to_bytes();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        assert!(error(&bytes).is_some(), "byte {at}");
    }
}

#[test]
fn a_size_smaller_than_the_header_is_refused() {
    for size in [0, 32, 40, 200] {
        let mut bytes = Tables::small().to_bytes();
        bytes[16..24].copy_from_slice(&u64::to_le_bytes(size));
        if size > 32 {
            let sum = checksum(&bytes[32..size as usize]);
            bytes[24..32].copy_from_slice(&sum.to_le_bytes());
        }
        assert_eq!(error(&bytes), Some(PlanError::Damaged), "{size}");
    }
}

#[test]
fn a_header_with_places_that_cannot_be_is_refused() {
    let refused = |damage: fn(&mut Tables)| assert_eq!(damaged(damage), Some(PlanError::Damaged));
    refused(|t| t.header.image_start = t.header.image_end + 1);
    refused(|t| t.header.kernel_end = t.header.image_end + 1);
    refused(|t| t.header.image_end = 1 << 40);
    refused(|t| t.header.report = 0x90_0008);
    refused(|t| t.header.crash_record = u64::MAX - 4095);
    refused(|t| t.header.on_fatal = 3);
}

#[test]
fn a_table_outside_the_plan_is_refused() {
    let good = Tables::full().to_bytes();
    for table in 0..TABLES {
        let at = offset_of!(Header, tables) + table * size_of::<TableRef>();
        let place = TableRef::read_from_bytes(&good[at..at + size_of::<TableRef>()]).unwrap();
        for damaged in [
            TableRef { offset: place.offset + 4, ..place },
            TableRef { offset: 0xffff_fff8, ..place },
            TableRef { count: 0x1_0000, ..place },
        ] {
            let mut bytes = good.clone();
            damaged.write_to_prefix(&mut bytes[at..]).unwrap();
            let sum = checksum(&bytes[CHECKSUM_START..]);
            sum.write_to_prefix(&mut bytes[offset_of!(Header, checksum)..]).unwrap();
            assert!(matches!(error(&bytes), Some(PlanError::Table(t)) if t as usize == table), "{damaged:?}");
        }
    }
}

#[test]
fn a_plan_has_a_few_of_everything_and_events_for_all_subjects() {
    refused(Table::Cpus, 0, |t| t.cpus.clear());
    refused(Table::Cpus, 0, |t| t.cpus = vec![t.cpus[0]; 17]);
    refused(Table::Subjects, 0, |t| t.subjects.clear());
    refused(Table::Subjects, 0, |t| t.subjects = vec![t.subjects[0]; 65]);
    refused(Table::Partitions, 0, |t| t.partitions.clear());
    refused(Table::Partitions, 0, |t| t.partitions = vec![t.partitions[0]; 65]);
    refused(Table::Groups, 0, |t| t.groups.clear());
    refused(Table::Groups, 0, |t| t.groups = vec![t.groups[0]; 65]);
    refused(Table::Members, 0, |t| t.members.push(3));
    refused(Table::SourceEvents, 0, |t| t.sources.truncate(3));
    refused(Table::TargetEvents, 0, |t| t.targets.truncate(3));
}

#[test]
fn frames_fill_the_major_frame_of_each_cpu_in_order() {
    refused(Table::Cpus, 1, |t| t.cpus[1].frames = 0);
    refused(Table::Cpus, 1, |t| t.cpus[1].frames = 2);
    refused(Table::Cpus, 0, |t| t.cpus[0].first_frame = NONE);
    refused(Table::Cpus, 0, |t| t.cpus[0].kernel_root = 0x1234);
    refused(Table::Cpus, 0, |t| t.cpus[0].stack_top = u64::MAX);
    refused(Table::Cpus, 0, |t| t.cpus[0].data = 1);
    refused(Table::Cpus, 0, |t| t.cpus[0].host_area = 1);
    refused(Table::Frames, 0, |t| t.frames[1].end_us = 2000);
    refused(Table::Frames, 0, |t| t.frames[1].end_us = 4000);
    refused(Table::Frames, 2, |t| t.frames[2].end_us = 6000);
    refused(Table::Frames, 2, |t| t.frames[2].partition = 3);
    refused(Table::Frames, 2, |t| t.frames[2].partition = 0);
}

#[test]
fn every_cpu_has_an_apic_identifier_of_its_own_and_memory_to_begin_in() {
    refused(Table::Cpus, 0, |t| t.cpus[1].apic_id = t.cpus[0].apic_id);
    refused(Table::Ram, NONE, |t| t.ram.truncate(1));
    refused(Table::Ram, NONE, |t| t.ram[1].size = 0);
    assert_eq!(error(&Tables::small().to_bytes()), None, "a single CPU needs none");
}

#[test]
fn partitions_have_groups_and_groups_have_members() {
    refused(Table::Partitions, 2, |t| t.partitions[2].groups = 0);
    refused(Table::Partitions, 2, |t| t.partitions[2].groups = 2);
    refused(Table::Partitions, 2, |t| t.partitions[2].scheduling_info = 0);
    refused(Table::Partitions, 2, |t| t.partitions[2].scheduling_info = 8);
    refused(Table::Groups, 1, |t| t.groups[1].members = 0);
    refused(Table::Groups, 1, |t| t.groups[1].members = 4);
    refused(Table::Members, 3, |t| t.members[3] = 4);
    let unused = |t: &mut Tables| {
        t.partitions.push(t.partitions[2]);
        t.partitions[3].cpu = 2;
    };
    refused(Table::Partitions, 3, unused);
}

#[test]
fn a_subject_is_scheduled_in_one_place() {
    refused(Table::Partitions, 1, |t| t.groups[1].members = 3);
    refused(Table::Partitions, 0, |t| t.partitions[0].groups = 2);
    refused(Table::Partitions, 2, |t| {
        t.groups.push(Group { first_member: 0, members: 1 });
        t.partitions[2].groups = 2;
    });
}

#[test]
fn subjects_refer_to_what_exists() {
    refused(Table::Subjects, 3, |t| t.members[3] = 1);
    refused(Table::Subjects, 0, |t| t.groups[0].first_member = 3);
    refused(Table::Subjects, 3, |t| t.subjects[3].cpu = 0);
    refused(Table::Subjects, 3, |t| t.subjects[3].partition = 3);
    refused(Table::Subjects, 3, |t| t.subjects[3].group = 1);
    refused(Table::Subjects, 3, |t| t.subjects[3].cpuids = 2);
    refused(Table::Subjects, 3, |t| t.subjects[3].codes = 2);
    refused(Table::Subjects, 3, |t| t.subjects[3].trap_events[0] = 64);
    refused(Table::Subjects, 3, |t| t.subjects[3].xcr0 = 1);
}

#[test]
fn a_subject_has_all_its_pages() {
    refused(Table::Subjects, 1, |t| t.subjects[1].state = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].xsave = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].control = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].guest_root = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].npt_root = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].iopm = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].msrpm = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].ept_root = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].io_bitmaps = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].msr_bitmap = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].subject_info = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].boot_info = 0);
    refused(Table::Subjects, 1, |t| t.subjects[1].npt_root = 0x1001);
    refused(Table::Subjects, 1, |t| t.subjects[1].timed_event = 0x1001);
    refused(Table::Code, 0, |t| t.code[0].virt = 1);
    refused(Table::Code, 0, |t| t.code[0].phys = 1 << 36);
}

#[test]
fn events_have_both_ends() {
    let event = SourceEvent { action: source_action::NONE, target: 2, ..SourceEvent::default() };
    let source = |event: SourceEvent| move |t: &mut Tables| t.sources[3][7] = event;
    refused(Table::SourceEvents, 3, source(SourceEvent { action: source_action::LAST + 1, ..event }));
    refused(Table::SourceEvents, 3, source(SourceEvent { target: 4, ..event }));
    refused(Table::SourceEvents, 3, source(SourceEvent { target_event: 1, ..event }));
    refused(Table::SourceEvents, 3, source(SourceEvent { target_event: MAX_EVENTS as u8, ..event }));
}

#[test]
fn a_subject_starts_its_own_devices_only() {
    let start = SourceEvent { action: source_action::START_DEVICE, target: NONE, ..SourceEvent::default() };
    refused(Table::SourceEvents, 3, |t| t.sources[3][7] = SourceEvent { device: 1, ..start });
    refused(Table::SourceEvents, 2, |t| t.sources[2][7] = start);
}

#[test]
fn an_undefined_event_may_say_anything() {
    let mut tables = Tables::small();
    tables.sources[0][7] = SourceEvent { flags: 0xff, target: 9, ..SourceEvent::default() };
    assert_eq!(error(&tables.to_bytes()), None);
}

#[test]
fn a_handover_stays_in_its_group() {
    let handover =
        SourceEvent { action: source_action::NONE, flags: source_flags::HANDOVER, ..SourceEvent::default() };
    refused(Table::SourceEvents, 3, |t| t.sources[3][7] = SourceEvent { target: 2, ..handover });
    refused(Table::SourceEvents, 3, |t| t.sources[3][7] = SourceEvent { target: NONE, ..handover });
}

#[test]
fn target_events_do_something_that_exists() {
    let target = |action, vector| move |t: &mut Tables| t.targets[0][63] = TargetEvent { action, vector };
    refused(Table::TargetEvents, 0, target(target_action::LAST + 1, 0));
    refused(Table::TargetEvents, 0, target(target_action::INJECT_INTERRUPT, 31));
}

#[test]
fn memory_to_clear_spares_the_image_and_the_crash_record() {
    refused(Table::Clear, 0, |t| t.clear[0].start = 0x7f_f000);
    refused(Table::Clear, 0, |t| t.clear[0].start = 0x91_0000);
    refused(Table::Clear, 0, |t| t.clear[0].start = 0x82_0000);
    refused(Table::Clear, 0, |t| t.clear[0].size = 1);
    refused(Table::Clear, 0, |t| t.clear[0].size = u64::MAX - 4095);
    refused(Table::Ram, 0, |t| t.ram[0].start = 1);
    refused(Table::Ram, 0, |t| t.ram[0].size = 1 << 36);
}

#[test]
fn hardware_is_described_in_range() {
    refused(Table::PowerOff, 0, |t| t.power_off[0].width = 3);
    refused(Table::Reset, 0, |t| t.reset[0].width = 8);
    refused(Table::Interrupts, 0, |t| t.interrupts[0].host_vector = 0x2f);
    refused(Table::Interrupts, 0, |t| t.interrupts[0].host_vector = 0xf0);
    refused(Table::Interrupts, 0, |t| t.interrupts[0].guest_vector = 31);
    refused(Table::Interrupts, 0, |t| t.interrupts[0].subject = 4);
    refused(Table::Interrupts, 0, |t| t.interrupts[0].iommu = 1);
    refused(Table::Interrupts, 0, |t| t.interrupts[0].remap_index = 256);
    refused(Table::Interrupts, 0, |t| (t.interrupts[0].iommu, t.interrupts[0].remap_index) = (NONE, 1));
    refused(Table::Interrupts, 0, |t| t.interrupts.push(t.interrupts[0]));
    refused(Table::Devices, 0, |t| t.devices[0].subject = 4);
    refused(Table::Devices, 0, |t| t.devices[0] = Device { bars: 2, ..t.devices[0] });
    refused(Table::Devices, 0, |t| t.devices[0] = Device { first_msix: 1, ..t.devices[0] });
    refused(Table::Devices, 0, |t| t.devices[0].config = 0xb000_0001);
    refused(Table::Devices, 0, |t| t.devices[0].stop = 4);
    refused(Table::Bars, 0, |t| t.bars[0].index = 6);
    refused(Table::Bars, 0, |t| t.bars[0].flags = 0x10);
    refused(Table::Bars, 0, |t| t.bars[0] = Bar { index: 5, flags: bar_flags::WIDE, ..t.bars[0] });
    refused(Table::MsixEntries, 0, |t| t.msix[0].interrupt = 1);
    refused(Table::Iommus, 0, |t| t.iommus[0].kind = 0);
    refused(Table::Iommus, 0, |t| t.iommus[0].kind = iommu_kind::AMD);
    refused(Table::Iommus, 0, |t| t.iommus[0].registers = 0);
    refused(Table::Iommus, 0, |t| t.iommus[0].device_table += 8);
    refused(Table::Iommus, 0, |t| t.iommus[0].device_table_size = 0x2000);
    refused(Table::Iommus, 0, |t| t.iommus[0].interrupt_table = 0);
    refused(Table::Iommus, 0, |t| t.iommus[0].queues = 0);
    let amd = |size| Iommu { device_table_size: size, ..iommu(iommu_kind::AMD) };
    refused(Table::Iommus, 0, |t| t.iommus[0] = amd(0));
    refused(Table::Iommus, 0, |t| t.iommus[0] = amd(0x2008));
    refused(Table::Iommus, 0, |t| t.iommus[0] = amd((2 << 20) + 0x1000));
    assert_eq!(damaged(|t| t.iommus[0] = amd(2 << 20)), None);
}

fn iommu(kind: u32) -> Iommu {
    Iommu { kind, interrupt_table: 0, ..Tables::full().iommus[0] }
}

/// Expects this record of a full plan to be found wrong after the damage.
#[track_caller]
fn refused(table: Table, record: u16, damage: impl Fn(&mut Tables)) {
    assert_eq!(damaged(damage), Some(PlanError::Record(table, record)));
}

fn damaged(damage: impl Fn(&mut Tables)) -> Option<PlanError> {
    let mut tables = Tables::full();
    damage(&mut tables);
    error(&tables.to_bytes())
}

fn error(bytes: &[u8]) -> Option<PlanError> {
    with_plan(bytes, |plan| plan.err())
}

/// Parses a copy that is aligned to 8 bytes.
fn with_plan<T>(bytes: &[u8], check: impl FnOnce(Result<Plan<'_>, PlanError>) -> T) -> T {
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    check(Plan::parse(&words.as_bytes()[..bytes.len()]))
}
