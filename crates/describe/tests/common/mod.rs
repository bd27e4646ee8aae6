//! Recorded trees: what Linux shows of a computer, as far as a machine file comes from it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A recorded tree.
pub struct Recorded(TempDir);

impl Recorded {
    /// QEMU's q35 machine with SeaBIOS, 512 MiB, two CPUs and one virtio network card.
    pub fn q35() -> Self {
        let tree = Self(TempDir::new().expect("there is room for a tree"));
        tree.table("APIC", &q35_madt());
        tree.table("FACP", &q35_fadt());
        // Name (_S5_, Package () { 0, 0, 0, 0 })
        tree.table("DSDT", b"\x08_S5_\x12\x06\x04\0\0\0\0");
        tree.table(
            "MCFG",
            &[&[0; 8][..], &0xb000_0000_u64.to_le_bytes(), &[0, 0, 0, 0xff, 0, 0, 0, 0]].concat(),
        );
        let ranges: [(u64, u64, &str); 5] = [
            (0, 0x9_fbff, "System RAM"),
            (0x9_fc00, 0x9_ffff, "Reserved"),
            (0x10_0000, 0x1ffd_efff, "System RAM"),
            (0x1ffd_f000, 0x1fff_ffff, "Reserved"),
            (0xb000_0000, 0xbfff_ffff, "Reserved"),
        ];
        for (number, (first, last, kind)) in ranges.into_iter().enumerate() {
            let path = format!("sys/firmware/memmap/{number}");
            tree.write(&format!("{path}/start"), format!("{first:#x}\n"));
            tree.write(&format!("{path}/end"), format!("{last:#x}\n"));
            tree.write(&format!("{path}/type"), format!("{kind}\n"));
        }
        tree.write(
            "proc/iomem",
            "00000000-00000fff : Reserved\n000a0000-000bffff : PCI Bus 0000:00\n00100000-1ffdefff : System RAM\n  \
             01000000-02209000 : Kernel code\nb0000000-bfffffff : PCI ECAM 0000 [bus 00-ff]\n\
             c0000000-febfffff : PCI Bus 0000:00\nfec00000-fec003ff : IOAPIC 0\n",
        );
        tree.write("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu nx svm npt xsave\n\n".repeat(2));
        tree.device("0000:00:00.0", (0x8086, 0x29c0), &[], None);
        let card = [(1, 0xfebf_e000_u64, 0x1000, 0x4_0200), (4, 0xfebf_8000, 0x4000, 0x14_220c)];
        tree.device("0000:00:03.0", (0x1af4, 0x1041), &card, Some((1, 0, 4)));
        tree
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes an ACPI table with this name; `body` follows the common head.
    pub fn table(&self, name: &str, body: &[u8]) {
        let mut bytes = [name.as_bytes(), &(36 + body.len() as u32).to_le_bytes(), &[1, 0]].concat();
        bytes.extend(b"BOCHS BXPC    ");
        bytes.resize(36, 1);
        bytes.extend(body);
        bytes[9] = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        self.write(&format!("sys/firmware/acpi/tables/{name}"), bytes);
    }

    /// Writes a device: its base address registers (number, address, size, flags), and its MSI-X table (register, offset,
    /// entries).
    pub fn device(
        &self,
        name: &str,
        (vendor, device): (u16, u16),
        bars: &[(usize, u64, u64, u64)],
        msix: Option<(u8, u32, u16)>,
    ) {
        let path = format!("sys/bus/pci/devices/{name}");
        let mut config = vec![0; 256];
        if let Some((bar, offset, entries)) = msix {
            (config[6], config[0x34]) = (0x10, 0x40);
            // A capability of another kind first.
            config[0x40..0x42].copy_from_slice(&[9, 0x84]);
            config[0x84] = 0x11;
            config[0x86..0x88].copy_from_slice(&(entries - 1).to_le_bytes());
            config[0x88..0x8c].copy_from_slice(&(offset | u32::from(bar)).to_le_bytes());
        }
        self.write(&format!("{path}/config"), config);
        self.write(&format!("{path}/vendor"), format!("{vendor:#06x}\n"));
        self.write(&format!("{path}/device"), format!("{device:#06x}\n"));
        let line = |number| match bars.iter().find(|(index, ..)| *index == number) {
            Some((_, address, size, flags)) => {
                format!("{address:#018x} {:#018x} {flags:#018x}\n", address + size - 1)
            }
            None => format!("{0:#018x} {0:#018x} {0:#018x}\n", 0),
        };
        self.write(&format!("{path}/resource"), (0..13).map(line).collect::<String>());
    }

    /// Writes any file of it.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("there is room for a tree");
        fs::write(&path, bytes).expect("there is room for a tree");
    }

    /// Removes a file or directory of it.
    pub fn remove(&self, path: &str) {
        let path = self.path().join(path);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("it was there");
    }
}

/// Two CPUs as local APICs, a third place that is empty, an I/O APIC.
fn q35_madt() -> Vec<u8> {
    let mut body = [0xfee0_0000_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    for (number, enabled) in [(0, 1), (1, 1), (2, 0)] {
        body.extend([0, 8, number, number, enabled, 0, 0, 0]);
    }
    body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    body
}

/// Offsets are those of the whole table, less its head.
fn q35_fadt() -> Vec<u8> {
    let mut body = vec![0; 244 - 36];
    let mut set = |at: usize, bytes: &[u8]| body[at - 36..at - 36 + bytes.len()].copy_from_slice(bytes);
    set(64, &0x604_u32.to_le_bytes());
    set(76, &0x608_u32.to_le_bytes());
    set(112, &(1_u32 << 10).to_le_bytes());
    set(116, &[1, 8, 0, 1]);
    set(120, &0xcf9_u64.to_le_bytes());
    set(128, &[0x0f]);
    body
}

/// Behind the head of QEMU 10.0's table DMAR, with `-device intel-iommu,intremap=on,aw-bits=48` and a network card at 00:03.0: one
/// unit, the I/O APIC behind it, and every function by its address.
#[rustfmt::skip]
pub const QEMU_DMAR: &[u8] = &[
    0x2f, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0,
    3, 8, 0, 0, 0, 0xff, 0, 0,
    1, 8, 0, 0, 0, 0, 0, 0,
    1, 8, 0, 0, 0, 0, 3, 0,
    1, 8, 0, 0, 0, 0, 0x1f, 0,
    1, 8, 0, 0, 0, 0, 0x1f, 2,
    1, 8, 0, 0, 0, 0, 0x1f, 3,
];

/// Behind the head of QEMU 10.0's table IVRS, with `-device amd-iommu,intremap=on,pt=off` and the same card: one unit in a structure
/// of the first kind and again in one of the second.
#[rustfmt::skip]
pub const QEMU_IVRS: &[u8] = &[
    1, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x10, 0xd1, 0x38, 0, 8, 0, 0x40, 0, 0, 0, 0xd8, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0x44, 0, 0, 0,
    2, 0, 0, 0,
    2, 8, 0, 0,
    2, 0x18, 0, 0,
    2, 0xf8, 0, 0,
    2, 0xfa, 0, 0,
    2, 0xfb, 0, 0,
    0x48, 0, 0, 0, 0, 0xa0, 0, 1,
    0x11, 0x11, 0x48, 0, 8, 0, 0x40, 0, 0, 0, 0xd8, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xd3, 0x29, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 0, 0,
    2, 8, 0, 0,
    2, 0x18, 0, 0,
    2, 0xf8, 0, 0,
    2, 0xfa, 0, 0,
    2, 0xfb, 0, 0,
    0x48, 0, 0, 0, 0, 0xa0, 0, 1,
];
