//! What the tests of the runner share.

// Each test file uses its part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use palisade_machine::{
    Accelerator, Emulator, Image, Interrupts, Lines, Machine, Next, OnReset, Program, Report, Stream, run,
};

/// What a run gave.
#[derive(Default)]
pub struct Written {
    pub serial: Vec<u8>,
    pub console: Vec<u8>,
}

/// Runs a machine and collects what it writes.
pub fn run_machine(emulator: &Emulator, machine: &Machine<'_>) -> (Report, Written) {
    let mut output = Written::default();
    let report = run(emulator, machine, &interrupts(), &mut |stream, bytes| {
        match stream {
            Stream::Serial => output.serial.extend_from_slice(bytes),
            Stream::Console => output.console.extend_from_slice(bytes),
        }
        Ok(Next::Continue)
    });
    (report.expect("the emulator starts"), output)
}

/// A small machine.
pub fn machine(kernel: &[u8]) -> Machine<'_> {
    Machine {
        image: Image::Kernel(kernel),
        memory: 64 << 20,
        cpus: 1,
        accelerator: Accelerator::Software,
        iommu: None,
        on_reset: OnReset::End,
        network: None,
        limit: Some(Duration::from_secs(300)),
    }
}

/// Signals, caught.
pub fn interrupts() -> Interrupts {
    Interrupts::catch().expect("signals can be caught")
}

/// A script from `tests/emulators`, as an emulator.
pub fn stand_in(name: &str) -> Emulator {
    Emulator::find(Program::Qemu, Some(&script(name))).expect("the stand-in answers as QEMU does")
}

/// A script from `tests/emulators`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulators").join(name)
}

/// Asserts that none of the `count` processes named in the first line of `serial` is left.
pub fn assert_all_gone(serial: &[u8], count: usize) {
    let line = Lines::default().push(serial).into_iter().next().expect("the stand-in told who it is");
    let line = String::from_utf8(line).expect("numbers");
    assert_eq!(line.split(' ').count(), count);
    for process in line.split(' ') {
        let deadline = Instant::now() + Duration::from_secs(60);
        while is_alive(process) {
            assert!(Instant::now() < deadline, "process {process} is left");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A zombie that its new parent has not waited for yet is not alive.
fn is_alive(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}
