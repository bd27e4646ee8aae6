//! Arbitrary bytes: the verifier ends, and does not panic.

use palisade_abi::layout::{INIT_TABLE, PAGE, TIME_INFO};
use palisade_abi::plan::{Table, TableRef};
use palisade_image::verify::{Expected, verify};
use proptest::prelude::*;

use crate::damage::Damage;
use crate::system::{self, Sample};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_judged(file in prop::collection::vec(any::<u8>(), 0..8192)) {
        let expected = Expected { kernel: Some(&file) };
        prop_assert!(!verify(&file, &expected).is_good());
    }

    /// The damage is spread over the file, also where tables, bitmaps and subject infos are.
    #[test]
    fn scattered_damage_is_judged(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64),
    ) {
        let mut file = system::image().to_vec();
        for (place, value) in damage {
            let length = file.len();
            file[place.index(length)] = value;
        }
        let _ = verify(&file, &Expected { kernel: Some(system::kernel()) });
    }

    /// Entries that look like entries: present, with random rights, leading to places near the tables.
    #[test]
    fn tables_that_lead_anywhere_are_judged(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), any::<u8>()), 1..256),
    ) {
        let mut damaged = Damage::new(Sample::Plain);
        let tables = damaged.read_subject(0).npt_root;
        let length = damaged.at(tables).len() / 8;
        for (place, page, bits) in damage {
            let entry = (0x10_0000 + (u64::from(page % 1024) << 12)) | 0x27 | u64::from(bits);
            let at = place.index(length) * 8;
            damaged.at(tables)[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        }
        let _ = verify(&damaged.file, &Expected::default());
    }

    #[test]
    fn a_damaged_plan_with_a_right_checksum_is_judged(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut damaged = Damage::new(Sample::Plain);
        let plan = damaged.plan_address();
        let size = damaged.read_header().total_size as usize;
        for (place, value) in damage {
            // The tables' places and the size stay: without them nothing else would be looked at.
            let at = 400 + place.index(size - 400);
            damaged.at(plan)[at] = value;
        }
        damaged.header(|_| {});
        let _ = verify(&damaged.file, &Expected::default());
    }

    /// Tables of devices that lie anywhere in the plan, and are as long as they can be there.
    #[test]
    fn arbitrary_devices_are_judged(
        places in prop::array::uniform5(any::<prop::sample::Index>()),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..64),
    ) {
        const SIZES: [usize; 5] = [16, 32, 24, 16, 40];
        let mut damaged = Damage::new(Sample::Plain);
        let plan = damaged.plan_address();
        let size = damaged.read_header().total_size as usize;
        for (place, value) in noise {
            damaged.at(plan)[400 + place.index(size - 400)] = value;
        }
        damaged.header(|header| {
            for (number, (place, record)) in places.iter().zip(SIZES).enumerate() {
                let offset = place.index(size / 8) * 8;
                let count = ((size - offset) / record) as u32;
                header.tables[Table::Interrupts as usize + number] = TableRef { offset: offset as u32, count };
            }
        });
        let _ = verify(&damaged.file, &Expected::default());
    }

    /// Places and sizes at every edge, in resources that are otherwise well-formed, and in init tables.
    #[test]
    fn hostile_addresses_and_sizes_are_judged(
        resources in prop::collection::vec((0..6_usize, 0..8_u8, edge(), edge()), 1..6),
        operations in prop::collection::vec((0..5_usize, edge(), edge(), edge()), 0..5),
    ) {
        let mut damaged = Damage::new(Sample::Plain);
        for (number, kind, address, size) in resources {
            let data = &mut damaged.info(system::HELLO)[80 + number * 128 + 72..];
            data[0] = kind;
            data[8..16].copy_from_slice(&address.to_le_bytes());
            data[16..24].copy_from_slice(&size.to_le_bytes());
        }
        let table = damaged.phys(system::HELLO, INIT_TABLE);
        for (number, destination, source, size) in operations {
            let operation = &mut damaged.at(table)[16 + number * 32..];
            for (place, value) in [destination, source, size].iter().enumerate() {
                operation[place * 8..place * 8 + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        let _ = verify(&damaged.file, &Expected::default());
    }

    #[test]
    fn a_truncated_image_is_refused(length in any::<prop::sample::Index>()) {
        let file = system::image();
        let cut = &file[..length.index(file.len())];
        prop_assert!(!verify(cut, &Expected::default()).is_good());
    }
}

/// Numbers at and next to the places where something ends.
fn edge() -> impl Strategy<Value = u64> {
    let ends = vec![0, PAGE, system::RAM, system::RAM + system::RAM_SIZE, TIME_INFO, 1 << 47, 1 << 63];
    (prop::sample::select(ends), -2_i64..=2).prop_map(|(end, by)| end.wrapping_add_signed(by * 2048))
}

#[test]
fn tables_that_refer_to_themselves_end() {
    let mut damaged = Damage::new(Sample::Plain);
    let root = damaged.read_subject(0).npt_root;
    for entry in damaged.at(root)[..4096].chunks_exact_mut(8) {
        entry.copy_from_slice(&(root | 0x27).to_le_bytes());
    }
    assert!(!verify(&damaged.file, &Expected::default()).is_good());
}
