//! The notes of a unikernel.

/// Target and version of the ABI.
#[repr(C)]
pub struct AbiNote([u32; 3], [u8; 8], [u32; 4]);

impl AbiNote {
    /// Version `version` of the target `muen`.
    #[must_use]
    pub const fn new(version: u32) -> Self {
        Self([6, 16, 0x3149_4241], *b"Solo5\0\0\0", [4, version, 0, 0])
    }
}

/// The manifest: its reserved entry, and one for each device.
#[repr(C)]
pub struct ManifestNote<const ENTRIES: usize>([u32; 3], [u8; 8], [u32; 3], [Entry; ENTRIES]);

/// Name, kind, and what the host fills in.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry([u8; 68], u32, [u32; 8]);

impl<const ENTRIES: usize> ManifestNote<ENTRIES> {
    /// The manifest of a program that wants these network devices. An entry more than devices: the reserved one.
    #[must_use]
    pub const fn networks(names: &[&str]) -> Self {
        assert!(ENTRIES == names.len() + 1);
        let mut entries = [Entry([0; 68], 1 << 30, [0; 8]); ENTRIES];
        let mut device = 0;
        while device < names.len() {
            let (name, entry) = (names[device].as_bytes(), &mut entries[device + 1]);
            entry.1 = 2;
            let mut at = 0;
            while at < name.len() {
                entry.0[at] = name[at];
                at += 1;
            }
            device += 1;
        }
        // The first of the three words before the entries is padding, which the size counts.
        let size = 12 + ENTRIES as u32 * 104;
        Self([6, size, 0x3154_464d], *b"Solo5\0\0\0", [0, 1, ENTRIES as u32], entries)
    }
}

/// A note that means nothing here.
#[repr(C)]
pub struct ForeignNote([u32; 3], [u8; 8], u32);

impl ForeignNote {
    /// The one that lets a program start on OpenBSD.
    pub const OPENBSD: Self = Self([8, 4, 1], *b"OpenBSD\0", 0);
}
