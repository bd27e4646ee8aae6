//! QEMU: its arguments for a machine, its exit status, and what it can do.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::child::Child;
use crate::control::{self, Message};
use crate::machine::path_of;
use crate::run::{Kind, Source, Started, pipe};
use crate::{Accelerator, Error, Image, Iommu, Lines, Machine, Network, OnReset, Stream};

/// Starts QEMU at `path` with a machine.
pub(crate) fn start(path: &Path, machine: &Machine<'_>) -> io::Result<Started> {
    let (serial, serial_end) = pipe()?;
    let (console, console_end) = pipe()?;
    let (control, control_end) = control::pair()?;
    let descriptors = Descriptors {
        serial: serial_end,
        console: console_end,
        control: control_end,
        image: machine.image.in_memory()?,
    };
    control::ask(&control, control::CONTINUE)?;
    let mut command = Command::new(path);
    command.args(arguments(machine, &descriptors));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let Descriptors { serial: a, console: b, control: c, image: d } = descriptors;
    let mut child = Child::start(command, vec![a, b, c, d])?;
    let said = child.take_stderr().map(|said| Source::new(Kind::Said, OwnedFd::from(said)));
    let mut sources = vec![
        Source::new(Kind::Output(Stream::Serial), serial),
        Source::new(Kind::Output(Stream::Console), console),
        Source::new(Kind::Events, control),
    ];
    sources.extend(said);
    Ok(Started { child, sources })
}

/// The value that the guest wrote to the exit device, from QEMU's exit status. The device makes it odd; 1 is how QEMU ends
/// when it fails.
pub(crate) fn exit_device(status: i32) -> Option<u8> {
    if (3..=255).contains(&status) && status % 2 == 1 { u8::try_from(status >> 1).ok() } else { None }
}

/// Asks whether a guest under KVM really would have SVM with nested paging.
pub(crate) fn require_nested_svm(path: &Path) -> Result<(), Error> {
    let (control, theirs) = control::pair().map_err(Error::Start)?;
    let mut command = Command::new(path);
    command.args(["-no-user-config", "-nodefaults", "-display", "none", "-M", "none", "-accel", "kvm"]);
    command.args(control::arguments(theirs.as_raw_fd()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    control::ask(&control, control::CPU_MODEL).map_err(Error::Start)?;
    let child = Child::start(command, vec![theirs]).map_err(Error::Start)?;
    let answer = wait_for_features(control);
    drop(child);
    match answer {
        Some((true, true)) => Ok(()),
        Some((false, _)) => Err(Error::NoNestedSvm("a guest has no SVM".into())),
        Some((true, false)) => Err(Error::NoNestedSvm("a guest has no nested paging".into())),
        None => Err(Error::NoNestedSvm("QEMU did not start with KVM".into())),
    }
}

/// The descriptors that QEMU gets.
struct Descriptors {
    serial: OwnedFd,
    console: OwnedFd,
    control: OwnedFd,
    image: OwnedFd,
}

/// The arguments. The CPUs wait for [`control::CONTINUE`].
fn arguments(machine: &Machine<'_>, descriptors: &Descriptors) -> Vec<OsString> {
    let (accelerator, cpu, clock): (_, _, &[&str]) = match machine.accelerator {
        Accelerator::Software => ("tcg", "max", &[]),
        Accelerator::Deterministic => ("tcg,thread=single", "max,-x2apic", &DETERMINISTIC_CLOCK),
        Accelerator::Kvm => ("kvm", "max", &[]),
    };
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(ToString::to_string));
    add(&["-no-user-config", "-nodefaults", "-display", "none", "-monitor", "none", "-S"]);
    // KVM leaves what an IOMMU remaps to QEMU only with its interrupt controllers split.
    let split = machine.accelerator == Accelerator::Kvm && machine.iommu.is_some();
    let chipset = if split { "q35,kernel-irqchip=split" } else { "q35" };
    add(&["-M", chipset, "-accel", accelerator, "-cpu", cpu]);
    add(clock);
    if let Some(iommu) = machine.iommu {
        add(&["-device", iommu_device(iommu)]);
    }
    add(&["-m", &format!("{}k", machine.memory.div_ceil(1024)), "-smp", &machine.cpus.to_string()]);
    add(&["-chardev", &into_descriptor("serial", descriptors.serial.as_raw_fd())]);
    add(&["-serial", "chardev:serial"]);
    add(&["-chardev", &into_descriptor("console", descriptors.console.as_raw_fd())]);
    add(&["-device", "isa-debugcon,iobase=0xe9,chardev=console"]);
    add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    if machine.on_reset == OnReset::End {
        add(&["-no-reboot"]);
    }
    let boot = match machine.image {
        Image::Kernel(_) => "-kernel",
        Image::Iso(_) => "-cdrom",
    };
    add(&[boot, &path_of(descriptors.image.as_raw_fd())]);
    arguments.extend(machine.network.iter().flat_map(Network::arguments));
    arguments.extend(control::arguments(descriptors.control.as_raw_fd()));
    arguments.into_iter().map(OsString::from).collect()
}

const fn iommu_device(iommu: Iommu) -> &'static str {
    match iommu {
        // With `pt`, which is on by default, QEMU 9.2 and later let every device past this IOMMU.
        Iommu::Amd => "amd-iommu,intremap=on,pt=off",
        Iommu::Intel => "intel-iommu,intremap=on,aw-bits=48",
    }
}

/// A character device that writes into a descriptor. `file` waits where a pipe is full, so nothing is lost.
fn into_descriptor(id: &str, fd: RawFd) -> String {
    format!("file,id={id},path={}", path_of(fd))
}

/// Reads messages until the features of the CPU model arrive: whether it has SVM, and nested paging.
fn wait_for_features(control: OwnedFd) -> Option<(bool, bool)> {
    let deadline = Instant::now() + PROBE_LIMIT;
    let mut control = File::from(control);
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    loop {
        let left = Timespec::try_from(deadline.checked_duration_since(Instant::now())?).ok()?;
        poll(&mut [PollFd::new(&control, PollFlags::IN)], Some(&left)).ok().filter(|ready| *ready > 0)?;
        let count = control.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let features =
            lines.push(&buffer[..count]).into_iter().find_map(|line| match Message::parse(&line) {
                Some(Message::CpuModel { svm, npt }) => Some((svm, npt)),
                _ => None,
            });
        if features.is_some() {
            return features;
        }
    }
}

/// The real-time clock is the machine's own too, and begins at the same moment each time: reading it and writing down what it says
/// takes a number of instructions that depends on the second.
const DETERMINISTIC_CLOCK: [&str; 4] =
    ["-icount", "shift=3,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm"];
const PROBE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_device_is_seen_in_odd_statuses_but_1() {
        assert_eq!((exit_device(33), exit_device(3), exit_device(255)), (Some(16), Some(1), Some(127)));
        assert_eq!(
            (exit_device(0), exit_device(1), exit_device(2), exit_device(257)),
            (None, None, None, None)
        );
    }
}
