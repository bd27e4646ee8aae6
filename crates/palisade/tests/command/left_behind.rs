//! Nothing is left of a boot, whatever ends it: no process, no file.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{boot, directory, names, palisade};

#[test]
fn ctrl_c_ends_the_emulator() {
    assert_nothing_is_left_by("INT", Some(130));
}

#[test]
fn a_request_to_terminate_ends_the_emulator() {
    assert_nothing_is_left_by("TERM", Some(143));
}

#[test]
fn a_terminal_that_goes_away_ends_the_emulator() {
    assert_nothing_is_left_by("HUP", Some(129));
}

#[test]
fn the_emulator_does_not_survive_the_command_being_killed() {
    assert_nothing_is_left_by("KILL", None);
}

#[test]
fn a_reader_that_goes_away_ends_the_emulator() {
    let endless = "[hello] line\n".repeat(1000);
    let (mut child, mark) = start(&mut boot(&endless, "", "hangs"));
    drop(child.stdout.take());
    // The pipe may take everything; what comes later cannot be written. A signal would end it, so none is sent.
    let status = child.wait_with_output().expect("it ends").status;
    assert!(matches!(status.code(), Some(141 | 120)), "{status}");
    assert_no_process(&mark);
}

#[test]
fn the_real_emulators_end_with_the_command_too() {
    for (emulator, signal, exit) in [
        ("qemu", "INT", Some(130)),
        ("qemu", "KILL", None),
        ("bochs", "TERM", Some(143)),
        ("bochs", "KILL", None),
    ] {
        // The machine stays up, so that there is something to end.
        let mut command = palisade(&["boot", "--unikernel", "hello", "--set", "on_end=stay", "--for", "60"]);
        assert_nothing_is_left_of(command.args(["--on", emulator]), signal, exit);
    }
}

fn assert_nothing_is_left_by(signal: &str, exit: Option<i32>) {
    assert_nothing_is_left_of(&mut boot("[hello] started\n", "", "hangs"), signal, exit);
}

/// Sends a signal when the first line of the log is there.
#[track_caller]
fn assert_nothing_is_left_of(command: &mut Command, signal: &str, exit: Option<i32>) {
    let temporary = directory();
    let (mut child, mark) = start(command.env("TMPDIR", temporary.path()));
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    lines.next().expect("there is a line").expect("it can be read");
    let process = child.id().to_string();
    assert!(
        Command::new("bash")
            .args(["-c", &format!("kill -s {signal} {process}")])
            .status()
            .expect("bash is installed")
            .success()
    );
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), exit, "{status}");
    assert_eq!(status.signal().is_some(), exit.is_none());
    assert_no_process(&mark);
    assert_eq!(names(temporary.path()), [""; 0]);
}

/// Starts a command whose environment, and that of every process it starts, has a mark.
fn start(command: &mut Command) -> (Child, String) {
    let now = Instant::now();
    let mark = format!("PALISADE_TEST_MARK={}-{:?}-{now:?}", std::process::id(), thread::current().id());
    let (name, value) = mark.split_once('=').expect("it has one");
    let child = command.env(name, value).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    (child.expect("the command starts"), mark)
}

/// Asserts that soon no process is left with the mark in its environment.
#[track_caller]
fn assert_no_process(mark: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = processes_with(mark);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn processes_with(mark: &str) -> Vec<String> {
    let is_number = |name: &OsStr| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
    let all = fs::read_dir("/proc").expect("there is a /proc").filter_map(Result::ok);
    all.filter(|entry| is_number(&entry.file_name()))
        .filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .map(|entry| fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default())
        .collect()
}
