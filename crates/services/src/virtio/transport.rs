//! Start and stop of the card, and its queues, through its registers (3.1 and 4.1.4.3).

use super::fault::Fault;
use super::features::{Features, bit};
use super::pci::{BARS, Layout};
use super::queue::Place;
use super::registers::Registers;
use crate::switch::Address;

/// The card's registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transport<R> {
    layout: Layout<R>,
}

impl<R: Registers + Copy> Transport<R> {
    /// Finds the registers.
    pub(super) fn find(configuration: &impl Registers, bars: &[Option<R>; BARS]) -> Result<Self, Fault> {
        Ok(Self { layout: Layout::read(configuration, bars)? })
    }

    /// Resets the card: then it has no queue and touches no memory. `wait` lets some time pass, and says whether more may.
    pub(super) fn reset(&self, mut wait: impl FnMut() -> bool) -> Result<(), Fault> {
        self.set_status(0);
        // The reset is over when the status reads 0 (4.1.4.3.2).
        while self.status() != 0 {
            if !wait() {
                return Err(Fault::NoReset);
            }
        }
        Ok(())
    }

    /// Agrees with the card on the features to use.
    pub(super) fn negotiate(&self) -> Result<Features, Fault> {
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        let features = Features::of_offered(self.offered()).ok_or(Fault::Legacy)?;
        for (half, value) in [(0, features.bits()), (1, features.bits() >> 32)] {
            self.layout.common.write_u32(DRIVER_FEATURE_SELECT, half);
            self.layout.common.write_u32(DRIVER_FEATURE, value as u32);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if self.status() & FEATURES_OK == 0 { Err(Fault::FeaturesRefused) } else { Ok(features) }
    }

    /// The most entries of a queue.
    pub(super) fn queue_limit(&self, queue: u16) -> u16 {
        self.layout.common.write_u16(QUEUE_SELECT, queue);
        self.layout.common.read_u16(QUEUE_SIZE)
    }

    /// Gives the card a queue of `size` entries at `place`, and the MSI-X entry for its interrupts. Returns where it wants
    /// to be told about new buffers.
    pub(super) fn set_up_queue(
        &self,
        queue: u16,
        size: u16,
        place: &Place,
        vector: u16,
    ) -> Result<Doorbell, Fault> {
        let common = &self.layout.common;
        common.write_u16(QUEUE_SELECT, queue);
        common.write_u16(QUEUE_SIZE, size);
        common.write_u16(QUEUE_VECTOR, vector);
        // A card that cannot give the interrupt says so here (4.1.5.1.2).
        if common.read_u16(QUEUE_VECTOR) != vector {
            return Err(Fault::NoInterrupt);
        }
        for (register, address) in [
            (QUEUE_DESCRIPTORS, place.descriptors),
            (QUEUE_AVAILABLE, place.available),
            (QUEUE_USED, place.used),
        ] {
            common.write_u32(register, address as u32);
            common.write_u32(register + 4, (address >> 32) as u32);
        }
        let index = u64::from(common.read_u16(QUEUE_NOTIFY_OFFSET));
        let offset = index * u64::from(self.layout.notify_multiplier);
        if offset % 2 != 0 || offset + 2 > self.layout.notify.size() {
            return Err(Fault::NoRegisters);
        }
        common.write_u16(QUEUE_ENABLE, 1);
        Ok(Doorbell { offset, queue })
    }

    /// Has the card work, with the MSI-X entry `vector` for interrupts about itself: it may need a reset.
    pub(super) fn start(&self, vector: u16) {
        self.layout.common.write_u16(CONFIGURATION_VECTOR, vector);
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Tells the card that a queue has new buffers.
    ///
    /// On this processor a write to uncached memory is not executed before writes to other memory that come before it
    /// (Intel SDM volume 3, 9.2.2; AMD APM volume 2, 7.4.2), so the card finds the buffers.
    pub(super) fn ring(&self, doorbell: Doorbell) {
        self.layout.notify.write_u16(doorbell.offset, doorbell.queue);
    }

    /// Whether the card says that it cannot go on.
    pub(super) fn needs_reset(&self) -> bool {
        self.status() & NEEDS_RESET != 0
    }

    /// The card's MAC address.
    pub(super) fn address(&self, features: Features) -> Option<Address> {
        if !features.has(bit::MAC) {
            return None;
        }
        let mut address = Address([0; 6]);
        for _ in 0..CONSISTENT_READS {
            let before = self.layout.common.read_u8(CONFIGURATION_GENERATION);
            for (byte, offset) in address.0.iter_mut().zip(0..) {
                *byte = self.layout.device.read_u8(offset);
            }
            // Several registers were read; another generation means that they changed between (2.5.1).
            if self.layout.common.read_u8(CONFIGURATION_GENERATION) == before {
                break;
            }
        }
        Some(address).filter(|address| address.is_station())
    }

    fn offered(&self) -> u64 {
        let half = |half| {
            self.layout.common.write_u32(DEVICE_FEATURE_SELECT, half);
            u64::from(self.layout.common.read_u32(DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn status(&self) -> u8 {
        self.layout.common.read_u8(STATUS)
    }

    fn set_status(&self, status: u8) {
        self.layout.common.write_u8(STATUS, status);
    }
}

/// Where a card wants to be told about the new buffers of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doorbell {
    offset: u64,
    queue: u16,
}

/// A card whose configuration changes more often than this is not waited for.
const CONSISTENT_READS: u32 = 8;

// Common registers (4.1.4.3).
const DEVICE_FEATURE_SELECT: u64 = 0;
const DEVICE_FEATURE: u64 = 4;
const DRIVER_FEATURE_SELECT: u64 = 8;
const DRIVER_FEATURE: u64 = 12;
const CONFIGURATION_VECTOR: u64 = 16;
const STATUS: u64 = 20;
const CONFIGURATION_GENERATION: u64 = 21;
const QUEUE_SELECT: u64 = 22;
const QUEUE_SIZE: u64 = 24;
const QUEUE_VECTOR: u64 = 26;
const QUEUE_ENABLE: u64 = 28;
const QUEUE_NOTIFY_OFFSET: u64 = 30;
const QUEUE_DESCRIPTORS: u64 = 32;
const QUEUE_AVAILABLE: u64 = 40;
const QUEUE_USED: u64 = 48;

// Bits of the status (2.1).
const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;
