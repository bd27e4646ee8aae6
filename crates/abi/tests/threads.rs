//! The channel between two real threads, with the memory that subjects use.

use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::thread;

use palisade_abi::channel::{HEADER_SIZE, Read, Reader, Writer};
use palisade_abi::network_element::{MAX_FRAME, NetworkElement};
use palisade_abi::volatile::Shared;

const FRAMES: u32 = 20_000;

#[test]
fn frames_arrive_whole_and_in_order_however_slow_the_reader_is() {
    let words: Vec<_> =
        (0..(HEADER_SIZE + 8 * size_of::<NetworkElement>()) / 8).map(|_| AtomicU64::new(0)).collect();
    let memory = Shared::from(words.as_slice());
    let mut writer = Writer::start(memory, NonZeroU64::MIN).unwrap();
    let mut reader = Reader::new(memory);
    let mut element = NetworkElement::EMPTY;
    assert_eq!(reader.read(&mut element), Read::EpochChanged);
    thread::scope(|scope| {
        scope.spawn(move || (1..=FRAMES).for_each(|number| writer.write(&frame(number))));
        let mut seen = 0;
        while seen < FRAMES {
            match reader.read(&mut element) {
                Read::Element => {
                    seen += 1;
                    assert_eq!(element, frame(seen), "not the next frame, or not all of it");
                }
                Read::Overrun => seen += reader.drain() as u32,
                other => assert_eq!(other, Read::Nothing),
            }
        }
    });
}

/// A frame whose every byte depends on its number.
fn frame(number: u32) -> NetworkElement {
    let mut bytes = [0; MAX_FRAME];
    for (to, from) in bytes.iter_mut().zip(number.to_le_bytes().into_iter().cycle()) {
        *to = from;
    }
    NetworkElement::new(&bytes).unwrap()
}
