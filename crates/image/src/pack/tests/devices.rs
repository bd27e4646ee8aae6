//! Devices, and content that is large or private.

use palisade_abi::layout::{DATA, DEVICES, LARGE_PAGE};
use palisade_abi::plan::{NONE, bar_flags, device_stop};

use super::*;
use crate::testing::{plan_with_device, use_second_cpu};

#[test]
fn a_device_has_its_records_in_the_plan() {
    let packed = Packed::new(plan_with_device());
    let parsed = packed.parsed();
    let [device] = parsed.devices else { panic!("{:?}", parsed.devices) };
    assert_eq!((device.bdf, device.vendor, device.device, device.subject), (0x18, 0x1af4, 0x1041, 1));
    assert_eq!((device.config, device.stop), (0xb001_8000, device_stop::BUS_MASTER));
    let bars = abi::slice(parsed.bars, device.first_bar, device.bars);
    assert_eq!(
        bars.iter().map(|b| (b.index, b.address, b.size)).collect::<Vec<_>>(),
        [(1, 0xfe01_0000, 0x1000), (4, 0xfe00_0000, 0x4000)]
    );
    assert_eq!(bars[0].flags, bar_flags::MOVABLE);
    assert_eq!(bars[1].flags, bar_flags::MOVABLE | bar_flags::WIDE | bar_flags::PREFETCHABLE);
    let entries = abi::slice(parsed.msix, device.first_msix, device.msix);
    let addresses: Vec<u64> = entries.iter().map(|e| e.address).collect();
    assert_eq!(addresses, [0xfe01_0040, 0xfe01_0050]);
    let interrupts = entries.iter().map(|e| parsed.interrupts[usize::from(e.interrupt)]);
    let interrupts: Vec<_> =
        interrupts.map(|i| (i.host_vector, i.guest_vector, i.subject, i.pin, i.iommu)).collect();
    assert_eq!(interrupts, [(0x30, 0, 1, NONE, NONE), (0x31, 0x21, 1, NONE, NONE)]);
}

#[test]
fn a_driver_starts_its_device_with_an_event() {
    let packed = Packed::new(plan_with_device());
    let parsed = packed.parsed();
    let event = parsed.source_events[1][2];
    assert_eq!((event.action, event.device, event.target), (source_action::START_DEVICE, 0, NONE));
    assert_eq!(parsed.subjects[1].trap_events[usize::from(trap::PAUSE)], 1);
    let error = refusal_of(|plan| plan.subjects[1].source_events[1].device = None);
    assert!(error.contains("\"device_start\" starts no device"), "{error}");
}

#[test]
fn registers_are_uncached_in_every_table_of_their_driver() {
    let packed = Packed::new(plan_with_device());
    for (address, place, rights) in
        [(DEVICES, 0xb001_8000, Rights::Read), (DEVICES + 0x5000, 0xfe00_3000, Rights::ReadWrite)]
    {
        let own = packed.guest(1, address).unwrap();
        assert_eq!((own.to, own.rights, own.caching), (address, rights, Caching::Uncached));
        for format in [Format::AmdNested, Format::IntelExtended] {
            let nested = packed.nested(format, 1, address).unwrap();
            assert_eq!((nested.to, nested.rights, nested.caching), (place, rights, Caching::Uncached));
        }
    }
    assert_eq!(packed.guest(1, PROGRAM).unwrap().caching, Caching::WriteBack);
    let error = refusal_of(|plan| plan.subjects[1].regions.last_mut().unwrap().rights = Rights::ReadExecute);
    assert!(error.contains("belongs to a device and cannot be executable"), "{error}");
}

#[test]
fn the_kernel_reaches_configuration_and_interrupts_of_a_device_but_not_its_registers() {
    let packed = Packed::new(plan_with_device());
    let root = packed.parsed().cpus[0].kernel_root;
    let reach =
        |page| translate(Format::Native, packed.at(root), root, page).map(|f| (f.to, f.rights, f.caching));
    for page in [0xb001_8000, 0xfe01_0000] {
        assert_eq!(reach(page), Some((page, Rights::ReadWrite, Caching::Uncached)));
    }
    assert_eq!((reach(0xfe00_0000), reach(0xb001_9000)), (None, None));
}

#[test]
fn the_kernel_controls_a_device_only_where_its_driver_runs() {
    let mut plan = plan_with_device();
    use_second_cpu(&mut plan);
    let packed = Packed::new(plan);
    let reaches = |cpu: usize, page| {
        let root = packed.parsed().cpus[cpu].kernel_root;
        translate(Format::Native, packed.at(root), root, page).is_some()
    };
    for page in [0xb001_8000, 0xfe01_0000] {
        assert!(!reaches(0, page) && reaches(1, page));
    }
}

#[test]
fn interrupts_without_a_place_in_a_table_are_refused() {
    let without_table = |plan: &mut Plan| plan.devices[0].hardware.msix = None;
    assert!(refusal_of(without_table).contains("device \"net0\": it has interrupts, but no MSI-X table"));
    let without_bar = |plan: &mut Plan| plan.devices[0].hardware.bars.truncate(0);
    assert!(refusal_of(without_bar).contains("the base address register of its MSI-X table is missing"));
    let too_many = |plan: &mut Plan| plan.devices[0].hardware.msix.as_mut().unwrap().entries = 1;
    assert!(refusal_of(too_many).contains("its interrupts do not fit its MSI-X table"));
    let outside = |plan: &mut Plan| plan.devices[0].hardware.msix.as_mut().unwrap().offset = 0xfd0;
    assert!(refusal_of(outside).contains("its interrupts do not fit its MSI-X table"));
}

#[test]
fn the_map_shows_devices() {
    let mut plan = plan_with_device();
    plan.devices[0].dma = vec![(0xf_a000_0000, 0x300_0000, 0x10_0000)];
    let map = Packed::new(plan).image.map;
    for line in [
        "at 00:03.0, identifier 1af4:1041, driven by hello",
        "0x00fe010000..0x00fe011000      4 KiB  base address register 1 with the MSI-X table, for the kernel only",
        "0x0003000000..0x0003100000      1 MiB  memory shared with hello at 0xfa0000000",
        "MSI-X entry 0: vector 0x30, wakes hello",
        "MSI-X entry 1: vector 0x31, interrupt 33 of hello",
        "source event 2 device_start: start a device (net0)",
        "each pause raises source event 1",
        "no IOMMU: once started, the device can reach all memory",
    ] {
        assert!(map.contains(line), "no {line} in\n{map}");
    }
    assert!(
        map.contains("device_bar4, registers, uncached") && map.contains("net0: configuration, uncached")
    );
}

#[test]
fn a_large_data_region_is_mapped_with_large_pages() {
    let mut plan = sample_plan();
    let site: Arc<[u8]> = (0..5 * MIB).map(|i| (i / 4096) as u8).collect();
    let backing = Backing::Content(site.clone());
    plan.subjects[1].regions.push(region("site", DATA, 5 * MIB, Rights::Read, backing));
    let packed = Packed::new(plan);
    for format in [Format::AmdNested, Format::IntelExtended] {
        let found = packed.nested(format, 1, DATA).unwrap();
        assert!(found.large && found.to.is_multiple_of(LARGE_PAGE));
        assert!(packed.at(found.to).starts_with(&site));
        assert!(!packed.nested(format, 1, DATA + 4 * MIB).unwrap().large, "the rest is no whole large page");
    }
}

#[test]
fn a_private_key_is_never_shared() {
    let mut plan = sample_plan();
    let key: Arc<[u8]> = b"-----BEGIN PRIVATE KEY-----".as_slice().into();
    for subject in &mut plan.subjects {
        let data = |name, address| region(name, address, PAGE, Rights::Read, Backing::Content(key.clone()));
        subject.regions.extend([data("certificate", DATA), data("key", DATA + 2 * PAGE)]);
    }
    let packed = Packed::new(plan);
    let place = |id, address| packed.nested(Format::AmdNested, id, address).unwrap().to;
    assert_eq!(place(0, DATA), place(1, DATA));
    assert_ne!(place(0, DATA + 2 * PAGE), place(1, DATA + 2 * PAGE));
}

fn refusal_of(change: impl FnOnce(&mut Plan)) -> String {
    let mut plan = plan_with_device();
    change(&mut plan);
    pack(&plan, &FakeKernel::default().file()).unwrap_err().to_string()
}
