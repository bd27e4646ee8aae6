//! The other verbs, and the help.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{done, palisade};

const VERBS: [&str; 8] = ["boot", "check", "build", "verify", "inspect", "machine", "rules", "completions"];

#[test]
fn the_help_of_every_verb_has_an_example() {
    for verb in VERBS {
        let help = done(&mut palisade(&[verb, "--help"]));
        assert!(
            help.assert_exit(0).stdout.contains(&format!("  palisade {verb} ")) || verb == "rules",
            "{}",
            help.stdout
        );
        assert!(help.stdout.contains("Example"), "{}", help.stdout);
    }
}

#[test]
fn the_help_of_boot_lists_the_exit_statuses() {
    let help = done(&mut palisade(&["boot", "--help"]));
    for code in 119..=127 {
        assert!(help.stdout.contains(&code.to_string()), "{code} is missing");
    }
}

#[test]
fn check_accepts_the_systems_of_this_repository() {
    let systems = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems");
    let mut count = 0;
    for entry in fs::read_dir(systems).expect("there are systems") {
        let path = entry.expect("they can be listed").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            done(palisade(&["check"]).arg(&path)).assert_exit(0);
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn check_can_speak_json() {
    let checked = done(&mut palisade(&["check", "--unikernel", "hello", "--json"]));
    let objects = checked.assert_exit(0).objects();
    assert_eq!(objects[0]["event"], "checked");
    assert_eq!(objects[0]["subjects"].as_array().map(Vec::len), Some(4));
}

#[test]
fn what_is_legal_but_has_no_effect_is_a_warning() {
    let arguments = ["check", "--unikernel", "hello", "--set", "hello.backoff=1 s"];
    let checked = done(&mut palisade(&arguments));
    checked.assert_exit(0).assert_says(&["never restarted"]);
    let quiet = done(palisade(&arguments).arg("--quiet"));
    assert_eq!(quiet.assert_exit(0).stderr, "");
    let objects = done(palisade(&arguments).arg("--json")).assert_exit(0).objects();
    assert_eq!(objects[0]["event"], "warning");
    assert_eq!(objects[1]["event"], "checked");
}

#[test]
fn inspect_tells_what_a_unikernel_is_for() {
    let inspected = done(&mut palisade(&["inspect", "hello"]));
    for part in ["muen", "segment", "r-x", "memory", "runs here      yes"] {
        assert!(inspected.assert_exit(0).stdout.contains(part), "{part}:\n{}", inspected.stdout);
    }
    let objects = done(&mut palisade(&["inspect", "hello", "--json"])).assert_exit(0).objects();
    assert_eq!(objects[0]["target"], "muen");
    assert!(objects[0]["segments"].as_array().is_some_and(|segments| segments.len() >= 3));
}

#[test]
fn rules_lists_every_rule_with_its_specification() {
    let listed = done(&mut palisade(&["rules"]));
    assert!(listed.assert_exit(0).stdout.lines().count() > 60);
    let objects = done(&mut palisade(&["rules", "--json"])).assert_exit(0).objects();
    assert!(
        objects.iter().all(|rule| rule["specification"].as_str().is_some_and(|text| text.ends_with('.')))
    );
}

#[test]
fn completions_are_valid_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let script = done(&mut palisade(&["completions", shell]));
        assert!(script.assert_exit(0).stdout.contains("palisade"));
    }
    let script = done(&mut palisade(&["completions", "bash"])).stdout;
    let checked = Command::new("bash").args(["-n", "-c", &script]).status().expect("bash is installed");
    assert!(checked.success());
}
