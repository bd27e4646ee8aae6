use super::*;
use crate::layout::SUBJECT_INFO_SIZE;

const SIZE: usize = SUBJECT_INFO_SIZE as usize;

fn memory(kind: MemoryKind, address: u64) -> Data {
    Data::Memory(MemoryResource {
        kind,
        content: Content::Fill(0),
        writable: true,
        executable: false,
        address,
        size: 0x1000,
        hash: [0xab; 32],
    })
}

fn built(version: Version, resources: &[(&str, Data)]) -> Box<[u8; SIZE]> {
    let mut bytes = Box::new([0xff; SIZE]);
    let mut builder = Builder::new(&mut bytes, version, "hello", 2_000_000).unwrap();
    for (name, data) in resources {
        builder.add(name, data).unwrap();
    }
    bytes
}

#[test]
fn every_version_reads_what_was_written() {
    for version in Version::ALL {
        let resources = [
            ("debuglog", memory(MemoryKind::Channel, 0xe_1000_0000)),
            ("solo5_exit", Data::Event(3)),
            ("irq", Data::Vector(0x31)),
        ];
        let bytes = built(version, &resources);
        let info = SubjectInfo::parse(bytes.as_slice()).unwrap();
        assert_eq!((info.version(), info.name(), info.tsc_khz()), (version, "hello", 2_000_000));
        let read: Vec<_> = info.resources().map(|r| (r.name, r.data)).collect();
        assert_eq!(read, resources);
    }
}

#[test]
fn fields_lie_where_the_interface_says() {
    let bytes = built(Version::V05, &[("log", memory(MemoryKind::Channel, 0x1234_5678))]);
    assert_eq!(bytes[..8], 0x0500_6f66_6e69_756d_u64.to_le_bytes());
    assert_eq!(bytes[8..12], 2_000_000_u32.to_le_bytes());
    assert_eq!(&bytes[12..19], b"\x05hello\0");
    assert_eq!(bytes[77..80], [0, 1, 0]);
    assert_eq!(&bytes[80..89], b"\x01\0\0\0\x03log\0");
    assert_eq!(bytes[152..155], [5, 1, 1]);
    assert_eq!(bytes[160..168], 0x1234_5678_u64.to_le_bytes());
    assert_eq!(bytes[168..176], 0x1000_u64.to_le_bytes());
    assert_eq!(bytes[176..208], [0xab; 32]);
    assert_eq!(built(Version::V04, &[("e", Data::Event(9))])[77..80], [1, 0, 0]);
}

#[test]
fn memory_that_is_not_filled_has_no_pattern() {
    let data = Data::Memory(MemoryResource {
        kind: MemoryKind::Binary,
        content: Content::File,
        writable: false,
        executable: true,
        address: 0x20_0000,
        size: 0x1000,
        hash: [0; 32],
    });
    let bytes = built(Version::V03, &[("text", data)]);
    assert_eq!(bytes[152..157], [2, 2, 2, 0, 1]);
}

#[test]
fn memory_kinds_keep_their_meaning_across_versions() {
    use MemoryKind::{DeviceTree, KernelInterface};
    assert_eq!(Version::ALL.map(|v| DeviceTree.number(v)), [None, Some(18), Some(18)]);
    assert_eq!(Version::ALL.map(|v| KernelInterface.number(v)), [Some(18), Some(19), Some(19)]);
    for version in Version::ALL {
        for kind in MemoryKind::ALL {
            if let Some(number) = kind.number(version) {
                assert_eq!(MemoryKind::from_number(version, number), Some(kind));
            }
        }
    }
    assert_eq!(MemoryKind::from_number(Version::V03, 19), None);
    assert_eq!(MemoryKind::from_number(Version::V05, 20), None);
}

#[test]
fn devices_are_described_in_version_05_only() {
    let device = Data::Device(Device {
        sid: 0x0010,
        vendor: 0x1af4,
        device: 0x1041,
        class: 0x0200,
        irte_start: 5,
        irq_start: 48,
        irq_count: 2,
        msi: true,
        reset: ResetMethod::Function,
    });
    let bar = Data::DeviceMemory(DeviceMemory {
        sid: 0x0010,
        prefetchable: true,
        wide: true,
        bar_flags: 12,
        bar: 4,
        bar_address: 0xfe00_0000,
        address: 0xe_2000_0000,
        size: 0x4000,
    });
    let port = Data::DevicePort(DevicePort { sid: 0x0010, bar: 0, address: 0x6000, size: 32 });
    let resources = [("nic", device), ("nic_bar4", bar), ("nic_port", port)];
    let bytes = built(Version::V05, &resources);
    assert_eq!(bytes[152..166], [0x10, 0, 0xf4, 0x1a, 0x41, 0x10, 0, 2, 5, 0, 48, 2, 1, 1]);
    let info = SubjectInfo::parse(bytes.as_slice()).unwrap();
    assert_eq!(info.resources().map(|r| (r.name, r.data)).collect::<Vec<_>>(), resources);

    let mut old = [0; SIZE];
    let mut builder = Builder::new(&mut old, Version::V04, "hello", 0).unwrap();
    for (name, data) in &resources {
        assert_eq!(builder.add(name, data), Err(BuildError::NotInVersion));
    }
}

#[test]
fn a_lookup_finds_the_first_of_its_kind() {
    let first = memory(MemoryKind::Channel, 0x1000);
    let bytes = built(
        Version::V05,
        &[("x", Data::Event(7)), ("x", first), ("x", memory(MemoryKind::Channel, 0x2000))],
    );
    let info = SubjectInfo::parse(bytes.as_slice()).unwrap();
    assert_eq!(info.find(ResourceKind::Memory, "x").unwrap().data, first);
    assert_eq!(info.memory("x").unwrap().address, 0x1000);
    assert_eq!(info.event("x"), Some(7));
    assert_eq!(info.find(ResourceKind::Vector, "x"), None);
    assert_eq!(info.event("y"), None);
}

#[test]
fn a_full_table_takes_no_more() {
    let mut bytes = [0; SIZE];
    let mut builder = Builder::new(&mut bytes, Version::V05, "hello", 0).unwrap();
    for _ in 0..MAX_RESOURCES {
        builder.add("event", &Data::Event(1)).unwrap();
    }
    assert_eq!(builder.add("event", &Data::Event(1)), Err(BuildError::Full));
    assert_eq!(SubjectInfo::parse(&bytes).unwrap().resources().count(), MAX_RESOURCES);
}

#[test]
fn names_have_at_most_63_bytes() {
    let longest = "n".repeat(MAX_NAME);
    let too_long = "n".repeat(MAX_NAME + 1);
    let mut bytes = [0; SIZE];
    assert_eq!(Builder::new(&mut bytes, Version::V05, &too_long, 0).unwrap_err(), BuildError::NameTooLong);
    let mut builder = Builder::new(&mut bytes, Version::V05, &longest, 0).unwrap();
    assert_eq!(builder.add(&too_long, &Data::Event(1)), Err(BuildError::NameTooLong));
    builder.add(&longest, &Data::Event(1)).unwrap();
    let info = SubjectInfo::parse(&bytes).unwrap();
    assert_eq!((info.name(), info.event(&longest)), (longest.as_str(), Some(1)));
}

#[test]
fn damaged_bytes_are_refused() {
    let good = built(Version::V05, &[("log", memory(MemoryKind::Channel, 0x1000))]);
    let damaged = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        SubjectInfo::parse(bytes.as_slice()).unwrap_err()
    };
    assert_eq!(SubjectInfo::parse(&good[..79]).unwrap_err(), InfoError::TooShort);
    assert_eq!(SubjectInfo::parse(&good[..207]).unwrap_err(), InfoError::TooShort);
    assert_eq!(damaged(7, 6), InfoError::Magic(0x0600_6f66_6e69_756d));
    assert_eq!(damaged(12, 64), InfoError::SubjectName);
    assert_eq!(damaged(13, 0xff), InfoError::SubjectName);
    assert_eq!(damaged(79, 1), InfoError::TooManyResources(257));
    assert_eq!(damaged(80, 0), InfoError::Resource(0), "kind none");
    assert_eq!(damaged(80, 7), InfoError::Resource(0), "unknown kind");
    assert_eq!(damaged(81, 1), InfoError::Resource(0), "a kind beyond eight bits");
    assert_eq!(damaged(84, 64), InfoError::Resource(0), "length of the name");
    assert_eq!(damaged(152, 20), InfoError::Resource(0), "memory kind");
    assert_eq!(damaged(153, 3), InfoError::Resource(0), "content");
    assert_eq!(damaged(156, 1), InfoError::Resource(0), "fill pattern");
}

#[test]
fn a_program_shows_the_version_it_expects() {
    let code = |version: Version| [&[0x48, 0xb8][..], &version.magic().to_le_bytes(), &[0x90]].concat();
    let (v03, v04, none) = (code(Version::V03), code(Version::V04), vec![0x90; 100]);
    let of = |abi, segments: &[&[u8]]| Version::of_program(abi, segments.iter().copied());
    assert_eq!(of(2, &[&none]), Ok(Version::V03));
    assert_eq!(of(3, &[&none, &v03]), Ok(Version::V03));
    assert_eq!(of(3, &[&v04, &none]), Ok(Version::V04));
    assert_eq!(of(4, &[&none]), Ok(Version::V05));
    assert_eq!(of(3, &[&none]), Err(VersionError::NoMagic));
    assert_eq!(of(3, &[&v03, &v04]), Err(VersionError::SeveralMagics));
    assert_eq!(of(9, &[&v03]), Err(VersionError::UnknownAbi(9)));
}
