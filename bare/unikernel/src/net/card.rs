//! The Solo5 network device, as the stack sees it.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// The device, and room for the frame that goes in and the one that goes out.
pub(super) struct Card {
    network: solo5::net::Network,
    input: [u8; LONGEST_FRAME],
    /// Length of the frame in `input` that the stack has not seen.
    fetched: usize,
    output: [u8; LONGEST_FRAME],
}

impl Card {
    pub(super) fn new(network: solo5::net::Network) -> Self {
        Self { network, input: [0; LONGEST_FRAME], fetched: 0, output: [0; LONGEST_FRAME] }
    }

    /// The hardware address.
    pub(super) fn address(&self) -> [u8; 6] {
        self.network.mac()
    }

    /// Reads the next frame, which the stack gets when it asks next. `None` if there is none.
    pub(super) fn fetch(&mut self) -> Option<&[u8]> {
        self.fetched = self.network.read(&mut self.input)?;
        self.input.get(..self.fetched)
    }

    /// Forgets the frame that was fetched.
    pub(super) fn drop_frame(&mut self) {
        self.fetched = 0;
    }

    /// Sleeps until there is a frame, an event arrives, or [`solo5::clock::monotonic`] reaches `deadline`. The other end is
    /// told about what was sent.
    pub(super) fn sleep(&mut self, deadline: u64) {
        solo5::net::wait_until([&mut self.network], deadline);
    }
}

impl Device for Card {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Transmission<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Transmission<'_>)> {
        let fetched = core::mem::take(&mut self.fetched);
        let frame = self.input.get(..fetched).filter(|frame| !frame.is_empty())?;
        Some((Received(frame), Transmission { network: &mut self.network, frame: &mut self.output }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Transmission<'_>> {
        Some(Transmission { network: &mut self.network, frame: &mut self.output })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        // The stack counts the Ethernet header, Solo5 does not.
        capabilities.max_transmission_unit = (self.network.mtu() + ETHERNET_HEADER).min(LONGEST_FRAME);
        capabilities
    }
}

pub(super) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

pub(super) struct Transmission<'a> {
    network: &'a mut solo5::net::Network,
    frame: &'a mut [u8; LONGEST_FRAME],
}

impl TxToken for Transmission<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        // The stack keeps to the length in `capabilities`.
        let frame = self.frame.get_mut(..length).unwrap_or_default();
        let result = write(frame);
        // For the same reason no frame is too long.
        let _ = self.network.write(frame);
        result
    }
}

const ETHERNET_HEADER: usize = 14;
/// The element of a network channel holds no more.
const LONGEST_FRAME: usize = 1514;
