//! Describes the computer that it runs on, under Linux, as a machine file.
//!
//! What is read: the firmware's ACPI tables and memory map, and what Linux tells of the CPUs and the PCI bus under `/sys`
//! and `/proc`. What a machine file must have and cannot be read is a [`Lack`]; what is left out, and why, is a remark.

#![forbid(unsafe_code)]

mod acpi;
mod bytes;
mod file;
mod iommu;
mod lack;
mod memory;
mod pci;
mod processor;
mod tree;

use std::path::Path;

pub use lack::Lack;

use acpi::{Fadt, Madt};
use file::File;
use tree::Tree;

/// A machine file, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The machine file (TOML).
    pub text: String,
    /// What was left out, and why.
    pub remarks: Vec<String>,
}

/// Describes the computer whose file system is at `root`: `/`, or a recorded tree with `sys` and `proc` in it.
///
/// # Errors
/// Everything that a machine file must have and that could not be found out.
pub fn describe(root: &Path) -> Result<Description, Vec<Lack>> {
    let tree = Tree::new(root);
    let mut lacks = Vec::new();
    let mut remarks = Vec::new();
    let mut required = |result: Result<(), Lack>| lacks.extend(result.err());
    let mut file = File::default();

    required(Madt::read(&tree).map(|madt| file.processors = madt));
    required(Fadt::read(&tree).and_then(|fadt| {
        file.power_off = fadt.power_off(&tree)?;
        file.reset = fadt.reset();
        file.pm_timer_port = fadt.pm_timer_port();
        Ok(())
    }));
    required(memory::read(&tree).map(|memory| file.memory = memory));
    file.features = processor::features(&tree);
    match pci::read(&tree) {
        Ok(Some(bus)) => {
            remarks.extend(bus.remarks);
            file.bus = Some((bus.config, bus.window));
            file.devices = bus.devices;
        }
        Ok(None) => {
            remarks.push("there is no PCI bus with memory-mapped configuration: no devices".to_owned())
        }
        Err(lack) => remarks.push(format!("no PCI devices: {lack}; {}", lack.help())),
    }
    match iommu::read(&tree, &file.devices) {
        Ok(found) => {
            let left_out = found.iter().flat_map(|iommu| &iommu.left_out).map(|unit| {
                format!("the IOMMU at {unit:#x} is left out, so devices behind it are not confined: it is not for the first segment of the bus")
            });
            remarks.extend(left_out);
            file.iommu = found;
        }
        Err(why) => remarks.push(format!("the IOMMU is left out, so devices are not confined: {why}")),
    }
    if file.processors.apic_ids.len() > MOST_CPUS {
        let count = file.processors.apic_ids.len();
        remarks.push(format!("of {count} CPUs, the first {MOST_CPUS} are described: a system uses no more"));
        file.processors.apic_ids.truncate(MOST_CPUS);
    }
    if lacks.is_empty() { Ok(Description { text: file.text(), remarks }) } else { Err(lacks) }
}

/// The plan's format has no more.
const MOST_CPUS: usize = 16;
