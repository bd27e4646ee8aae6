//! The log subject: prints what all subjects write to their logs on the serial port, line by line.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use palisade_abi::crash::Record;
use palisade_services::crash_text;
use palisade_services::journal::Journal;
use palisade_services::log::{Progress, write_line};
use palisade_services::uart::{Registers, Uart};
use solo5::{StartInfo, clock, port, shared_memory, sleep, status, subject_info};

solo5::subject!(main, stack = 128 * 1024);

fn main(_: &StartInfo) -> i32 {
    let mut serial = Uart::new(Com1);
    if let Some(record) = shared_memory("crash_audit").and_then(|page| Record::load(&page)) {
        for line in crash_text::lines(&record) {
            write_line(&mut serial, "log", line.as_bytes());
        }
    }
    let Some(info) = subject_info() else { return 1 };
    let channels = info.resources().filter_map(|resource| {
        Some((resource.name.strip_prefix("debuglog_")?, shared_memory(resource.name)?))
    });
    let mut journal = Journal::new(channels, "supervisor");
    let mut idle_sweeps = 0_u64;
    loop {
        match journal.sweep(&mut serial) {
            Progress::Busy => continue,
            Progress::Waiting => {}
            // A machine that is powered off takes with it what the port has not sent.
            Progress::Idle if !serial.has_sent_everything() => {}
            Progress::Idle => {
                idle_sweeps += 1;
                status::set_counter(IDLE_SWEEPS, idle_sweeps);
            }
        }
        sleep::wait_until(clock::monotonic().saturating_add(POLL));
    }
}

/// The first serial port.
struct Com1;

impl Registers for Com1 {
    fn read(&mut self, register: u16) -> u8 {
        port::read(COM1.wrapping_add(register))
    }

    fn write(&mut self, register: u16, value: u8) {
        port::write(COM1.wrapping_add(register), value);
    }
}

const COM1: u16 = 0x3f8;

/// The progress counter with the number of sweeps that found nothing to do. The supervisor watches it.
const IDLE_SWEEPS: usize = 0;

/// How often channels are looked at whose writers do not announce their lines.
const POLL: u64 = 20_000_000;
