//! Devices: their records in the plan, and the pages through which the kernel sets them up.

use palisade_abi::layout::PAGE;
use palisade_abi::pci::MSIX_ENTRY_SIZE;
use palisade_abi::plan::{self as abi, NONE, bar_flags, device_stop, padded};
use palisade_policy::plan::{Bar, Device, Plan};

use crate::error::PackError;

/// The records of all devices, as the kernel reads them.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) interrupts: Vec<abi::Interrupt>,
    pub(crate) devices: Vec<abi::Device>,
    pub(crate) bars: Vec<abi::Bar>,
    pub(crate) msix: Vec<abi::MsixEntry>,
}

impl Records {
    /// The records of a plan's devices.
    pub(crate) fn of(plan: &Plan) -> Result<Self, PackError> {
        let mut records = Self::default();
        for device in &plan.devices {
            records.add(device, plan.machine.iommu.is_some())?;
        }
        Ok(records)
    }

    fn add(&mut self, device: &Device, remapped: bool) -> Result<(), PackError> {
        let hardware = &device.hardware;
        self.devices.push(abi::Device {
            name: padded(&hardware.name),
            bdf: hardware.bdf,
            vendor: hardware.vendor,
            device: hardware.device,
            subject: device.subject,
            first_bar: self.bars.len() as u16,
            bars: hardware.bars.len() as u16,
            first_msix: self.msix.len() as u16,
            msix: device.interrupts.len() as u16,
            config: device.config,
            stop: device_stop::BUS_MASTER,
            reserved: 0,
        });
        self.bars.extend(hardware.bars.iter().map(bar_record));
        for (interrupt, address) in device.interrupts.iter().zip(msix_addresses(device)?) {
            let index = self.interrupts.len() as u16;
            self.msix.push(abi::MsixEntry { address, interrupt: index, ..Default::default() });
            self.interrupts.push(abi::Interrupt {
                host_vector: interrupt.host_vector,
                guest_vector: interrupt.guest_vector,
                subject: device.subject,
                iommu: if remapped { 0 } else { NONE },
                remap_index: if remapped { index } else { 0 },
                pin: NONE,
                mode: 0,
                reserved: 0,
            });
        }
        Ok(())
    }
}

/// A page of a device that the kernel itself reads and writes.
pub(crate) struct KernelPage {
    /// Physical address.
    pub(crate) address: u64,
    /// Whose page it is, and what it is for.
    pub(crate) name: String,
}

/// The pages of devices that the kernel reaches on a CPU: configuration and MSI-X table of the devices whose drivers run
/// there. (At boot, when it sets up all of them, it does not use these tables yet.)
pub(crate) fn kernel_pages(plan: &Plan, cpu: usize) -> Result<Vec<KernelPage>, PackError> {
    let mut pages = Vec::new();
    for device in &plan.devices {
        let driver = plan.subjects.get(usize::from(device.subject));
        if driver.is_none_or(|subject| usize::from(subject.cpu) != cpu) {
            continue;
        }
        let name = &device.hardware.name;
        pages.push(KernelPage { address: device.config, name: format!("{name}: configuration") });
        let mut tables: Vec<u64> = msix_addresses(device)?.map(|entry| entry / PAGE * PAGE).collect();
        tables.dedup();
        pages.extend(
            tables.into_iter().map(|address| KernelPage { address, name: format!("{name}: MSI-X table") }),
        );
    }
    Ok(pages)
}

fn bar_record(bar: &Bar) -> abi::Bar {
    let wide = if bar.wide { bar_flags::WIDE } else { 0 };
    let prefetchable = if bar.prefetchable { bar_flags::PREFETCHABLE } else { 0 };
    abi::Bar {
        address: bar.address,
        size: bar.size,
        index: bar.index,
        flags: bar_flags::MOVABLE | wide | prefetchable,
        reserved: [0; 6],
    }
}

/// Physical addresses of the entries of a device's MSI-X table that are in use, which are its first ones.
fn msix_addresses(device: &Device) -> Result<impl Iterator<Item = u64>, PackError> {
    let refuse = |problem: &str| PackError::device(&device.hardware.name, problem);
    let used = device.interrupts.len() as u64;
    let table = match (used, device.hardware.msix) {
        (0, _) => 0,
        (_, None) => return Err(refuse("it has interrupts, but no MSI-X table")),
        (_, Some(msix)) => {
            let bar = device.hardware.bars.iter().find(|bar| bar.index == msix.bar);
            let bar = bar.ok_or_else(|| refuse("the base address register of its MSI-X table is missing"))?;
            let end = msix.offset.saturating_add(u64::from(msix.entries) * MSIX_ENTRY_SIZE);
            if used > u64::from(msix.entries) || end > bar.size {
                return Err(refuse("its interrupts do not fit its MSI-X table"));
            }
            bar.address.saturating_add(msix.offset)
        }
    };
    Ok((0..used).map(move |entry| table.saturating_add(entry * MSIX_ENTRY_SIZE)))
}
