//! The network subject: drives the network card, and switches frames between the wire and the unikernels.
//!
//! It waits for interrupts of the card and for events of the unikernels, and for nothing else: when no frame moves, it
//! sleeps.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod configuration;
mod health;

use core::num::NonZeroU64;

use palisade_abi::frame_channel::Overruns;
use palisade_abi::nic_config;
use palisade_abi::volatile::Shared;
use palisade_services::station::address_behind;
use palisade_services::switch::{Address, Exchange, Port, Table};
use palisade_services::text::Text;
use palisade_services::virtio::card::Dma;
use palisade_services::virtio::{Card, Fault};
use solo5::{
    DeviceRegisters, StartInfo, clock, console, cycles, raise_number, registers, shared_memory, sleep,
};

use crate::configuration::{Configuration, ConfigurationBytes};
use crate::health::Health;

solo5::subject!(main, stack = 128 * 1024);

type NetworkCard = Card<DeviceRegisters, Shared<'static>>;
type Switch = Exchange<Shared<'static>, NetworkCard>;

fn main(start: &StartInfo) -> i32 {
    let mut bytes = ConfigurationBytes::new();
    let Some(configuration) = bytes.read() else {
        console::write_line(b"there is no configuration");
        return 1;
    };
    let fault = match start_card(&configuration) {
        Ok(card) => {
            say_hello(card.address(), configuration.ports.len());
            let mut switch = connect(card, &configuration, start.generation);
            run(&mut switch, &configuration)
        }
        Err(fault) => fault,
    };
    console::write_line(Text::<100>::new().str("the card cannot be used: ").str(fault.as_str()).as_bytes());
    1
}

/// Resets the card and starts it.
fn start_card(configuration: &Configuration<'_>) -> Result<NetworkCard, Fault> {
    let page = registers("device_config").ok_or(Fault::NoRegisters)?;
    let bars = BAR_NAMES.map(registers);
    let memory = shared_memory("dma").ok_or(Fault::NoMemory)?;
    let dma = Dma { memory, address: configuration.header.dma_address };
    let deadline = clock::monotonic().saturating_add(RESET_PATIENCE);
    let wait = || {
        sleep::wait_until(clock::monotonic().saturating_add(RESET_POLL));
        clock::monotonic() < deadline
    };
    let open_memory = || raise_number(u64::from(configuration.header.start_event));
    Card::start(&page, &bars, &dma, wait, open_memory)
}

/// A switch between the card and all ports.
fn connect(card: NetworkCard, configuration: &Configuration<'_>, generation: u64) -> Switch {
    let own = card.address().unwrap_or(Address([0; 6]));
    let mut table = Table::new(configuration.ports.len());
    for (number, port) in configuration.ports.iter().enumerate() {
        table.assign(number, Address(address_behind(own.0, port.subject(), port.device())));
    }
    let addresses = core::array::from_fn::<_, { nic_config::MAX_PORTS }, _>(|number| table.address(number));
    let mut switch = Exchange::new(card, table);
    for ((number, record), address) in configuration.ports.iter().enumerate().zip(addresses) {
        match open(number, record, address) {
            Some(mut port) => {
                if generation > 1 {
                    port.skip();
                }
                switch.open(number, port);
                raise_number(u64::from(record.ready_event));
            }
            None => console::write_line(configuration::place(number, record).str(": no channels").as_bytes()),
        }
    }
    switch
}

fn open(number: usize, record: &nic_config::Port, address: Option<Address>) -> Option<Port<Shared<'static>>> {
    let channel = |end| {
        let name = Text::<16>::new().str("port").decimal(number as u64).str(end);
        shared_memory(name.as_str())
    };
    let overruns = if record.recovers == 1 { Overruns::Recovered } else { Overruns::Fatal };
    Port::open(channel("|in")?, channel("|out")?, NonZeroU64::new(cycles())?, address, overruns)
}

/// Moves frames until the card cannot be used any more.
fn run(switch: &mut Switch, configuration: &Configuration<'_>) -> Fault {
    let mut health = Health::new();
    let (mut number, mut unannounced) = (0_u64, 0);
    loop {
        number = number.wrapping_add(1);
        let round = switch.round();
        if let Some(fault) = switch.wire().fault() {
            return fault;
        }
        unannounced |= round.later;
        announce(round.at_once, configuration);
        unannounced &= !round.at_once;
        if !round.busy || number.is_multiple_of(ROUNDS_UNANNOUNCED) {
            announce(core::mem::take(&mut unannounced), configuration);
        }
        if round.at_once != 0 {
            // Who got something goes first: more of what nobody waits for would only be in its way.
            sleep::yield_now();
        }
        if !round.busy || number.is_multiple_of(ROUNDS_UNCHECKED) {
            let checked = health.check(switch, configuration.ports);
            let rested =
                checked.and_then(|deadline| if round.busy { Ok(()) } else { rest(switch, deadline) });
            if let Err(fault) = rested {
                return fault;
            }
        }
    }
}

/// Wakes the unikernels whose ports got frames.
fn announce(delivered: u32, configuration: &Configuration<'_>) {
    for (number, port) in configuration.ports.iter().enumerate() {
        if delivered >> number & 1 != 0 {
            raise_number(u64::from(port.ready_event));
        }
    }
}

/// Sleeps until there is something to do, but not beyond `deadline`.
fn rest(switch: &mut Switch, deadline: Option<u64>) -> Result<(), Fault> {
    if !switch.wire().arm() && !switch.is_ready() {
        match deadline {
            Some(deadline) => sleep::wait_until(deadline),
            None => sleep::wait(),
        }
        // The card raises its interrupt also when it cannot go on. The register that says so is slow: it is read when there
        // is no other reason to be awake.
        if !switch.is_ready() && switch.wire().needs_reset() {
            return Err(Fault::NeedsReset);
        }
    }
    switch.wire().disarm();
    Ok(())
}

fn say_hello(address: Option<Address>, ports: usize) {
    let line = Text::<80>::new().str("virtio-net ");
    let line = match address {
        Some(address) => line.str(address.text().as_str()),
        None => line.str("without an address"),
    };
    let line = line.str(", ").decimal(ports as u64).str(if ports == 1 { " port" } else { " ports" });
    console::write_line(line.as_bytes());
}

/// Names of the card's registers, by their base address register.
const BAR_NAMES: [&str; 6] =
    ["device_bar0", "device_bar1", "device_bar2", "device_bar3", "device_bar4", "device_bar5"];

/// How long a reset may take, and how often the card is asked, in nanoseconds.
const RESET_PATIENCE: u64 = 1_000_000_000;
const RESET_POLL: u64 = 1_000_000;
/// Most rounds after which unikernels learn what they got, and after which counters and losses are looked at.
const ROUNDS_UNANNOUNCED: u64 = 16;
const ROUNDS_UNCHECKED: u64 = 256;
