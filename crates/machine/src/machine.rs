//! What to run, and the emulator's arguments for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::{Network, control};

/// A machine and the image it boots.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// What it boots.
    pub image: Image<'a>,
    /// Installed memory in bytes.
    pub memory: u64,
    /// Number of CPUs.
    pub cpus: u16,
    /// Who executes the guest's instructions.
    pub accelerator: Accelerator,
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
    /// QEMU's software CPU, an AMD one with SVM and nested paging.
    #[default]
    Software,
    /// The computer's own CPU. See [`crate::Emulator::require_nested_svm`].
    Kvm,
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

/// The descriptors that the emulator gets.
pub(crate) struct Descriptors {
    pub(crate) serial: OwnedFd,
    pub(crate) console: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) image: OwnedFd,
}

impl Machine<'_> {
    /// A file in memory with the image: gone with the last process that has it open.
    pub(crate) fn image_in_memory(&self) -> io::Result<OwnedFd> {
        let (Image::Kernel(bytes) | Image::Iso(bytes)) = self.image;
        let file = memfd_create("palisade-image", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(file);
        file.write_all(bytes)?;
        Ok(file.into())
    }

    /// The arguments. The CPUs wait for [`control::CONTINUE`].
    pub(crate) fn arguments(&self, descriptors: &Descriptors) -> Vec<OsString> {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(ToString::to_string));
        add(&["-no-user-config", "-nodefaults", "-display", "none", "-monitor", "none", "-S"]);
        add(&["-M", "q35", "-accel", self.accelerator.name(), "-cpu", "max"]);
        add(&["-m", &format!("{}k", self.memory.div_ceil(1024)), "-smp", &self.cpus.to_string()]);
        add(&["-chardev", &into_descriptor("serial", descriptors.serial.as_raw_fd())]);
        add(&["-serial", "chardev:serial"]);
        add(&["-chardev", &into_descriptor("console", descriptors.console.as_raw_fd())]);
        add(&["-device", "isa-debugcon,iobase=0xe9,chardev=console"]);
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
        if self.on_reset == OnReset::End {
            add(&["-no-reboot"]);
        }
        let boot = match self.image {
            Image::Kernel(_) => "-kernel",
            Image::Iso(_) => "-cdrom",
        };
        add(&[boot, &path_of(descriptors.image.as_raw_fd())]);
        arguments.extend(self.network.iter().flat_map(Network::arguments));
        arguments.extend(control::arguments(descriptors.control.as_raw_fd()));
        arguments.into_iter().map(OsString::from).collect()
    }
}

impl Accelerator {
    const fn name(self) -> &'static str {
        match self {
            Self::Software => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// A character device that writes into a descriptor. `file` waits where a pipe is full, so nothing is lost.
fn into_descriptor(id: &str, fd: RawFd) -> String {
    format!("file,id={id},path={}", path_of(fd))
}

fn path_of(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}
