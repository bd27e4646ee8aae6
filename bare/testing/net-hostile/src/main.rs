//! Lies to the network behind its device `service`: in its frames, in their elements, and in the channel that carries them.
//!
//! - `frames VICTIM`: sends frames that must not arrive, also with the address of the unikernel VICTIM. Which that is, it
//!   works out as the driver does, from the address of the emulator's network card. It settles on an address of its own
//!   first, so each frame is wrong for one reason.
//! - `channel`: sets every field of the channel's header to what it must not be.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::num::NonZeroU64;

use palisade_abi::channel::{
    ELEMENT_SIZE, ELEMENTS, EPOCH, PROTOCOL, TRANSPORT, WRITER_STARTED, WRITTEN, Writer,
};
use palisade_abi::network_element::{LENGTH, NetworkElement};
use palisade_abi::volatile::{Memory, Shared};
use palisade_services::station::address_behind;
use solo5::{Event, StartInfo, clock, cycles, println, shared_memory, sleep};

solo5::unikernel!(main, networks = ["service"]);

fn main(start: &StartInfo) -> i32 {
    let (Some(memory), Some(ready)) = (shared_memory("service|out"), Event::named("service|out_ready"))
    else {
        println!("there is no network device `service`");
        return 1;
    };
    let Some(network) = Liar::start(memory, ready) else { return 1 };
    let mut arguments = start.arguments();
    match (arguments.next(), arguments.next()) {
        (Some("frames"), Some(victim)) => lie_in_frames(network, victim),
        (Some("channel"), None) => network.lie_in_the_header(memory),
        _ => return 1,
    }
    println!("done");
    0
}

fn lie_in_frames(mut network: Liar, victim: &str) {
    network.repeat(1, |network| network.send(BROADCAST, OWN, 60));
    network.repeat(3, |network| network.send(BROADCAST, OTHER, 60));
    let address = address_behind(CARD, victim, "service");
    network.repeat(4, |network| network.send(BROADCAST, address, 60));
    network.repeat(5, |network| network.send(BROADCAST, BROADCAST, 60));
    network.repeat(2, |network| network.send(OWN, OWN, 60));
    network.repeat(6, |network| network.send(PAUSE, OWN, 60));
    for length in [0, 13, 1515, 0x8000, u16::MAX] {
        network.send(BROADCAST, OWN, length);
    }
    network.settle();
}

/// A writer of whatever elements.
struct Liar {
    writer: Writer<Shared<'static>, NetworkElement>,
    ready: Event,
}

impl Liar {
    fn start(memory: Shared<'static>, ready: Event) -> Option<Self> {
        Some(Self { writer: Writer::start(memory, NonZeroU64::new(cycles())?)?, ready })
    }

    fn send(&mut self, destination: [u8; 6], source: [u8; 6], length: u16) {
        self.writer.write_with(|slot| {
            slot.copy_in(0, &destination)?;
            slot.copy_in(6, &source)?;
            slot.copy_in(LENGTH, &length.to_le_bytes())
        });
    }

    fn repeat(&mut self, times: u32, action: impl Fn(&mut Self)) {
        (0..times).for_each(|_| action(self));
        self.settle();
    }

    /// Gives the other end time to look.
    fn settle(&self) {
        self.ready.raise();
        sleep::until(clock::monotonic() + 50 * MILLISECOND);
    }

    /// Sets every field of the header to values that are wrong, extreme, or in motion.
    fn lie_in_the_header(&self, memory: Shared<'_>) {
        for field in [TRANSPORT, PROTOCOL, ELEMENT_SIZE, ELEMENTS, WRITER_STARTED, WRITTEN] {
            let truth = memory.load(field).unwrap_or(0);
            for lie in [0, 1, 1516, 1 << 31, 1 << 63, u64::MAX, truth.wrapping_sub(1)] {
                let _ = memory.store(field, lie);
                let _ = memory.store(EPOCH, cycles());
                self.ready.raise();
                sleep::until(clock::monotonic() + MILLISECOND);
            }
            let _ = memory.store(field, truth);
        }
        let restless = clock::monotonic() + 200 * MILLISECOND;
        while clock::monotonic() < restless {
            let _ = memory.store(EPOCH, cycles());
            let _ = memory.store(WRITTEN, cycles());
            self.ready.raise();
        }
    }
}

/// The address of the emulator's first network card.
const CARD: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BROADCAST: [u8; 6] = [0xff; 6];
const PAUSE: [u8; 6] = [1, 0x80, 0xc2, 0, 0, 1];
const MILLISECOND: u64 = 1_000_000;
