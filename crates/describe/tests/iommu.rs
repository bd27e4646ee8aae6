//! `[iommu]` from real tables, from changed ones and from any bytes.

// Another test program uses all of it.
#[allow(dead_code, unreachable_pub)]
mod common;

use palisade_describe::{Description, describe};
use proptest::prelude::*;

use common::{QEMU_DMAR, QEMU_IVRS, Recorded};

#[test]
fn the_iommu_is_described_from_real_tables() {
    let intel = described("DMAR", QEMU_DMAR);
    assert_eq!(part(&intel), "kind = \"intel\"\nregisters = 0xfed9_0000");
    let amd = described("IVRS", QEMU_IVRS);
    assert_eq!(part(&amd), "kind = \"amd\"\nregisters = 0xfed8_0000\nbuses = 1");
    assert_eq!((intel.remarks, amd.remarks), (Vec::new(), Vec::new()));
    let none = describe(Recorded::q35().path()).expect("everything is there");
    assert!(!none.text.contains("[iommu]"), "{}", none.text);
}

#[test]
fn every_unit_is_described_and_amd_s_tables_get_room_for_every_bus() {
    let second = intel_unit(0, 0, 0xfed9_1000);
    let text = described("DMAR", &[QEMU_DMAR, &second].concat());
    assert_eq!(part(&text), "kind = \"intel\"\nregisters = [0xfed9_0000, 0xfed9_1000]");
    let tree = Recorded::q35();
    tree.table("IVRS", QEMU_IVRS);
    tree.write("sys/class/pci_bus/0000:07/uevent", "");
    assert!(part(&describe(tree.path()).expect("everything is there")).ends_with("buses = 8"));
}

#[test]
fn a_unit_for_all_other_devices_has_the_card_behind_it() {
    let one = |flags| [&QEMU_DMAR[..12], &intel_unit(flags, 0, 0xfed9_0000)].concat();
    assert_eq!(part(&described("DMAR", &one(1))), "kind = \"intel\"\nregisters = 0xfed9_0000");
    assert_left_out("DMAR", &one(0), "the network card at 00:03.0 is not behind it");
    let all = [&QEMU_IVRS[..36], &[1, 0, 0, 0], &QEMU_IVRS[40..68]].concat();
    assert_eq!(part(&described("IVRS", &all)), part(&described("IVRS", QEMU_IVRS)));
}

#[test]
fn an_iommu_that_does_not_confine_the_card_is_left_out_with_the_reason() {
    let dmar = |at: usize, value: u8| changed(QEMU_DMAR, at, value);
    let not_behind = "the network card at 00:03.0 is not behind it";
    assert_left_out("DMAR", &dmar(1, 0), "the table DMAR does not allow interrupts to be remapped");
    assert_left_out("DMAR", &dmar(12 + 16 + 2 * 8 + 6, 4), not_behind);
    assert_left_out("DMAR", &dmar(12 + 6, 1), "there is no unit for the first segment");
    assert_left_out("DMAR", &dmar(12 + 12, 1), "the IOMMU at 0x1fed90000 has its registers where");
    assert_left_out("DMAR", &dmar(12 + 8, 1), "the IOMMU at 0xfed90001 has its registers where");
    // In both structures: the card's entry is an alias of it; the card bears the address of another function.
    let alias = |kind, length: usize| {
        let mut table = QEMU_IVRS.to_vec();
        for at in [44, 116] {
            let entry = [&[kind, 0x18, 0, 0][..], &[0, 0x10, 0, 0]].concat();
            table[at..at + length].copy_from_slice(&entry[..length]);
        }
        table
    };
    assert_left_out("IVRS", &alias(0x42, 8), not_behind);
    assert_left_out("IVRS", &alias(0, 4), not_behind);
}

#[test]
fn a_unit_for_another_segment_of_the_bus_is_left_out_and_that_is_said() {
    let description = described("DMAR", &[QEMU_DMAR, &intel_unit(1, 1, 0xfed9_1000)].concat());
    assert_eq!(part(&description), "kind = \"intel\"\nregisters = 0xfed9_0000");
    let [remark] = &description.remarks[..] else { panic!("{:?}", description.remarks) };
    assert!(
        remark.starts_with("the IOMMU at 0xfed91000 is left out, so devices behind it are not confined"),
        "{remark}"
    );
}

#[test]
fn what_a_unit_lacks_is_said_in_the_kernel_s_words() {
    let invalidates_all = QEMU_IVRS.len() - 72 + 24;
    let lacking = changed(QEMU_IVRS, invalidates_all, QEMU_IVRS[invalidates_all] & !(1 << 6));
    let expected = "the IOMMU at 0xfed80000 has no command that invalidates everything";
    assert_left_out("IVRS", &lacking, expected);
    for (capabilities, expected) in [
        ("d2008c222f0606", None),
        ("d2008c222f0206", Some("the IOMMU at 0xfed90000 has no addresses of 48 bits")),
    ] {
        let tree = Recorded::q35();
        tree.table("DMAR", QEMU_DMAR);
        let unit = "sys/class/iommu/dmar0/intel-iommu";
        tree.write(&format!("{unit}/address"), "fed90000\n");
        tree.write(&format!("{unit}/cap"), format!("{capabilities}\n"));
        tree.write(&format!("{unit}/ecap"), "f00f4a\n");
        let description = describe(tree.path()).expect("everything is there");
        match expected {
            None => assert!(description.text.contains("[iommu]"), "{description:?}"),
            Some(why) => assert!(description.remarks.iter().any(|r| r.ends_with(why)), "{description:?}"),
        }
    }
}

#[test]
fn of_several_units_the_one_that_lacks_something_is_named() {
    let tree = Recorded::q35();
    tree.table("DMAR", &[QEMU_DMAR, &intel_unit(0, 0, 0xfed9_1000)].concat());
    for (number, capabilities) in ["d2008c222f0606", "d2008c222f0206"].into_iter().enumerate() {
        let unit = format!("sys/class/iommu/dmar{number}/intel-iommu");
        tree.write(&format!("{unit}/address"), format!("fed9{number}000\n"));
        tree.write(&format!("{unit}/cap"), format!("{capabilities}\n"));
        tree.write(&format!("{unit}/ecap"), "f00f4a\n");
    }
    let description = describe(tree.path()).expect("everything is there");
    assert!(!description.text.contains("[iommu]"), "{}", description.text);
    let why = "the IOMMU at 0xfed91000 has no addresses of 48 bits";
    assert!(description.remarks.iter().any(|remark| remark.ends_with(why)), "{description:?}");
}

#[test]
fn features_of_amd_s_units_count_where_the_table_says_that_it_has_them() {
    let features = QEMU_IVRS.len() - 72 + 24;
    let without = changed(QEMU_IVRS, features, 0);
    assert_left_out("IVRS", &without, "has no command that invalidates everything");
    assert_eq!(part(&described("IVRS", &changed(&without, 0, 0))), part(&described("IVRS", QEMU_IVRS)));
}

#[test]
fn a_card_is_moved_neither_to_a_unit_nor_to_anything_else_that_linux_knows() {
    let tree = Recorded::q35();
    // In both structures: registers at 0xfeb7_0000, with counters up to 0xfebe_ffff.
    tree.table("IVRS", &changed(&changed(QEMU_IVRS, 22, 0xb7), 78, 0xb7));
    tree.write(
        "proc/iomem",
        "c0000000-febfffff : PCI Bus 0000:00\n  febf0000-febf7fff : pnp 00:05\n  febf8000-febf8fff : Reserved\n  \
         febfe000-febfefff : 0000:00:03.0\n    febfe000-febfefff : virtio-pci-modern\nfec00000-fec003ff : IOAPIC 0\n",
    );
    let card = [(1, 0xfebf_e000_u64, 0x1000, 0x4_0200), (4, 0x40_0000_0000, 0x4000, 0x14_220c)];
    tree.device("0000:00:03.0", (0x1af4, 0x1041), &card, Some((1, 0, 4)));
    let text = describe(tree.path()).expect("everything is there").text;
    assert!(text.contains("index = 1, size = \"4 KiB\", address = 0xfebf_e000 "), "its own is free: {text}");
    assert!(text.contains("index = 4, size = \"16 KiB\", address = 0xfeb6_c000,"), "{text}");
}

#[test]
fn tables_that_end_too_early_are_left_out() {
    for (name, table) in [("DMAR", QEMU_DMAR), ("IVRS", QEMU_IVRS)] {
        for length in 0..table.len() {
            let description = described(name, &table[..length]);
            let whole = length == 12 || (name == "IVRS" && length == 12 + 56);
            assert!(whole || !description.remarks.is_empty(), "{name} of {length} bytes: {description:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_table_leads_to_anything_but_a_description(
        table in prop::sample::select(vec![("DMAR", QEMU_DMAR), ("IVRS", QEMU_IVRS)]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        more in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (name, mut bytes) = (table.0, table.1.to_vec());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.extend(more);
        let description = described(name, &bytes);
        let is_described = description.text.contains("\n[iommu]\n");
        prop_assert!(is_described != description.remarks.iter().any(|r| r.starts_with("the IOMMU is left out")));
    }
}

/// The description of a machine with this table.
fn described(name: &str, table: &[u8]) -> Description {
    let tree = Recorded::q35();
    tree.table(name, table);
    describe(tree.path()).expect("everything else is there")
}

/// What is described of the IOMMU.
fn part(description: &Description) -> String {
    let part = description.text.split("[iommu]\n").nth(1).expect("it is described");
    part.split("\n\n").next().expect("it has an end").to_owned()
}

#[track_caller]
fn assert_left_out(name: &str, table: &[u8], why: &str) {
    let description = described(name, table);
    assert!(!description.text.contains("[iommu]"), "{}", description.text);
    assert!(description.remarks.iter().any(|remark| remark.contains(why)), "{description:?}");
}

fn changed(table: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut table = table.to_vec();
    table[at] = value;
    table
}

/// A unit of Intel's that names no device.
fn intel_unit(flags: u8, segment: u16, registers: u64) -> Vec<u8> {
    [&[0, 0, 16, 0, flags, 0][..], &segment.to_le_bytes(), &registers.to_le_bytes()].concat()
}
