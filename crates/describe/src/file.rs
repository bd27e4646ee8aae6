//! Writing the machine file.

use std::fmt::Write;

use palisade_abi::needs::Feature;

use crate::acpi::Madt;
use crate::iommu::Iommu;
use crate::memory::Memory;
use crate::pci::{Bar, Device};

/// A write to an I/O port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortWrite {
    pub(crate) port: u16,
    /// In bytes.
    pub(crate) width: u8,
    pub(crate) value: u32,
}

/// What a machine file says.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub(crate) processors: Madt,
    /// Features of the CPUs of which something is known, and whether they are there.
    pub(crate) features: Vec<(Feature, bool)>,
    pub(crate) pm_timer_port: Option<u16>,
    pub(crate) reset: Vec<PortWrite>,
    pub(crate) power_off: Vec<PortWrite>,
    pub(crate) memory: Memory,
    /// Configuration space, and window as (start, size).
    pub(crate) bus: Option<(u64, (u64, u64))>,
    pub(crate) devices: Vec<Device>,
    pub(crate) iommu: Option<Iommu>,
}

impl File {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "# Written by `palisade machine describe` on the machine itself: from its ACPI tables, its memory map and"
        )?;
        writeln!(
            out,
            "# its PCI bus. The log goes to the serial port at 0x3f8, COM1: say `serial_port` if it is another one."
        )?;
        writeln!(out, "cpus = {}", self.processors.apic_ids.len())?;
        writeln!(out, "apic_ids = {:?}", self.processors.apic_ids)?;
        writeln!(out, "local_apic = {}", hexadecimal(self.processors.local_apic))?;
        if let Some(port) = self.pm_timer_port {
            writeln!(out, "pm_timer_port = {port:#x}")?;
        }
        writeln!(out, "reset = {}", port_writes(&self.reset))?;
        writeln!(out, "\n[memory]\ninstalled = {}", size(self.memory.installed))?;
        writeln!(out, "usable = [")?;
        for (start, length) in &self.memory.usable {
            writeln!(out, "  {{ start = {}, size = {} }}, # {start:#x}", size(*start), size(*length))?;
        }
        writeln!(out, "]")?;
        writeln!(
            out,
            "\n# State S5 of ACPI.\n[[power_off]]\nname = \"acpi\"\nwrites = {}",
            port_writes(&self.power_off)
        )?;
        if !self.features.is_empty() {
            writeln!(out, "\n[processor]")?;
        }
        for (feature, there) in &self.features {
            writeln!(out, "{} = {there}", feature.key())?;
        }
        if let Some((config, (start, length))) = self.bus {
            writeln!(out, "\n[pci]\nconfig = {}", hexadecimal(config))?;
            writeln!(out, "window = {{ start = {}, size = {} }}", hexadecimal(start), size(length))?;
        }
        if let Some(Iommu { kind, registers, buses, .. }) = &self.iommu {
            let (table, kind) = (kind.table(), kind.name());
            writeln!(out, "\n# From the table {table}.\n[iommu]\nkind = \"{kind}\"")?;
            let units: Vec<_> = registers.iter().map(|unit| hexadecimal(*unit)).collect();
            match &units[..] {
                [unit] => writeln!(out, "registers = {unit}")?,
                several => writeln!(out, "registers = [{}]", several.join(", "))?,
            }
            if let Some(buses) = buses {
                writeln!(out, "buses = {buses}")?;
            }
        }
        for (number, device) in self.devices.iter().enumerate() {
            let (vendor, id) = device.id;
            writeln!(out, "\n[[device]]\nname = \"net{number}\"\ndriver = \"virtio-net\"")?;
            writeln!(out, "address = \"{}\"\nid = \"{vendor:04x}:{id:04x}\"\nbars = [", device.address)?;
            for bar in &device.bars {
                writeln!(out, "  {},", base_address(bar))?;
            }
            let msix = device.msix;
            let (bar, offset, entries) = (msix.bar, msix.offset, msix.entries);
            writeln!(out, "]\nmsix = {{ bar = {bar}, offset = {offset}, entries = {entries} }}")?;
        }
        Ok(())
    }
}

fn base_address(bar: &Bar) -> String {
    let Bar { index, size: length, address, wide, prefetchable } = *bar;
    let wide = if wide { ", bits = 64" } else { "" };
    let prefetchable = if prefetchable { ", prefetchable = true" } else { "" };
    let (length, address) = (size(length), hexadecimal(address));
    format!("{{ index = {index}, size = {length}, address = {address}{wide}{prefetchable} }}")
}

fn port_writes(writes: &[PortWrite]) -> String {
    let write = |write: &PortWrite| {
        format!("{{ port = {:#x}, width = {}, value = {:#x} }}", write.port, write.width, write.value)
    };
    format!("[{}]", writes.iter().map(write).collect::<Vec<_>>().join(", "))
}

/// In the largest unit that gives a whole number.
fn size(bytes: u64) -> String {
    let units = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "B"));
    format!("\"{} {name}\"", bytes / unit)
}

/// With the digits in groups of four, as machine files have them.
fn hexadecimal(number: u64) -> String {
    let digits = format!("{number:x}");
    let groups: Vec<_> = digits.as_bytes().rchunks(4).rev().map(String::from_utf8_lossy).collect();
    format!("0x{}", groups.join("_"))
}
