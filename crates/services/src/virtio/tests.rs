//! The driver against a card that keeps its promises, and against one that does not.

mod fake;

use palisade_abi::network_element::MAX_FRAME;
use palisade_abi::volatile::{Memory, Shared};

use self::fake::{
    ACCESS_PLATFORM, ADDRESS, Bar, Configuration, DMA_ADDRESS, EVENT_INDEX, Fake, MAC, VERSION_1,
};
use super::card::Dma;
use super::{Card, Fault};
use crate::switch::{Loss, Wire};

type TestCard<'a> = Card<Bar<'a>, Shared<'a>>;

fn start(fake: &Fake) -> Result<TestCard<'_>, Fault> {
    let dma = Dma { memory: fake.shared(), address: DMA_ADDRESS };
    let bars = [None, None, None, None, Some(Bar(fake)), None];
    let mut patience = 10;
    let wait = || {
        patience -= 1;
        patience > 0
    };
    Card::start(&Configuration(fake), &bars, &dma, wait, || {
        assert_eq!(fake.statuses.borrow().as_slice(), [0], "it was reset, and nothing else was done");
        fake.memory_is_open.set(true);
    })
}

/// A card with all the memory that it can use.
fn large() -> Fake {
    Fake::new(2 << 20)
}

fn receive(card: &mut TestCard<'_>) -> Option<Result<Vec<u8>, Loss>> {
    let mut frame = [0; MAX_FRAME];
    let received = card.receive(&mut frame)?;
    Some(received.map(|length| frame[..length].to_vec()))
}

#[test]
fn a_card_is_reset_then_reaches_memory_then_works() {
    let fake = large();
    let card = start(&fake).unwrap();
    assert_eq!(fake.statuses.borrow().as_slice(), [0, 1, 3, 11, 15]);
    assert_eq!(fake.accepted.get(), MAC | EVENT_INDEX | VERSION_1 | ACCESS_PLATFORM, "no offload");
    assert_eq!(card.address().map(|address| address.0), Some(ADDRESS));
    assert_eq!(fake.bells.borrow().as_slice(), [0], "it is told about the buffers for frames that arrive");
    assert!(!card.needs_reset());
}

#[test]
fn frames_of_every_length_go_both_ways() {
    for offered in [VERSION_1, VERSION_1 | EVENT_INDEX] {
        let fake = large();
        fake.offered.set(offered);
        let mut card = start(&fake).unwrap();
        assert_eq!(card.address(), None);
        for length in (0..=MAX_FRAME).chain([60; 1000]) {
            let frame: Vec<u8> = (0..length).map(|at| at as u8 ^ length as u8).collect();
            assert!(fake.deliver(&frame));
            assert_eq!(receive(&mut card), Some(Ok(frame.clone())));
            assert_eq!(receive(&mut card), None);
            card.send(&frame, 0);
            card.flush();
            assert_eq!(fake.transmit(), [frame]);
        }
        assert_eq!(card.fault(), None);
    }
}

#[test]
fn every_buffer_is_used_and_none_is_lost() {
    let fake = large();
    let mut card = start(&fake).unwrap();
    for round in 0..5 {
        for number in 0..256_u16 {
            assert!(fake.deliver(&number.to_le_bytes()), "round {round}");
        }
        assert!(!fake.deliver(b"one too many"));
        for number in 0..256_u16 {
            assert_eq!(receive(&mut card), Some(Ok(number.to_le_bytes().to_vec())));
        }
        assert_eq!(card.room(), 256);
        for number in 0..300_u16 {
            card.send(&number.to_le_bytes(), 0);
        }
        assert_eq!(card.room(), 0);
        card.flush();
        assert_eq!(fake.transmit().len(), 256);
        assert!(card.room() > 0);
    }
}

#[test]
fn a_frame_that_arrives_when_the_driver_goes_to_sleep_interrupts_it_or_is_seen() {
    for offered in [VERSION_1, VERSION_1 | EVENT_INDEX] {
        let fake = large();
        fake.offered.set(offered);
        let mut card = start(&fake).unwrap();
        for _ in 0..70_000 {
            assert!(!card.arm());
            fake.interrupts.set(0);
            assert!(fake.deliver(b"wake up"));
            assert_eq!(fake.interrupts.get(), 1);
            card.disarm();
            assert!(fake.deliver(b"while it is busy"));
            assert!(card.arm(), "and this one is seen");
            while receive(&mut card).is_some() {}
            card.flush();
        }
    }
}

#[test]
fn a_busy_driver_is_not_interrupted_and_tells_a_busy_card_nothing() {
    let fake = large();
    let mut card = start(&fake).unwrap();
    assert!(!card.arm());
    fake.bells.borrow_mut().clear();
    for _ in 0..100 {
        assert!(fake.deliver(b"x"));
        card.send(b"y", 0);
        card.flush();
    }
    assert_eq!(fake.interrupts.get(), 1, "the first frame");
    assert_eq!(fake.bells.borrow().as_slice(), [1], "the first frame to send");
    assert_eq!(fake.transmit().len(), 100);
    card.send(b"z", 0);
    card.flush();
    assert_eq!(fake.bells.borrow().as_slice(), [1, 1], "the card had nothing to do any more");
}

#[test]
fn a_full_card_interrupts_when_it_has_room_again() {
    let fake = large();
    let mut card = start(&fake).unwrap();
    (0..256).for_each(|_| card.send(b"x", 0));
    card.flush();
    assert!(!card.arm());
    assert_eq!(fake.interrupts.get(), 0);
    assert_eq!(fake.transmit().len(), 256);
    assert_eq!(fake.interrupts.get(), 1);
    assert_eq!(card.room(), 256);
}

#[test]
fn a_card_that_returns_what_it_does_not_have_is_not_used_any_more() {
    let lies: [fn(&Fake); 5] = [
        |fake| fake.put(0, 256, 60),
        |fake| fake.put(0, u32::MAX, 60),
        |fake| fake.set_used(0, 257),
        |fake| fake.set_used(0, u16::MAX),
        |fake| {
            assert!(fake.deliver(b"once"));
            fake.put(0, 0, 60);
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let fake = large();
        let mut card = start(&fake).unwrap();
        lie(&fake);
        for _ in 0..3 {
            // The frame that is there before the lie can come; with the buffer lent again, so can the one that is none.
            let _ = receive(&mut card);
            fake.put(0, 300, 0);
        }
        assert_eq!(card.fault(), Some(Fault::ForeignBuffer), "lie {number}");
        assert_eq!((receive(&mut card), card.has_received(), card.room()), (None, false, 0));
    }
}

#[test]
fn a_card_that_says_it_sent_what_it_was_not_given_is_not_used_any_more() {
    let fake = large();
    let mut card = start(&fake).unwrap();
    (0..200).for_each(|_| card.send(b"x", 0));
    card.flush();
    fake.put(1, 0, 0);
    assert_eq!(card.room(), 0);
    assert_eq!(card.fault(), Some(Fault::ForeignBuffer), "buffer 0 is sent last");
}

#[test]
fn lengths_that_no_frame_has_are_lost_frames() {
    let fake = large();
    let mut card = start(&fake).unwrap();
    for length in [0, 11, 12 + 1515, 2049, u32::MAX] {
        let (buffer, ..) = fake.take(0).unwrap();
        fake.put(0, buffer.into(), length);
        assert_eq!(receive(&mut card), Some(Err(Loss::Length)), "{length}");
    }
    assert_eq!(card.fault(), None);
}

#[test]
fn a_card_that_does_not_start_is_refused_with_the_reason() {
    type Spoil = fn(&Fake);
    let reasons: [(Spoil, Fault); 9] = [
        (|fake| fake.reset_takes.set(1000), Fault::NoReset),
        (|fake| fake.offered.set(MAC | EVENT_INDEX), Fault::Legacy),
        (|fake| fake.refused_status.set(8), Fault::FeaturesRefused),
        (|fake| fake.queue_limit.set(0), Fault::NoQueue),
        (|fake| fake.queue_limit.set(255), Fault::NoQueue),
        (|fake| fake.refuses_vectors.set(true), Fault::NoInterrupt),
        (|fake| fake.notify_offset.set(0x400), Fault::NoRegisters),
        (|fake| fake.configuration.borrow_mut()[0x06] = 0, Fault::NoRegisters),
        (|fake| fake.configuration.borrow_mut().fill(0xff), Fault::NoRegisters),
    ];
    for (number, (spoil, reason)) in reasons.into_iter().enumerate() {
        let fake = large();
        spoil(&fake);
        assert_eq!(start(&fake).err(), Some(reason), "reason {number}");
    }
}

#[test]
fn registers_outside_the_card_are_not_believed() {
    // Bar, offset and length of the common, the notification and the card's own registers.
    for capability in [0x40, 0x70, 0x60] {
        let spoils: [(usize, &[u8]); 6] = [
            (4, &[1]),
            (4, &[6]),
            (4, &[0xff]),
            (8, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (8, &[0, 0x38, 0, 0]),
            (12, &[1, 0, 0, 0]),
        ];
        for (field, bytes) in spoils {
            let fake = large();
            fake.configuration.borrow_mut()[capability + field..][..bytes.len()].copy_from_slice(bytes);
            assert_eq!(start(&fake).err(), Some(Fault::NoRegisters), "{capability:#x} {field} {bytes:?}");
        }
    }
}

#[test]
fn a_list_of_capabilities_that_bites_its_tail_ends() {
    let fake = large();
    fake.configuration.borrow_mut()[0x41] = 0x98;
    assert!(start(&fake).is_ok());
    fake.configuration.borrow_mut()[0x99] = 0x98;
    assert_eq!(start(&fake).err(), Some(Fault::NoRegisters));
}

#[test]
fn little_memory_means_small_queues() {
    for (memory, buffers) in [(0x10_4000, 256), (0x10_3000, 128), (0x1_0000, 8), (0x6000, 2)] {
        let fake = Fake::new(memory);
        let mut card = start(&fake).unwrap();
        assert_eq!(card.room(), buffers);
        let mut delivered = 0;
        while fake.deliver(b"x") {
            delivered += 1;
        }
        assert_eq!(delivered, buffers);
    }
    for memory in [0, 0x2000, 0x4000] {
        assert_eq!(start(&Fake::new(memory)).err(), Some(Fault::NoMemory));
    }
}

#[test]
fn nothing_is_written_outside_the_memory_of_the_card() {
    let fake = large();
    let mut card = start(&fake).unwrap();
    (0..300).for_each(|_| card.send(&[1; MAX_FRAME], 0));
    card.send(&[1; MAX_FRAME + 1], 0);
    card.flush();
    let sent = fake.transmit();
    assert_eq!(sent.len(), 256);
    assert!(sent.iter().all(|frame| frame.len() == MAX_FRAME));
    assert_eq!(fake.shared().load((2 << 20) - 8), Some(0x5a5a_5a5a_5a5a_5a5a));
}
