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

/// The manifest: its reserved entry only.
#[repr(C)]
pub struct ManifestNote([u32; 3], [u8; 8], [u32; 3], [u8; 68], u32, [u32; 8]);

impl ManifestNote {
    /// No device. The first of the three words behind the name is padding, which the size counts.
    pub const EMPTY: Self =
        Self([6, 12 + 104, 0x3154_464d], *b"Solo5\0\0\0", [0, 1, 1], [0; 68], 1 << 30, [0; 8]);
}

/// A note that means nothing here.
#[repr(C)]
pub struct ForeignNote([u32; 3], [u8; 8], u32);

impl ForeignNote {
    /// The one that lets a program start on OpenBSD.
    pub const OPENBSD: Self = Self([8, 4, 1], *b"OpenBSD\0", 0);
}
