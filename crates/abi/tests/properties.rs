//! What holds for all values: everything written is read back, and no bytes whatever make a reader fail.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;

use palisade_abi::channel::{Read, Reader, Writer};
use palisade_abi::crash::{Crash, NO_SUBJECT, Record, Registers};
use palisade_abi::layout::{BOOT_INFO_SIZE, MAX_COMMAND_LINE, SUBJECT_INFO_SIZE};
use palisade_abi::log_element::{LogBuffer, LogElement, TEXT_SIZE};
use palisade_abi::note::{DeviceKind, ManifestNote, ProgramNotes};
use palisade_abi::subject_info::{
    Builder, Content, Data, Device, DeviceMemory, DevicePort, MemoryKind, MemoryResource, ResetMethod,
    SubjectInfo, Version,
};
use palisade_abi::time_info::clock_shift;
use palisade_abi::volatile::{Memory, Shared};
use palisade_abi::{boot_info, init_table};
use palisade_fuzz_targets::{samples, targets};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::IntoBytes;

proptest! {
    #[test]
    fn no_bytes_make_a_reader_fail(bytes in vec(any::<u8>(), 0..2000)) {
        for target in targets::ALL {
            (target.run)(&bytes);
        }
    }

    #[test]
    fn no_plan_with_a_changed_word_makes_its_reader_fail(
        full in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value in word(),
    ) {
        let plans = samples::plans();
        let mut plan = plans[full.index(plans.len())].clone();
        let at = at.index(plan.len() / 2) * 2;
        plan[at..at + 2].copy_from_slice(&value.to_le_bytes());
        targets::plan(&plan);
    }

    #[test]
    fn a_subject_info_says_what_it_was_told(
        version in prop::sample::select(&Version::ALL[..]), subject in name(), tsc_khz: u32,
        resources in vec((name(), data()), 0..20),
    ) {
        let mut bytes = [0; SUBJECT_INFO_SIZE as usize];
        let mut builder = Builder::new(&mut bytes, version, &subject, tsc_khz).unwrap();
        let told: Vec<_> =
            resources.iter().filter(|(name, data)| builder.add(name, data).is_ok()).cloned().collect();
        let info = SubjectInfo::parse(&bytes).unwrap();
        prop_assert_eq!((info.version(), info.name(), info.tsc_khz()), (version, subject.as_str(), tsc_khz));
        let said: Vec<_> = info.resources().map(|r| (r.name.to_owned(), r.data)).collect();
        prop_assert_eq!(said, told);
    }

    #[test]
    fn a_manifest_lists_the_devices_it_was_made_of(first in "[a-z]{1,33}", second in "[A-Z]{1,67}") {
        let bytes: Vec<u8> =
            ManifestNote::new([(&first, DeviceKind::Block), (&second, DeviceKind::Network)]).bytes().collect();
        let mut notes = ProgramNotes::default();
        notes.add(&bytes).unwrap();
        let devices: Vec<_> = notes.manifest.unwrap().devices().map(|d| (d.name, d.kind)).collect();
        prop_assert_eq!(devices, [(first.as_str(), DeviceKind::Block), (second.as_str(), DeviceKind::Network)]);
    }

    #[test]
    fn a_channel_is_a_queue_that_forgets(slots in 1_u64..5, steps in vec(step(), 0..100)) {
        let words: Vec<_> = (0..8 * (1 + slots)).map(|_| AtomicU64::new(0)).collect();
        let mut writer = Writer::start(Shared::from(words.as_slice()), NonZeroU64::MIN).unwrap();
        let mut reader = Reader::<_, LogElement>::new(Shared::from(words.as_slice()));
        let (mut queue, mut epoch, mut new_epoch) = (VecDeque::new(), NonZeroU64::MIN, true);
        for (number, step) in (0..).zip(steps) {
            let mut element = LogElement::EMPTY;
            match step {
                Step::Write => {
                    writer.write(&LogElement { timestamp: number, ..LogElement::EMPTY });
                    queue.push_back(number);
                }
                Step::NewEpoch => {
                    epoch = epoch.checked_add(1).unwrap();
                    writer.begin_epoch(epoch);
                    (queue, new_epoch) = (VecDeque::new(), true);
                }
                Step::Read if new_epoch => {
                    prop_assert_eq!(reader.read(&mut element), Read::EpochChanged);
                    new_epoch = false;
                }
                Step::Read if queue.len() as u64 > slots => {
                    prop_assert_eq!(reader.read(&mut element), Read::Overrun);
                    prop_assert_eq!(reader.drain(), queue.len() as u64);
                    queue.clear();
                }
                Step::Read => match queue.pop_front() {
                    Some(expected) => {
                        prop_assert_eq!(reader.read(&mut element), Read::Element);
                        prop_assert_eq!(element.timestamp, expected);
                    }
                    None => prop_assert_eq!(reader.read(&mut element), Read::Nothing),
                },
            }
            prop_assert_eq!(reader.is_ready(), new_epoch || !queue.is_empty());
        }
    }

    #[test]
    fn what_is_copied_in_comes_out_and_the_rest_stays(offset in 0_usize..64, bytes in vec(any::<u8>(), 0..64)) {
        let words = [const { AtomicU64::new(u64::MAX) }; 16];
        let memory = Shared::from(words.as_slice());
        prop_assert_eq!(memory.copy_in(offset, &bytes), Some(()));
        let mut all = [0; 128];
        prop_assert_eq!(memory.copy_out(0, &mut all), Some(()));
        let mut expected = [0xff; 128];
        expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
        prop_assert_eq!(all, expected);
        let mut out = vec![0; bytes.len()];
        prop_assert_eq!(memory.copy_out(offset, &mut out), Some(()));
        prop_assert_eq!(out, bytes);
    }

    #[test]
    fn a_log_loses_nothing_but_nul_and_carriage_return(text in vec(any::<u8>(), 0..300)) {
        let mut buffer = LogBuffer::new();
        let mut elements: Vec<LogElement> = text.iter().filter_map(|b| buffer.push(*b, 0)).collect();
        elements.extend(buffer.flush(0));
        let logged: Vec<u8> = elements.iter().flat_map(|e| e.text().to_vec()).collect();
        let expected: Vec<u8> = text.into_iter().filter(|b| !matches!(b, 0 | b'\r')).collect();
        prop_assert_eq!(logged, expected);
        for element in elements {
            prop_assert!((1..=TEXT_SIZE).contains(&element.text().len()));
            prop_assert!(!element.text().split_last().unwrap().1.contains(&b'\n'), "a newline inside");
        }
    }

    #[test]
    fn a_command_line_arrives_as_it_was_given(line in "\\PC{0,4000}") {
        let mut region = [0; BOOT_INFO_SIZE as usize];
        let written = boot_info::write(&mut region, 1, 2, &line);
        prop_assert_eq!(written.is_ok(), line.len() < MAX_COMMAND_LINE);
        if written.is_ok() {
            prop_assert_eq!(boot_info::read(&region).unwrap().1, line.as_bytes());
        }
    }

    #[test]
    fn an_init_table_survives_the_round_trip(entry: u64, ranges in vec(any::<(u64, u64, u64, u8)>(), 0..20)) {
        let operations: Vec<_> = ranges
            .into_iter()
            .map(|(to, from, size, fill)| init_table::Operation { destination: to, source: from, size, fill: fill.into() })
            .collect();
        let mut words = vec![0_u64; init_table::size(operations.len()) / 8];
        prop_assert_eq!(init_table::write(words.as_mut_bytes(), entry, &operations), Some(()));
        prop_assert_eq!(init_table::parse(words.as_bytes()), Some((entry, operations.as_slice())));
    }

    #[test]
    fn a_crash_survives_a_reset(before: u64, reason: u32, rip: u64, boots in 1..5) {
        let words: Vec<_> = (0..512).map(|_| AtomicU64::new(before)).collect();
        let memory = Shared::from(words.as_slice());
        for _ in 0..boots {
            Record::count_boot(&memory).unwrap();
        }
        let registers = Registers { rip, ..Registers::default() };
        let crash = Crash { reason, subject: NO_SUBJECT, registers, ..Crash::default() };
        prop_assert_eq!(Record::record_crash(&memory, &crash), Some(()));
        let next = Record::count_boot(&memory).unwrap();
        prop_assert_eq!(next.crash_of_previous_boot(), Some(&crash));
    }

    #[test]
    fn every_clock_is_shifted_just_above_the_limit(hz in 1..u64::MAX) {
        let shift = clock_shift(hz);
        prop_assert!(u128::from(hz) << shift > 1_000_000_000);
        prop_assert!(shift == 0 || hz << (shift - 1) <= 1_000_000_000);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write,
    Read,
    NewEpoch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![5 => Just(Step::Write), 5 => Just(Step::Read), 1 => Just(Step::NewEpoch)]
}

fn name() -> impl Strategy<Value = String> {
    "\\PC{0,15}"
}

/// Numbers near the limits of indices, and any others.
fn word() -> impl Strategy<Value = u16> {
    prop_oneof![0_u16..5, 60_u16..70, Just(u16::MAX), any::<u16>()]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        memory().prop_map(Data::Memory),
        any::<u8>().prop_map(Data::Event),
        any::<u8>().prop_map(Data::Vector),
        any::<([u16; 5], [u8; 2], bool)>().prop_map(
            |([sid, vendor, device, class, irte_start], [irq_start, irq_count], msi)| {
                let reset = if msi { ResetMethod::Function } else { ResetMethod::Bus };
                Data::Device(Device {
                    sid,
                    vendor,
                    device,
                    class,
                    irte_start,
                    irq_start,
                    irq_count,
                    msi,
                    reset,
                })
            }
        ),
        any::<(u16, [bool; 2], [u8; 2], [u64; 3])>().prop_map(
            |(sid, [prefetchable, wide], [bar_flags, bar], [bar_address, address, size])| {
                Data::DeviceMemory(DeviceMemory {
                    sid,
                    prefetchable,
                    wide,
                    bar_flags,
                    bar,
                    bar_address,
                    address,
                    size,
                })
            }
        ),
        any::<(u8, [u16; 3])>().prop_map(|(bar, [sid, address, size])| Data::DevicePort(DevicePort {
            sid,
            bar,
            address,
            size
        })),
    ]
}

fn memory() -> impl Strategy<Value = MemoryResource> {
    let content =
        prop_oneof![Just(Content::Uninitialized), any::<u8>().prop_map(Content::Fill), Just(Content::File)];
    let kind = prop::sample::select(&MemoryKind::ALL[..]);
    (kind, content, any::<[bool; 2]>(), any::<[u64; 2]>(), any::<[u8; 32]>()).prop_map(
        |(kind, content, [writable, executable], [address, size], hash)| MemoryResource {
            kind,
            content,
            writable,
            executable,
            address,
            size,
            hash,
        },
    )
}
