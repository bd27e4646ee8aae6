//! Input that cannot be used: exit status 125, a message that says what is wrong, and nothing left.

use std::fs;
use std::path::Path;

use crate::run::{Done, directory, done, names, palisade, text};

#[test]
fn a_unikernel_for_another_target_is_named() {
    for (target, name) in [(1_u32, "hvt"), (2, "spt"), (3, "virtio")] {
        assert_refused(&with_abi(target, 2), &[name, "muen"]);
    }
}

#[test]
fn inspect_says_why_a_unikernel_cannot_run_here() {
    let directory = directory();
    let path = directory.path().join("spt.muen");
    fs::write(&path, with_abi(2, 2)).expect("writable");
    let inspected = done(&mut palisade(&["inspect", text(&path)]));
    assert!(
        inspected.assert_exit(0).stdout.contains("Solo5 target   spt, version 2"),
        "{}",
        inspected.stdout
    );
    assert!(inspected.stdout.contains("runs here      no: "), "{}", inspected.stdout);
}

#[test]
fn an_unknown_abi_version_is_named() {
    assert_refused(&with_abi(4, 9), &["9"]);
}

#[test]
fn a_truncated_file_is_refused() {
    let whole = with_abi(4, 2);
    for length in [10, 63, 64, 200, whole.len() / 2, whole.len() - 1] {
        assert_refused(&whole[..length.min(whole.len() - 1)], &[]);
    }
}

#[test]
fn an_empty_file_is_refused() {
    assert_refused(b"", &[]);
}

#[test]
fn a_text_file_is_refused() {
    assert_refused(b"#!/bin/sh\necho hello\n", &[]);
}

#[test]
fn a_description_cannot_command_the_terminal() {
    let text = "# \x1b]0;title\x07\n[subject.x]\nunikernel = \"\\u001b[2J\\u202e\"\n";
    let refused = check(text).assert_exit(125).stderr.clone();
    assert!(!refused.contains(['\x1b', '\x07', '\u{202e}']), "{refused:?}");
    assert!(refused.contains(r"\x1b[2J\u{202e}"), "{refused}");
}

#[test]
fn a_mistake_in_an_endless_line_has_its_place() {
    let text = format!("{}nonsense = 1", " ".repeat(100_000));
    check(&text).assert_exit(125).assert_says(&["unknown-key", ":1:100001: "]);
}

fn check(description: &str) -> Done {
    let directory = directory();
    let path = directory.path().join("system.toml");
    fs::write(&path, description).expect("writable");
    done(&mut palisade(&["check", text(&path)]))
}

#[test]
fn a_directory_in_place_of_a_file_is_refused() {
    let directory = directory();
    let path = text(directory.path());
    for arguments in [
        &["boot", path][..],
        &["boot", "--unikernel", path],
        &["check", path],
        &["verify", path],
        &["inspect", path],
    ] {
        done(&mut palisade(arguments)).assert_exit(125).assert_says(&[path]);
    }
}

#[test]
fn a_file_larger_than_any_memory_is_refused_unread() {
    let directory = directory();
    let path = directory.path().join("huge.toml");
    let huge = fs::File::create(&path).expect("writable");
    huge.set_len(1 << 40).expect("a file with a hole");
    for arguments in [
        &["check", text(&path)][..],
        &["check", "--unikernel", text(&path)],
        &["verify", text(&path)],
        &["inspect", text(&path)],
    ] {
        done(&mut palisade(arguments)).assert_exit(125).assert_says(&["it has more than"]);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for arguments in [
        &["boot", "/nonexistent.toml"][..],
        &["check", "/nonexistent.toml"],
        &["build", "/nonexistent.toml"],
        &["boot", "--unikernel", "/nonexistent.muen"],
        &["verify", "/nonexistent.elf"],
        &["inspect", "/nonexistent.muen"],
    ] {
        done(&mut palisade(arguments)).assert_exit(125).assert_says(&["/nonexistent"]);
    }
}

#[test]
fn every_mistake_of_a_description_is_told_with_its_place() {
    let directory = directory();
    let path = directory.path().join("bad.toml");
    fs::write(&path, "colour = \"red\"\n[subject.hello]\nunikernel = \"hello\"\nram = \"16 cats\"\n")
        .expect("writable");
    let done = done(&mut palisade(&["check", text(&path)]));
    done.assert_exit(125).assert_says(&["colour", "bad.toml:1:", "16 cats", "bad.toml:4:"]);
}

#[test]
fn mistakes_are_told_to_machines_too() {
    let directory = directory();
    let path = directory.path().join("bad.toml");
    fs::write(&path, "colour = \"red\"\n[subject.hello]\nunikernel = \"hello\"\nram = \"16 cats\"\n")
        .expect("writable");
    let done = done(&mut palisade(&["check", "--json", text(&path)]));
    let objects = done.assert_exit(125).objects();
    let [error] = objects.as_slice() else { panic!("one object: {objects:?}") };
    assert_eq!(error["event"], "error");
    assert_eq!(error["exit"], 125);
    let places: Vec<_> =
        error["problems"].as_array().expect("a list").iter().map(|p| p["place"]["line"].clone()).collect();
    assert_eq!(places, [1, 4]);
}

#[test]
fn more_memory_than_the_machine_has_is_refused() {
    let mut command = palisade(&["boot", "--unikernel", "hello", "--set", "hello.ram=10 GiB"]);
    done(&mut command).assert_exit(125).assert_says(&["10 GiB"]);
}

#[test]
fn overrides_that_set_nothing_are_refused() {
    for set in ["hello.ram", "=x", "nobody.ram=16 MiB", "hello.colour=red"] {
        done(&mut palisade(&["check", "--unikernel", "hello", "--set", set])).assert_exit(125);
    }
    for memory in ["much", "1", "-1 GiB"] {
        let argument = format!("--memory={memory}");
        done(&mut palisade(&["boot", "--unikernel", "hello", &argument]))
            .assert_exit(125)
            .assert_says(&["--memory"]);
    }
}

#[test]
fn a_disc_is_not_what_verify_wants() {
    let directory = directory();
    let path = directory.path().join("x.iso");
    let mut disc = vec![0; 0x9000];
    disc[0x8001..0x8006].copy_from_slice(b"CD001");
    fs::write(&path, disc).expect("writable");
    done(&mut palisade(&["verify", text(&path)])).assert_exit(125).assert_says(&["disc image", "NAME.elf"]);
}

#[test]
fn a_command_line_that_is_too_long_is_refused() {
    let arguments = "x".repeat(8192);
    let mut command = palisade(&["boot", "--unikernel", "hello", "--bootparams", &arguments]);
    done(&mut command).assert_exit(125).assert_says(&["8192"]);
}

/// Asserts that `boot`, `build` and `check` refuse these bytes as a unikernel with a message that has `parts`, and
/// write nothing.
#[track_caller]
fn assert_refused(unikernel: &[u8], parts: &[&str]) {
    let directory = directory();
    let path = directory.path().join("bad.muen");
    fs::write(&path, unikernel).expect("writable");
    let out = directory.path().join("out");
    for arguments in [
        &["boot", "--unikernel", text(&path), "--output", text(&out)][..],
        &["build", "--unikernel", text(&path), "--output", text(&out)],
        &["check", "--unikernel", text(&path)],
    ] {
        let done = done(&mut palisade(arguments));
        done.assert_exit(125).assert_says(parts);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    }
    assert_eq!(names(directory.path()), ["bad.muen"]);
}

/// The hello unikernel with another target and version in its Solo5 note.
fn with_abi(target: u32, version: u32) -> Vec<u8> {
    const NOTE: &[u8] = b"Solo5\0\0\0";
    const ABI1: [u8; 4] = 0x3149_4241_u32.to_le_bytes();
    let mut bytes = fs::read(hello()).expect("the build script has built it");
    let at = bytes
        .windows(NOTE.len())
        .enumerate()
        .position(|(at, window)| window == NOTE && bytes[at - 4..at] == ABI1)
        .expect("it has a Solo5 note")
        + NOTE.len();
    bytes[at..at + 4].copy_from_slice(&target.to_le_bytes());
    bytes[at + 4..at + 8].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Where the build script put the hello unikernel.
fn hello() -> &'static Path {
    Path::new(concat!(env!("OUT_DIR"), "/hello"))
}
