//! The network driver: its device, the memory it shares with it, and its configuration.

use palisade_abi::layout::{DEVICES, DMA, PAGE};
use palisade_abi::nic_config::{Header, MAGIC, Port};
use palisade_abi::plan::padded;
use zerocopy::{FromZeros, IntoBytes};

use super::channels::{next_address, port_name};
use super::events::{START_DEVICE, SubjectEvents, signal_name};
use super::memory::{OutOfMemory, Volatile};
use crate::plan::{Device, DeviceInterrupt};
use crate::system::{self, System, input_name, output_name};

/// The devices of the system, each with the memory that it shares with its driver.
pub(super) fn devices(system: &System, volatile: &mut Volatile) -> Result<Vec<Device>, OutOfMemory> {
    let machine = system.machine.as_ref().map(|machine| &machine.value.machine);
    let pci = machine.and_then(|machine| machine.pci);
    let (Some(nic), Some(card), Some(pci)) = (system.nic(), system.network_card(), pci) else {
        return Ok(Vec::new());
    };
    let owner = format!("{}: dma", system.subjects[nic].name.value);
    let dma = volatile.kept_at(DMA_SIZE, DMA, &owner)?;
    Ok(vec![Device {
        hardware: card.clone(),
        subject: nic as u16,
        config: pci.config + u64::from(card.bdf) * PAGE,
        interrupts: vec![DeviceInterrupt { host_vector: FIRST_HOST_VECTOR, guest_vector: 0 }],
        dma: vec![(DMA, dma, DMA_SIZE)],
    }])
}

/// A part of a device in its driver's address space.
pub(super) struct Part {
    /// Name of the resource.
    pub(super) name: String,
    /// Index of the base address register, or `None` for the configuration page.
    pub(super) bar: Option<u8>,
    /// Guest address.
    pub(super) address: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Physical address.
    pub(super) phys: u64,
}

/// What a driver sees of its device: the configuration page, then the registers; never those with the MSI-X table, by
/// which anything could be written anywhere. Each is followed by an unmapped page.
pub(super) fn parts(device: &Device) -> Vec<Part> {
    let table = device.hardware.msix.map(|msix| msix.bar);
    let bars = device.hardware.bars.iter().filter(|bar| Some(bar.index) != table);
    let bars = bars.map(|bar| (format!("device_bar{}", bar.index), Some(bar.index), bar.size, bar.address));
    let mut next = DEVICES;
    let config = ("device_config".to_owned(), None, PAGE, device.config);
    let place = |(name, bar, size, phys): (String, Option<u8>, u64, u64)| {
        let address = next_address(next, size);
        next = address + size + PAGE;
        Part { name, bar, address, size, phys }
    };
    [config].into_iter().chain(bars).map(place).collect()
}

/// The driver's configuration: its device, and a record for every port. `channel` tells where the driver has the channel
/// with a resource name: guest address and bytes.
pub(super) fn config(
    system: &System,
    device: &Device,
    events: &SubjectEvents,
    channel: impl Fn(&str) -> (u64, u64),
) -> Vec<u8> {
    let ports = system.ports();
    let (dma, phys, dma_size) = device.dma.first().copied().unwrap_or_default();
    let is_confined = system.machine.as_ref().is_some_and(|machine| machine.value.machine.iommu.is_some());
    let mut header = Header {
        magic: MAGIC,
        ports: ports.len() as u32,
        start_event: events.source(START_DEVICE).unwrap_or_default(),
        dma,
        dma_size,
        dma_address: if is_confined { dma } else { phys },
        ..Header::new_zeroed()
    };
    for part in parts(device) {
        match part.bar.map(usize::from) {
            None => header.device_config = part.address,
            Some(bar) => (header.bars[bar], header.bar_sizes[bar]) = (part.address, part.size),
        }
    }
    let record = |(number, port): (usize, &system::Port<'_>)| {
        let name = port_name(number);
        let subject = &system.subjects[port.subject];
        let (input, input_size) = channel(&input_name(&name));
        let (output, output_size) = channel(&output_name(&name));
        Port {
            subject: padded(&subject.name.value),
            device: padded(port.device),
            ready_event: events.source(&signal_name(&name)).unwrap_or_default(),
            recovers: u8::from(subject.program.as_ref().is_some_and(|program| program.native.is_some())),
            reserved: 0,
            input,
            input_size,
            output,
            output_size,
        }
    };
    let records: Vec<Port> = ports.iter().enumerate().map(record).collect();
    [header.as_bytes(), records.as_bytes()].concat()
}

/// Bytes that a driver shares with its device.
pub(crate) const DMA_SIZE: u64 = 4 << 20;
/// The kernel keeps the vectors below, and its timer's above, for itself.
const FIRST_HOST_VECTOR: u8 = 0x30;
