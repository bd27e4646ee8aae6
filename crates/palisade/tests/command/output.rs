//! What the command shows, and what it keeps.

use std::fs;

use serde_json::json;

use crate::run::{boot, directory, done, names, text};

const STORY: &str = "[hello] Hello, World\n[supervisor] hello: exited with status 0\n";

#[test]
fn the_log_is_shown_and_nothing_else_is_on_standard_output() {
    let done = done(&mut boot(STORY, "kernel: booted\n", "powers-off"));
    assert_eq!(done.assert_exit(0).stdout, STORY);
    done.assert_says(&["powered off"]);
}

#[test]
fn verbose_shows_the_kernels_lines() {
    let done = done(boot(STORY, "kernel: booted\n", "powers-off").arg("--verbose"));
    assert!(done.stdout.contains("[kernel] kernel: booted\n"), "{}", done.stdout);
}

#[test]
fn quiet_leaves_the_log_only() {
    let done = done(boot(STORY, "", "powers-off").arg("--quiet"));
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), (STORY, ""));
}

#[test]
fn a_subject_cannot_write_to_the_terminal() {
    let done = done(&mut boot("[hello] \\033[2J\\377\\r\n", "", "powers-off"));
    assert_eq!(done.stdout, "[hello] \\x1b[2J\\xff\n");
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let plain = done(&mut boot(STORY, "", "powers-off")).stdout;
    assert!(!plain.contains('\x1b'));
    let colored = done(boot(STORY, "", "powers-off").args(["--color", "always"])).stdout;
    assert!(colored.contains("\x1b["));
    let asked_for_none = done(boot(STORY, "", "powers-off").args(["--color", "never"])).stdout;
    assert_eq!(asked_for_none, plain);
}

#[test]
fn json_is_one_object_a_line_and_has_everything() {
    let serial = "[hello] Hello\nnobody\n[supervisor] hello: restarting, generation 4\n[supervisor] hello: faulted: stack\n";
    let done = done(boot(serial, "kernel: booted\n", "powers-off").arg("--json"));
    let objects = done.assert_exit(121).objects();
    assert_eq!(done.stderr, "");
    assert_eq!(objects[0]["event"], "boot");
    assert!(objects.contains(&json!({ "event": "line", "subject": "hello", "text": "Hello" })));
    assert!(objects.contains(&json!({ "event": "serial", "text": "nobody" })));
    assert!(objects.contains(&json!({ "event": "kernel", "text": "kernel: booted" })));
    let result = objects.last().expect("there is one");
    assert_eq!(result["event"], "result");
    assert_eq!(result["exit"], 121);
    let hello = result["subjects"].as_array().and_then(|all| all.iter().find(|s| s["name"] == "hello"));
    let hello = hello.expect("hello is among the subjects");
    assert_eq!((&hello["state"], &hello["cause"]), (&json!("faulted"), &json!("stack")));
    assert_eq!(hello["generation"], 4);
}

#[test]
fn the_output_directory_has_everything() {
    let directory = directory();
    let out = directory.path().join("a/b");
    let serial =
        "[hello] one\n[time] \\377\n[hello] two\n[supervisor] hello: exited with status 5\nno newline";
    done(boot(serial, "kernel: booted\n", "powers-off").arg("--output").arg(&out)).assert_exit(5);
    let expected =
        ["hello.log", "kernel.out", "log.log", "result.json", "serial.out", "supervisor.log", "time.log"];
    assert_eq!(names(&out), expected);
    let read = |name| fs::read(out.join(name)).expect("it is there");
    assert_eq!(read("hello.log"), b"one\ntwo\n");
    assert_eq!(read("time.log"), b"\xff\n");
    assert_eq!(read("kernel.out"), b"kernel: booted\n");
    assert!(read("serial.out").ends_with(b"\nno newline"));
    let result: serde_json::Value = serde_json::from_slice(&read("result.json")).expect("it is JSON");
    assert_eq!(result["exit"], 5);
}

#[test]
fn an_output_directory_that_cannot_be_made_is_126() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "").expect("writable");
    let out = file.join("out");
    done(boot("", "", "powers-off").args(["--output", text(&out)]))
        .assert_exit(126)
        .assert_says(&[text(&out)]);
}

#[test]
fn a_log_that_cannot_be_written_ends_the_boot() {
    let directory = directory();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("hello.log")).expect("links can be made");
    let done = done(boot("[hello] x\n", "", "hangs").arg("--output").arg(directory.path()));
    done.assert_exit(126).assert_says(&["hello.log", "No space left"]);
}
