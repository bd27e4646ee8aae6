//! Where the registers are: the vendor capabilities in the card's PCI configuration (4.1.4).

use palisade_abi::pci::{self, CAPABILITY_VENDOR};

use super::fault::Fault;
use super::registers::{Registers, Window};

/// The three groups of registers that the driver uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<R> {
    /// Features, status, queues.
    pub(super) common: Window<R>,
    /// What is written to here tells the card about new buffers.
    pub(super) notify: Window<R>,
    /// Bytes between the places for two queues.
    pub(super) notify_multiplier: u32,
    /// The network card's own.
    pub(super) device: Window<R>,
}

impl<R: Registers + Copy> Layout<R> {
    /// Reads the capabilities in the configuration page. `bars` are the mapped base address registers.
    ///
    /// Of several places for a group, the first that exists is used: a card offers the one it likes best first (4.1.4.1).
    pub(super) fn read(configuration: &impl Registers, bars: &[Option<R>; BARS]) -> Result<Self, Fault> {
        let (mut common, mut notify, mut device) = (None, None, None);
        for at in vendor_capabilities(configuration) {
            let window = |least| {
                let bar = *bars.get(usize::from(configuration.read_u8(at + CAP_BAR)))?;
                let start = configuration.read_u32(at + CAP_OFFSET);
                let size = configuration.read_u32(at + CAP_LENGTH);
                if size < least { None } else { Window::new(bar?, start.into(), size.into()) }
            };
            match configuration.read_u8(at + CAP_TYPE) {
                TYPE_COMMON if common.is_none() => common = window(COMMON_SIZE),
                TYPE_NOTIFY if notify.is_none() => {
                    let multiplier = configuration.read_u32(at + CAP_MULTIPLIER);
                    notify = window(NOTIFY_SIZE).map(|window| (window, multiplier));
                }
                TYPE_DEVICE if device.is_none() => device = window(DEVICE_SIZE),
                _ => {}
            }
        }
        let (Some(common), Some((notify, notify_multiplier)), Some(device)) = (common, notify, device) else {
            return Err(Fault::NoRegisters);
        };
        Ok(Self { common, notify, notify_multiplier, device })
    }
}

/// The places of the vendor capabilities.
fn vendor_capabilities(configuration: &impl Registers) -> impl Iterator<Item = u64> {
    let all = pci::capabilities(|offset| configuration.read_u32(offset));
    all.filter(|capability| capability.id == CAPABILITY_VENDOR).map(|capability| capability.at)
}

/// Base address registers of a card.
pub const BARS: usize = pci::BARS as usize;

// Fields of a capability (4.1.4).
const CAP_TYPE: u64 = 3;
const CAP_BAR: u64 = 4;
const CAP_OFFSET: u64 = 8;
const CAP_LENGTH: u64 = 12;
const CAP_MULTIPLIER: u64 = 16;
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;
const TYPE_DEVICE: u8 = 4;

// The least that each group must have: all registers the driver uses.
const COMMON_SIZE: u32 = 56;
const NOTIFY_SIZE: u32 = 2;
const DEVICE_SIZE: u32 = 6;
