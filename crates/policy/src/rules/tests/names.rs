use super::pair_and;
use crate::testing::{assert_breaks, assert_passes, plan};

const CHANNEL: &str = "[[channel]]\nname = \"ab\"\nwriter = \"a:x\"\nreader = \"b:x\"\n";

#[test]
fn names_that_differ_are_kept_apart() {
    assert_passes(plan(&pair_and(&format!("{CHANNEL}{}", CHANNEL.replace("ab", "ba").replace(":x", ":y")))));
}

#[test]
fn two_channels_of_one_name_are_refused() {
    let second = CHANNEL.replace(":x", ":y");
    assert_breaks(plan(&pair_and(&format!("{CHANNEL}{second}"))), "unique-names", 10, "another name");
}

#[test]
fn two_subjects_of_one_name_are_no_toml() {
    assert_breaks(plan("[subject.a]\nunikernel = \"hello\"\n[subject.a]\n"), "syntax", 3, "");
}

#[test]
fn a_name_of_31_characters_passes() {
    assert_passes(plan(&format!("[subject.{}]\nunikernel = \"hello\"", "x_-9".repeat(8).get(..31).unwrap())));
}

#[test]
fn a_name_that_is_too_long_or_has_other_characters_is_refused() {
    let named = |name: &str| plan(&format!("\n[subject.{name}]\nunikernel = \"hello\""));
    assert_breaks(named(&"x".repeat(32)), "name-syntax", 2, "1 to 31 characters");
    assert_breaks(named("Hello"), "name-syntax", 2, "a-z, 0-9");
    assert_breaks(named("\"a b\""), "name-syntax", 2, "a-z, 0-9");
    assert_breaks(named("\"\""), "name-syntax", 2, "1 to 31 characters");
}

#[test]
fn a_unikernel_can_have_any_other_name() {
    assert_passes(plan("[subject.clock]\nunikernel = \"hello\""));
}

#[test]
fn a_unikernel_cannot_have_the_name_of_a_subject_that_every_system_has() {
    for name in ["time", "log", "supervisor"] {
        let text = format!("[subject.{name}]\nunikernel = \"hello\"");
        assert_breaks(plan(&text), "reserved-names", 1, "time, log, supervisor");
    }
    assert_breaks(plan(&pair_and(&CHANNEL.replace("ab", "debuglog_x"))), "reserved-names", 6, "log channels");
}

#[test]
fn a_system_with_61_unikernels_passes() {
    let subject = |n: u32| format!("[subject.u{n}]\nunikernel = \"hello\"\nram = \"64 KiB\"\n");
    assert_passes(plan(&(0..61).map(subject).collect::<String>()));
}

#[test]
fn a_system_without_unikernels_or_with_too_many_is_refused() {
    assert_breaks(plan("name = \"empty\""), "subject-count", 1, "add one");
    let subject = |n: u32| format!("[subject.u{n}]\nunikernel = \"hello\"\n");
    assert_breaks(plan(&(0..62).map(subject).collect::<String>()), "subject-count", 123, "61 unikernels");
}
