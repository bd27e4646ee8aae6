use std::fs;

use crate::testing::{TestLibrary, assert_breaks, assert_passes, hello_with, plan, plan_with};
use crate::{Options, load};

#[test]
fn a_description_in_toml_is_read() {
    assert_passes(plan(&hello_with("")));
}

#[test]
fn a_text_that_is_not_toml_is_refused_at_its_line() {
    assert_breaks(plan(&hello_with("ram = ")), "syntax", 3, "name = value");
}

#[test]
fn known_keys_are_read() {
    assert_passes(plan(&hello_with(
        "ram = \"1 MiB\"\nrestart = \"always\"\nbackoff = \"1 s\"\nexceptions = \"kernel\"",
    )));
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    assert_breaks(plan(&hello_with("bootparms = \"x\"")), "unknown-key", 3, "did you mean `bootparams`?");
    assert_breaks(
        plan(&format!("{}[chanel]\n", hello_with(""))),
        "unknown-key",
        4,
        "did you mean `channel`?",
    );
}

#[test]
fn a_description_without_optional_keys_is_read() {
    assert_passes(plan("[subject.hello]\nunikernel = \"hello\""));
}

#[test]
fn a_missing_key_is_refused_where_it_belongs() {
    assert_breaks(plan("\n[subject.hello]\nram = \"1 MiB\""), "missing-key", 2, "built-in unikernel");
}

#[test]
fn values_of_the_right_type_are_read() {
    assert_passes(plan(&hello_with("cpu = 0")));
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    assert_breaks(plan(&hello_with("ram = 16")), "value-type", 3, "ram = \"16 MiB\"");
    assert_breaks(plan("subject = 3"), "value-type", 1, "under a header");
    assert_breaks(plan(&hello_with("cpu = \"zero\"")), "value-type", 3, "without quotes");
}

#[test]
fn values_in_range_are_read() {
    assert_passes(plan(&hello_with("restart = \"on-failure\"")));
}

#[test]
fn a_value_out_of_range_is_refused_with_what_is_possible() {
    assert_breaks(
        plan(&hello_with("restart = \"sometimes\"")),
        "value-range",
        3,
        "never, on-failure, always",
    );
    assert_breaks(plan(&hello_with("ram = \"16 MB\"")), "value-range", 3, "did you mean `16 MiB`?");
    assert_breaks(plan(&hello_with("cpu = 70000")), "value-range", 3, "0 to 65535");
}

#[test]
fn all_mistakes_of_a_text_are_reported_in_the_order_of_their_lines() {
    let text =
        "on_end = \"explode\"\n[subject.a]\nunikernel = \"hello\"\nram = \"5\"\nspeed = 3\n[subject.b]\n";
    let problems = plan(text).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|p| p.place().unwrap().line_and_column().0).collect();
    assert_eq!(lines, [1, 4, 5, 6]);
}

#[test]
fn a_description_is_read_from_its_file() {
    let path = std::env::temp_dir().join(format!("palisade-policy-{}.toml", std::process::id()));
    fs::write(&path, hello_with("")).unwrap();
    let planned = load(&path, &Options::default(), &TestLibrary::new());
    fs::remove_file(&path).unwrap();
    assert!(assert_passes(planned).plan.name.starts_with("palisade-policy-"));
}

#[test]
fn a_file_that_is_not_there_is_refused_by_its_name() {
    let problems = load("no/such/file.toml".as_ref(), &Options::default(), &TestLibrary::new()).unwrap_err();
    assert!(
        problems.iter().any(|p| p.rule().id == "file-readable" && p.message().contains("no/such/file.toml"))
    );
    assert_breaks(
        plan("[subject.a]\nunikernel = \"x/y.muen\""),
        "file-readable",
        2,
        "folder of the description",
    );
    assert_breaks(plan("[subject.a]\nunikernel = \"helo\""), "file-readable", 2, "did you mean `hello`?");
}

#[test]
fn an_override_is_read_like_a_value_of_the_file() {
    let overrides = [("hello.ram", "1MiB"), ("on_fatal", "halt"), ("schedule.minor_frame", "1 ms")];
    let overrides = overrides.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let options = Options { overrides, ..Options::default() };
    let planned = assert_passes(plan_with(&hello_with("ram = \"2 MiB\""), &options, &TestLibrary::new()));
    assert_eq!(planned.system.subjects[3].ram.value, 1 << 20);
    assert_eq!(planned.plan.major_frame_us, 1000);
}

#[test]
fn a_wrong_override_is_refused_with_its_own_text() {
    let refused = |key: &str, value: &str| {
        let options = Options { overrides: vec![(key.to_owned(), value.to_owned())], ..Options::default() };
        let problems = plan_with(&hello_with(""), &options, &TestLibrary::new()).unwrap_err();
        let problem = problems.iter().next().unwrap();
        let place = problem.place().unwrap();
        assert_eq!(place.source.text, format!("{key}={value}"));
        let column = if problem.rule().id == "unknown-key" { 1 } else { key.len() + 2 };
        assert_eq!(place.line_and_column(), (1, column));
        (problem.rule().id, problem.advice().unwrap_or_default().to_owned())
    };
    assert_eq!(refused("hallo.ram", "1 MiB"), ("unknown-key", "did you mean `hello`?".to_owned()));
    assert_eq!(refused("hello.rma", "1 MiB"), ("unknown-key", "did you mean `ram`?".to_owned()));
    assert_eq!(refused("hello.ram", "1 MB"), ("value-range", "did you mean `1 MiB`?".to_owned()));
    assert_eq!(refused("hello.ram.size", "1").0, "value-type");
}
