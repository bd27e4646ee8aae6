//! What the fuzzers run.

mod gateway;
mod switch;
mod unikernel;
mod web;

use core::mem::size_of;
use core::sync::atomic::AtomicU64;

use palisade_abi::channel::{ELEMENTS, Element, HEADER_SIZE, Read, Reader};
use palisade_abi::frame_channel::FrameReader;
use palisade_abi::log_element::LogElement;
use palisade_abi::network_element::{MAX_FRAME, NetworkElement};
use palisade_abi::note::ProgramNotes;
use palisade_abi::plan::{
    Header, MAGIC, NONE, Plan, SourceEvent, VERSION, slice, source_action, target_action,
};
use palisade_abi::subject_info::{Builder, SubjectInfo, Version};
use palisade_abi::volatile::{Memory, Shared};
use zerocopy::{FromBytes, IntoBytes};

pub use self::gateway::{gateway_frame, name_query};
pub use self::switch::switch;
pub use self::unikernel::{arguments, opening};
pub use self::web::{accept_encoding, http_path, http_range, http_request, site_archive};
use crate::samples;

/// A function to be run on any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its fuzzer.
    pub name: &'static str,
    /// The function. It panics if the reader breaks a promise.
    pub run: fn(&[u8]),
    /// Valid bytes to begin with.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const ALL: [Target; 14] = [
    Target { name: "subject_info", run: subject_info, samples: samples::subject_infos },
    Target { name: "note", run: note, samples: samples::notes },
    Target { name: "channel_reader", run: channel_reader, samples: samples::channels },
    Target { name: "plan", run: plan, samples: samples::plans },
    Target { name: "arguments", run: unikernel::arguments, samples: unikernel::command_lines },
    Target { name: "opening", run: unikernel::opening, samples: unikernel::frames },
    Target { name: "site_archive", run: site_archive, samples: samples::site_archives },
    Target { name: "http_request", run: http_request, samples: samples::http_requests },
    Target { name: "http_path", run: http_path, samples: samples::http_paths },
    Target { name: "http_range", run: http_range, samples: samples::http_ranges },
    Target { name: "accept_encoding", run: accept_encoding, samples: samples::accept_encodings },
    Target { name: "gateway_frame", run: gateway_frame, samples: gateway::frames },
    Target { name: "name_query", run: name_query, samples: gateway::conversations },
    Target { name: "switch", run: switch, samples: samples::switched },
];

/// A subject info is refused, or everything in it can be read and written again.
pub fn subject_info(bytes: &[u8]) {
    let _ = Version::of_program(3, [bytes]);
    let Ok(info) = SubjectInfo::parse(bytes) else { return };
    let mut again = [0; palisade_abi::layout::SUBJECT_INFO_SIZE as usize];
    let mut builder = Builder::new(&mut again, info.version(), info.name(), info.tsc_khz())
        .expect("a name that was read can be written");
    for resource in info.resources() {
        builder.add(resource.name, &resource.data).expect("a resource that was read can be written");
        let found = info.find(resource.data.kind(), resource.name).expect("a resource is found by its name");
        assert_eq!(found.name, resource.name);
    }
    let again = SubjectInfo::parse(&again).expect("what was written can be read");
    assert!(again.resources().eq(info.resources()));
}

/// Notes are refused, or say something that can be used.
pub fn note(bytes: &[u8]) {
    let mut notes = ProgramNotes::default();
    if notes.add(bytes).is_err() {
        return;
    }
    if let Some(palisade) = notes.palisade {
        assert!(palisade.stack_size != 0 && palisade.stack_size.is_multiple_of(4096));
    }
    if let Some(manifest) = notes.manifest {
        for (device, handle) in manifest.devices().zip(1..64) {
            assert_eq!(device.handle, handle, "no device is skipped");
            assert!((1..=67).contains(&device.name.len()));
        }
    }
}

/// A reader of a channel that its writer changes between any two reads does nothing but what it promises.
///
/// The bytes are the channel, and a list of words to change.
pub fn channel_reader(bytes: &[u8]) {
    read_hostile_channel::<LogElement>(bytes, |element| assert!(!element.text().contains(&0)));
    read_hostile_channel::<NetworkElement>(bytes, |element| {
        let _ = element.frame();
    });
    for buffer in [0, 100, MAX_FRAME] {
        read_hostile_frames(bytes, &mut vec![0; buffer]);
    }
}

/// A plan is refused, or no index in it leads nowhere.
///
/// The bytes are tried as they are, and with what is easily refused put right.
pub fn plan(bytes: &[u8]) {
    // A plan is aligned to 8 bytes.
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    let plan = words.as_mut_bytes();
    for (to, from) in plan.iter_mut().zip(bytes) {
        *to = *from;
    }
    follow_every_index(plan);
    let Ok((mut header, _)) = Header::read_from_prefix(plan) else { return };
    (header.magic, header.version) = (MAGIC, VERSION);
    (header.header_size, header.total_size) = (size_of::<Header>() as u32, plan.len() as u64);
    samples::finish(plan, header);
    follow_every_index(plan);
}

fn read_hostile_channel<E: Element>(bytes: &[u8], check: impl Fn(&E)) {
    let (words, changes) = hostile_channel(bytes, 4 * size_of::<E>());
    let memory = Shared::from(words.as_slice());
    let mut reader = Reader::<_, E>::new(memory);
    let mut element = E::new_zeroed();
    for change in changes {
        for _ in 0..6 {
            match reader.read(&mut element) {
                Read::Element => check(&element),
                Read::Overrun => assert!(reader.drain() != 0, "an overrun loses something"),
                Read::EpochChanged => {
                    let elements = memory.load(ELEMENTS).unwrap_or(0) as usize;
                    assert!((1..=memory.size() / size_of::<E>()).contains(&elements), "a lie is believed");
                }
                Read::Nothing | Read::Inactive | Read::Incompatible => {
                    assert!(!reader.is_ready(), "nobody can sleep");
                }
            }
        }
        apply(&memory, change);
    }
}

fn read_hostile_frames(bytes: &[u8], buffer: &mut [u8]) {
    let (words, changes) = hostile_channel(bytes, 4 * size_of::<NetworkElement>());
    let memory = Shared::from(words.as_slice());
    let mut reader = FrameReader::new(memory);
    for change in changes {
        for _ in 0..6 {
            let before = reader.losses().total();
            let length = reader.read(buffer);
            assert!(length.is_none_or(|length| length <= buffer.len()));
            assert!(reader.losses().total() >= before);
        }
        apply(&memory, change);
    }
}

/// A channel whose slots have `size` bytes or less, and what happens to it.
fn hostile_channel(bytes: &[u8], size: usize) -> (Vec<AtomicU64>, impl Iterator<Item = &[u8; 9]>) {
    let (channel, changes) = bytes.split_at(bytes.len().min(HEADER_SIZE + size));
    let words = channel.as_chunks::<8>().0.iter().map(|w| AtomicU64::new(u64::from_le_bytes(*w))).collect();
    (words, changes.as_chunks::<9>().0.iter().take(100))
}

/// Changes a word: its number, and its new value.
fn apply(memory: &Shared<'_>, [at, value @ ..]: &[u8; 9]) {
    let _ = memory.store(usize::from(*at) * 8, u64::from_le_bytes(*value));
}

fn follow_every_index(bytes: &[u8]) {
    let Ok(plan) = Plan::parse(bytes) else { return };
    let subject = |id: u16| plan.subjects.get(usize::from(id)).expect("a subject that exists");
    let mut scheduled = vec![0; plan.subjects.len()];
    for cpu in plan.cpus {
        assert!(!slice(plan.frames, cpu.first_frame, cpu.frames).is_empty());
    }
    for (partition, number) in plan.partitions.iter().zip(0..) {
        for group in slice(plan.groups, partition.first_group, partition.groups) {
            for member in slice(plan.members, group.first_member, group.members) {
                assert_eq!((subject(*member).cpu, subject(*member).partition), (partition.cpu, number));
                scheduled[usize::from(*member)] += 1;
            }
        }
    }
    assert!(scheduled.iter().all(|times| *times > 0), "a subject never runs");
    let defined = |e: &&SourceEvent| e.action != source_action::UNDEFINED && e.target != NONE;
    for event in plan.source_events.iter().flatten().filter(defined) {
        let target = plan.target_events.get(usize::from(event.target)).expect("a subject that exists");
        assert_ne!(target[usize::from(event.target_event)].action, target_action::UNDEFINED);
    }
    for device in plan.devices {
        subject(device.subject);
        assert_eq!(slice(plan.bars, device.first_bar, device.bars).len(), usize::from(device.bars));
        for entry in slice(plan.msix, device.first_msix, device.msix) {
            subject(plan.interrupts[usize::from(entry.interrupt)].subject);
        }
    }
}
