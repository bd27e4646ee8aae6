//! What becomes of a system on this computer when something happens to it from outside.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Place, System};
use crate::started::Started;

#[test]
fn a_network_process_that_is_killed_is_reported_and_starts_again() {
    let mut site = System::from_arguments(&[] as &[&str]).at(Place::Computer).start(None);
    let (network, unikernel) = (site.process_of("nic", 1), site.process_of("website", 1));
    signal("KILL", &network);
    let said = |lines: &[&str], line| lines.contains(&line).then_some(());
    site.wait_for("supervisor", "its report", |lines| said(lines, "nic: faulted: killed by signal 9"));
    site.wait_for("supervisor", "its restart", |lines| said(lines, "nic: restarting, generation 2"));
    let second = site.process_of("nic", 2);
    let page = loop {
        // Nobody answers between its two lives.
        if let Some(page) = site.try_curl(&format!("{}/", site.address())) {
            break page;
        }
        thread::sleep(Duration::from_millis(100));
    };
    assert!(!page.is_empty());
    assert!(runs(&unikernel), "the website went on");
    site.stop().assert_exit(143);
    assert!([network, unikernel, second].iter().all(|process| !runs(process)));
}

#[test]
fn when_the_command_is_killed_its_network_and_its_unikernels_go_with_it() {
    let mut site = System::from_arguments(&[] as &[&str]).at(Place::Computer).start(None);
    let processes = [site.process_of("nic", 1), site.process_of("website", 1)];
    site.signal("KILL");
    wait_until("they are gone", || !processes.iter().any(|process| runs(process)));
}

#[test]
fn a_restart_for_which_something_is_missing_is_reported_and_tried_again() {
    let system = System::described(
        "[subject.ends]\nunikernel = \"testing/ends\"\nbootparams = \"3\"\n\
         restart = \"on-failure\"\nbackoff = \"100 ms\"\nbackoff_max = \"100 ms\"\n",
    );
    let system = system.at(Place::Computer);
    let output = system.directory.path().join("output");
    let mut command = Started::new(&mut system.command(&output, 300));
    let ends = "[supervisor] ends: exited with status 3";
    command.wait_for("its first end", |stdout, _| stdout.contains(ends).then_some(()));
    allow_descriptors(&command, 3);
    let failure = "[supervisor] ends: faulted: could not be started, error 24 of Linux";
    let failed = |stdout: &str| stdout.matches(failure).count();
    command.wait_for("two failures", |stdout, _| (failed(stdout) >= 2).then_some(()));
    let before = command.wait_for("what was said", |stdout, _| Some(stdout.matches(ends).count()));
    allow_descriptors(&command, 256);
    command.wait_for("more lives", |stdout, _| (stdout.matches(ends).count() >= before + 2).then_some(()));
    let (exit, _, stderr) = command.end();
    assert_eq!(exit, Some(143), "{stderr}");
    assert!(stderr.contains("the process of \"ends\" cannot be started: "), "{stderr}");
}

#[test]
fn where_root_has_no_namespaces_of_users_its_children_have_no_capabilities() {
    let directory = tempfile::tempdir().expect("temporary directories can be made");
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_palisade")])
        .args(["run", "--verbose", "--publish", "0:443", "--for", "300"])
        .env("XDG_CONFIG_HOME", directory.path());
    let mut command = Started::new(&mut command);
    let answered = |_: &str, stderr: &str| stderr.contains("(answered").then_some(());
    command.wait_for("an answer", answered);
    command.wait_for("what is missing", |_, stderr| {
        stderr.contains("processes have no namespaces of their own for users (").then_some(())
    });
    for subject in ["nic", "website"] {
        let process = command.process_of(subject, 1);
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
            assert_eq!(line.map(str::trim), Some("0000000000000000"), "{subject} {set}: {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    let (exit, ..) = command.end();
    assert_eq!(exit, Some(143));
}

/// How many descriptors the command may have from now on. It keeps those that it has.
fn allow_descriptors(command: &Started, count: u32) {
    let set = Command::new("prlimit")
        .args(["--pid", &command.process().to_string(), &format!("--nofile={count}:")])
        .status();
    assert!(set.is_ok_and(|status| status.success()), "util-linux is there");
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args(["-s", name, process]).status();
    assert!(sent.is_ok_and(|status| status.success()), "it is there");
}

/// Whether a process runs. One that has ended and that nobody has waited for does not (proc(5), `stat`).
fn runs(process: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not true after a long time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

const PATIENCE: Duration = Duration::from_secs(300);
