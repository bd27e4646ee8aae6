//! Valid bytes of every format that is read from others.

mod plan;
mod web;

use core::num::NonZeroU64;
use core::sync::atomic::AtomicU64;

use palisade_abi::channel::Writer;
use palisade_abi::layout::SUBJECT_INFO_SIZE;
use palisade_abi::log_element::LogElement;
use palisade_abi::note::{AbiNote, DeviceKind, ManifestNote, PalisadeNote};
use palisade_abi::subject_info::{
    Builder, Content, Data, Device, DeviceMemory, DevicePort, MemoryKind, MemoryResource, ResetMethod,
    Version,
};
use palisade_abi::volatile::Shared;
use zerocopy::IntoBytes;

pub use self::plan::Tables;
pub(crate) use self::plan::finish;
pub use self::web::{accept_encodings, http_paths, http_ranges, http_requests, site_archives};
pub(crate) use self::web::{finish_archive, site};

/// A subject info of each version.
#[must_use]
pub fn subject_infos() -> Vec<Vec<u8>> {
    Version::ALL.into_iter().map(subject_info).collect()
}

/// Note segments.
#[must_use]
pub fn notes() -> Vec<Vec<u8>> {
    let manifest = ManifestNote::new([("service", DeviceKind::Network), ("disk", DeviceKind::Block)]);
    let manifest: Vec<u8> = manifest.bytes().collect();
    let (abi, palisade) = (AbiNote::muen(4), PalisadeNote::new(0x1_0000));
    let all = [abi.as_bytes(), &manifest, palisade.as_bytes()].concat();
    vec![abi.as_bytes().to_vec(), manifest, palisade.as_bytes().to_vec(), all]
}

/// Plans: a small one, and one with everything.
#[must_use]
pub fn plans() -> Vec<Vec<u8>> {
    vec![Tables::small().to_bytes(), Tables::full().to_bytes()]
}

/// Channels with log elements: one that was just started, one in use, one that has overrun a new reader. Behind each are
/// changes that a hostile writer makes to its words.
#[must_use]
pub fn channels() -> Vec<Vec<u8>> {
    [0, 3, 9].into_iter().map(channel).collect()
}

/// Frames for the switch: each port says who it is, then all talk.
#[must_use]
pub fn switched() -> Vec<Vec<u8>> {
    vec![[0, 1, 4, 1, 1, 5, 2, 3, 6, 4, 4, 9, 0, 5, 4, 5, 0, 0].repeat(4)]
}

fn subject_info(version: Version) -> Vec<u8> {
    let mut bytes = [0; SUBJECT_INFO_SIZE as usize];
    let channel = MemoryResource {
        kind: MemoryKind::Channel,
        content: Content::Fill(0),
        writable: true,
        executable: false,
        address: 0xe_1000_0000,
        size: 0x4_0000,
        hash: [0; 32],
    };
    let text =
        MemoryResource { kind: MemoryKind::Binary, content: Content::File, executable: true, ..channel };
    let mut resources = vec![
        ("debuglog", Data::Memory(channel)),
        ("text", Data::Memory(text)),
        ("solo5_exit", Data::Event(5)),
        ("nic", Data::Vector(0x31)),
    ];
    if version == Version::V05 {
        resources.extend(device());
    }
    let used = 80 + 128 * resources.len();
    let mut builder = Builder::new(&mut bytes, version, "hello", 2_000_000).expect("the name is short");
    for (name, data) in &resources {
        builder.add(name, data).expect("the version knows all of them");
    }
    // The end of the region is zeros: a mutation there would change nothing.
    bytes[..used].to_vec()
}

fn device() -> [(&'static str, Data); 3] {
    let sid = 0x0010;
    let device = Device {
        sid,
        vendor: 0x1af4,
        device: 0x1041,
        class: 0x0200,
        irte_start: 1,
        irq_start: 48,
        irq_count: 2,
        msi: true,
        reset: ResetMethod::Function,
    };
    let memory = DeviceMemory {
        sid,
        prefetchable: true,
        wide: true,
        bar_flags: 12,
        bar: 4,
        bar_address: 0xfe00_0000,
        address: 0xe_2000_0000,
        size: 0x4000,
    };
    let port = DevicePort { sid, bar: 0, address: 0x6000, size: 32 };
    [
        ("nic", Data::Device(device)),
        ("nic_bar4", Data::DeviceMemory(memory)),
        ("nic_io", Data::DevicePort(port)),
    ]
}

fn channel(written: u64) -> Vec<u8> {
    let words: Vec<AtomicU64> = (0..(64 + 4 * 64) / 8).map(|_| AtomicU64::new(0)).collect();
    let mut writer = Writer::start(Shared::from(words.as_slice()), NonZeroU64::MIN)
        .expect("there is room for four elements");
    for number in 0..written {
        writer.write(&LogElement { timestamp: number, text: [b'a'; 56] });
    }
    let channel = words.into_iter().flat_map(|w| w.into_inner().to_le_bytes());
    channel.chain((0..=u8::MAX).cycle().take(90)).collect()
}
