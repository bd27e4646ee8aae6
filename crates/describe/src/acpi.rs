//! The firmware's ACPI tables (ACPI Specification 6.5, chapter 5).

use crate::Lack;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::file::PortWrite;
use crate::tree::Tree;

/// Multiple APIC description table: the CPUs (section 5.2.12).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Madt {
    /// Address of every CPU's local APIC.
    pub(crate) local_apic: u64,
    /// Identifiers of the CPUs that are there, the first one first.
    pub(crate) apic_ids: Vec<u32>,
}

impl Madt {
    pub(crate) fn read(tree: &Tree<'_>) -> Result<Self, Lack> {
        const WHAT: &str = "the CPUs";
        let table = Table::read(tree, "APIC", WHAT)?;
        let mut madt = Self { local_apic: u64::from(table.u32(36).unwrap_or(0)), apic_ids: Vec::new() };
        let mut at = 44;
        while let (Some(kind), Some(length)) = (table.u8(at), table.u8(at + 1)) {
            let (id, flags) = match kind {
                LOCAL_APIC => (table.u8(at + 3).map(u32::from), table.u32(at + 4)),
                LOCAL_X2APIC => (table.u32(at + 4), table.u32(at + 8)),
                LOCAL_APIC_ADDRESS => {
                    madt.local_apic = table.u64(at + 4).unwrap_or(madt.local_apic);
                    (None, None)
                }
                _ => (None, None),
            };
            if let (Some(id), Some(true)) = (id, flags.map(|flags| flags & ENABLED != 0)) {
                madt.apic_ids.push(id);
            }
            // An entry is never shorter than its head.
            at += usize::from(length.max(2));
        }
        if madt.apic_ids.is_empty() { Err(table.unusable("names no CPU")) } else { Ok(madt) }
    }
}

/// Fixed ACPI description table: power-off, reset, timer (section 5.2.9).
pub(crate) struct Fadt<'a>(Table<'a>);

impl<'a> Fadt<'a> {
    pub(crate) fn read(tree: &'a Tree<'a>) -> Result<Self, Lack> {
        Table::read(tree, "FACP", POWER_OFF).map(Self)
    }

    /// The writes that put the machine to sleep for good: state S5 in the control registers of both event blocks
    /// (section 4.8.3.2). Which value that is, only the object `_S5` says (section 7.4.2).
    pub(crate) fn power_off(&self, tree: &Tree<'_>) -> Result<Vec<PortWrite>, Lack> {
        let table = &self.0;
        let control = [64, 68]
            .map(|at| table.u32(at).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0));
        let hardware_reduced = table.u32(112).is_some_and(|flags| flags & HARDWARE_REDUCED != 0);
        let [Some(first), second] = control else {
            return Err(table.unusable(if hardware_reduced {
                "describes reduced hardware, which has no port for it"
            } else {
                "names no port for it"
            }));
        };
        let types = std::iter::once("DSDT".to_owned())
            .chain(secondary_tables(tree))
            .find_map(|name| sleep_types(&tree.bytes(&format!("{TABLES}/{name}"), POWER_OFF).ok()?));
        let Some(types) = types else {
            Table::read(tree, "DSDT", POWER_OFF)?;
            return Err(tree.unusable(&format!("{TABLES}/DSDT"), POWER_OFF, "has no plain object _S5"));
        };
        let write = |port, sleep_type: u8| PortWrite {
            port,
            width: 2,
            value: u32::from(sleep_type & 7) << 10 | SLEEP_ENABLE,
        };
        Ok([Some((first, types[0])), second.map(|port| (port, types[1]))]
            .into_iter()
            .flatten()
            .map(|(port, sleep_type)| write(port, sleep_type))
            .collect())
    }

    /// The write that resets the machine, if the table names a port for it (section 4.8.3.6); else the two for the register
    /// that chipsets have had since the first ones for PCI.
    pub(crate) fn reset(&self) -> Vec<PortWrite> {
        let table = &self.0;
        let supported = table.u32(112).is_some_and(|flags| flags & RESET_SUPPORTED != 0);
        let port = table.u64(120).and_then(|address| u16::try_from(address).ok());
        match (supported, table.u8(116), port, table.u8(128)) {
            (true, Some(PORT_SPACE), Some(port), Some(value)) => {
                vec![PortWrite { port, width: 1, value: u32::from(value) }]
            }
            _ => [2, 6].map(|value| PortWrite { port: 0xcf9, width: 1, value }).into(),
        }
    }

    /// The port of the power-management timer, if there is one (section 4.8.3.3).
    pub(crate) fn pm_timer_port(&self) -> Option<u16> {
        u16::try_from(self.0.u32(76)?).ok().filter(|port| *port != 0)
    }
}

/// Address of the memory-mapped configuration space of bus 0 (PCI Firmware Specification 3.3, section 4.1.2).
pub(crate) fn configuration_space(tree: &Tree<'_>) -> Result<Option<u64>, Lack> {
    let table = match Table::read(tree, "MCFG", "the PCI bus") {
        Err(Lack::Missing { .. }) => return Ok(None),
        table => table?,
    };
    let entries = (44..table.bytes.len()).step_by(16);
    let is_first = |at: &usize| table.u16(at + 8) == Some(0) && table.u8(at + 10) == Some(0);
    Ok(entries.filter(is_first).find_map(|at| table.u64(at)))
}

/// A table whose checksum is right.
pub(crate) struct Table<'a> {
    tree: &'a Tree<'a>,
    path: String,
    what: &'static str,
    /// All of it, with its head.
    pub(crate) bytes: Vec<u8>,
}

impl<'a> Table<'a> {
    pub(crate) fn read(tree: &'a Tree<'a>, name: &str, what: &'static str) -> Result<Self, Lack> {
        let path = format!("{TABLES}/{name}");
        let mut table = Self { bytes: tree.bytes(&path, what)?, tree, path, what };
        let length = table.u32(4).map_or(0, |length| length as usize);
        if length < HEAD || length > table.bytes.len() {
            return Err(table.unusable("is cut off"));
        }
        table.bytes.truncate(length);
        if table.bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            return Err(table.unusable("has a wrong checksum"));
        }
        Ok(table)
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        u16_at(&self.bytes, at)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        u32_at(&self.bytes, at)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        u64_at(&self.bytes, at)
    }

    fn unusable(&self, why: &str) -> Lack {
        self.tree.unusable(&self.path, self.what, why)
    }
}

fn secondary_tables(tree: &Tree<'_>) -> Vec<String> {
    tree.names(TABLES).into_iter().filter(|name| name.starts_with("SSDT")).collect()
}

/// The two values in `Name (_S5_, Package () { a, b, .. })`. Its bytes are those of section 20.2.5: the name, the opcode of a
/// package, its length in one to four bytes, the number of its elements, and constants.
fn sleep_types(table: &[u8]) -> Option<[u8; 2]> {
    let name = table.windows(4).position(|window| window == b"_S5_")?;
    let [PACKAGE, rest @ ..] = table.get(name + 4..)? else { return None };
    let more_length = usize::from(*rest.first()? >> 6);
    let mut elements = rest.get(1 + more_length + 1..)?;
    let mut constant = || match elements {
        [0x0a, value, rest @ ..] => {
            elements = rest;
            Some(*value)
        }
        [value @ (0 | 1), rest @ ..] => {
            elements = rest;
            Some(*value)
        }
        _ => None,
    };
    Some([constant()?, constant()?])
}

const TABLES: &str = "sys/firmware/acpi/tables";
const POWER_OFF: &str = "how to power off";
/// Bytes that every table begins with.
const HEAD: usize = 36;
/// Kinds of entries of the MADT.
const LOCAL_APIC: u8 = 0;
const LOCAL_APIC_ADDRESS: u8 = 5;
const LOCAL_X2APIC: u8 = 9;
const ENABLED: u32 = 1;
/// Flags of the FADT.
const RESET_SUPPORTED: u32 = 1 << 10;
const HARDWARE_REDUCED: u32 = 1 << 20;
/// An address in the I/O ports.
const PORT_SPACE: u8 = 1;
/// The bit of the control register that makes the machine sleep.
const SLEEP_ENABLE: u32 = 1 << 13;
const PACKAGE: u8 = 0x12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_types_are_found_in_packages_of_both_forms() {
        let package =
            |length: &[u8], elements: &[u8]| [b"\x08_S5_\x12", length, &[4], elements, b"other"].concat();
        assert_eq!(sleep_types(&package(&[8], &[0x0a, 5, 0x0a, 7, 0, 0])), Some([5, 7]));
        assert_eq!(sleep_types(&package(&[0x48, 0], &[0, 1, 0, 0])), Some([0, 1]));
        assert_eq!(sleep_types(b"\x08_S5_\x0a\x05"), None, "no package");
        assert_eq!(sleep_types(b"\x08_S5_\x12\x08\x04"), None, "cut off");
        assert_eq!(sleep_types(b"_S4_"), None);
    }
}
