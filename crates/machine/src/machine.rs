//! What to run.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::Network;

/// A machine and the image it boots.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// What it boots.
    pub image: Image<'a>,
    /// Installed memory in bytes. Bochs rounds it up to whole mebibytes.
    pub memory: u64,
    /// Number of CPUs.
    pub cpus: u16,
    /// Who executes the guest's instructions.
    pub accelerator: Accelerator,
    /// Its IOMMU, if it has one.
    pub iommu: Option<Iommu>,
    /// What a reset by the guest does.
    pub on_reset: OnReset,
    /// Its network card, if it has one.
    pub network: Option<Network>,
    /// How long it may run.
    pub limit: Option<Duration>,
}

/// A bootable image.
#[derive(Debug, Clone, Copy)]
pub enum Image<'a> {
    /// A Multiboot kernel, loaded by the emulator itself.
    Kernel(&'a [u8]),
    /// A CD image, loaded by the firmware.
    Iso(&'a [u8]),
}

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accelerator {
    /// The emulator's software CPU: QEMU's is an AMD one with SVM and nested paging, Bochs' an Intel one with VT-x.
    #[default]
    Software,
    /// QEMU's software CPU, without x2APIC mode, in one thread for all CPUs, with a clock that counts instructions: 8 ns each.
    /// The same image runs the same way each time.
    Deterministic,
    /// The computer's own CPU. See [`crate::Emulator::require_nested_svm`].
    Kvm,
}

/// What stands between the machine's devices and its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iommu {
    /// AMD-Vi.
    Amd,
    /// Intel VT-d.
    Intel,
}

/// What a reset by the guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReset {
    /// It ends the run.
    #[default]
    End,
    /// The machine boots again, with its memory as it was.
    BootAgain,
}

impl Image<'_> {
    /// A file in memory with the image.
    pub(crate) fn in_memory(&self) -> io::Result<OwnedFd> {
        let (Self::Kernel(bytes) | Self::Iso(bytes)) = self;
        file_in_memory(bytes)
    }
}

/// A file in memory with these bytes: gone with the last process that has it open.
pub(crate) fn file_in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("palisade-image", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Under which name a process opens its descriptor with this number.
pub(crate) fn path_of(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}
