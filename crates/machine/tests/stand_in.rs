//! The runner against stand-ins for the emulator: scripts that end, fail and hang in every way one could.

mod common;

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use palisade_machine::{Emulator, End, Error, Machine, Next, Program, Report, run};

use common::{Written, assert_all_gone, interrupts, machine, run_machine, script, stand_in};

#[test]
fn a_guest_that_powers_off_ends_the_run() {
    let (report, output) = run_stand_in("powers-off");
    assert_eq!(report.end, End::PowerOff);
    assert_eq!(report.resets, 0);
    assert_eq!(output.serial, b"first line\nsecond line\nno end");
    assert_eq!(output.console, b"kernel line\n");
}

#[test]
fn a_reset_is_no_power_off() {
    assert_eq!(run_stand_in("resets").0.end, End::Reset);
}

#[test]
fn the_exit_device_gives_the_value_written() {
    assert_eq!(run_stand_in("writes-exit-device").0.end, End::ExitDevice(16));
}

#[test]
fn an_emulator_that_fails_is_reported_with_its_words() {
    let End::Crash(crash) = run_stand_in("fails").0.end else { panic!("it failed") };
    assert_eq!(crash.said, "could not allocate the memory");
    assert_eq!(crash.cause(), "it ended with status 1");
}

#[test]
fn an_emulator_that_is_killed_is_reported_with_the_signal() {
    let End::Crash(crash) = run_stand_in("is-killed").0.end else { panic!("it was killed") };
    assert_eq!(crash.cause(), "signal 11 killed it");
}

#[test]
fn nothing_of_much_output_is_lost() {
    let (report, output) = run_stand_in("writes-a-lot");
    assert_eq!(report.end, End::PowerOff);
    assert_eq!((output.serial.len(), output.console.len()), (4_000_000, 3_000_000));
}

#[test]
fn the_time_out_ends_the_emulator_and_its_children() {
    let machine = Machine { limit: Some(Duration::from_millis(700)), ..machine(b"image") };
    let (report, output) = run_machine(&stand_in("never-ends"), &machine);
    assert_eq!(report.end, End::TimeRanOut);
    assert!(report.duration < Duration::from_secs(500));
    assert_all_gone(&output.serial, 2);
}

#[test]
fn the_time_out_works_without_any_pipe_open() {
    let machine = Machine { limit: Some(Duration::from_millis(500)), ..machine(b"image") };
    assert_eq!(run_machine(&stand_in("closes-everything-and-never-ends"), &machine).0.end, End::TimeRanOut);
}

#[test]
fn an_escaped_process_does_not_hold_up_the_end() {
    let began = Instant::now();
    let (report, output) = run_stand_in("escapes");
    assert_eq!(report.end, End::PowerOff);
    assert!(began.elapsed() < Duration::from_secs(500));
    let escaped = String::from_utf8_lossy(&output.serial).trim().to_owned();
    Command::new("bash").args(["-c", &format!("kill {escaped}")]).status().expect("bash is installed");
}

#[test]
fn output_that_cannot_be_passed_on_ends_the_emulator() {
    let mut seen = Vec::new();
    let result = run(&stand_in("never-ends"), &machine(b"image"), &interrupts(), &mut |_, bytes| {
        seen.extend_from_slice(bytes);
        Err(io::ErrorKind::StorageFull.into())
    });
    assert!(matches!(result, Err(Error::Output(error)) if error.kind() == io::ErrorKind::StorageFull));
    assert_all_gone(&seen, 2);
}

#[test]
fn whoever_takes_the_output_can_end_the_run_and_still_gets_the_rest() {
    let mut seen = Vec::new();
    let report = run(&stand_in("never-ends"), &machine(b"image"), &interrupts(), &mut |_, bytes| {
        seen.extend_from_slice(bytes);
        Ok(Next::EndAfter(Duration::from_millis(300)))
    });
    let report = report.expect("the run is watched");
    assert_eq!(report.end, End::Stopped);
    assert!(report.duration >= Duration::from_millis(300));
    assert_all_gone(&seen, 2);
}

#[test]
fn a_missing_emulator_says_how_to_install_it() {
    let error =
        Emulator::find(Program::Qemu, Some(Path::new("/nonexistent/qemu"))).expect_err("it does not exist");
    assert!(matches!(error, Error::Missing { .. }));
    assert!(error.help().is_some_and(|help| help.contains(Program::Qemu.install())));
}

#[test]
fn what_is_not_qemu_is_refused() {
    assert!(matches!(
        Emulator::find(Program::Qemu, Some(Path::new("/bin/cat"))),
        Err(Error::AnotherProgram { .. })
    ));
    for path in ["/dev/null", "/tmp"] {
        assert!(matches!(
            Emulator::find(Program::Qemu, Some(Path::new(path))),
            Err(Error::NotExecutable { .. })
        ));
    }
}

#[test]
fn an_old_emulator_is_refused() {
    assert!(matches!(Emulator::find(Program::Qemu, Some(&script("too-old"))), Err(Error::TooOld { .. })));
}

#[test]
fn kvm_without_nested_svm_is_refused() {
    let refused = stand_in("offers-no-svm").require_nested_svm();
    assert!(matches!(refused, Err(Error::NoNestedSvm(_))));
    stand_in("offers-svm").require_nested_svm().expect("it has both");
    assert!(matches!(stand_in("fails").require_nested_svm(), Err(Error::NoNestedSvm(_))));
}

fn run_stand_in(name: &str) -> (Report, Written) {
    run_machine(&stand_in(name), &machine(b"image"))
}
