use super::pair_and;
use crate::Options;
use crate::testing::{TestLibrary, assert_breaks, assert_passes, hello_with, plan, plan_with};

fn channel(size: &str) -> String {
    pair_and(&format!("[[channel]]\nname = \"ab\"\nwriter = \"a:x\"\nreader = \"b:x\"\nsize = \"{size}\""))
}

#[test]
fn a_system_that_fits_the_machine_passes() {
    assert_passes(plan(&hello_with("ram = \"480 MiB\"")));
    let options = Options { memory: Some(1 << 30), ..Options::default() };
    assert_passes(plan_with(&hello_with("ram = \"900 MiB\""), &options, &TestLibrary::new()));
}

#[test]
fn more_ram_than_the_machine_has_is_refused_with_both_figures() {
    let ten_gigabytes = plan(&hello_with("ram = \"10 GiB\""));
    assert_breaks(
        ten_gigabytes,
        "memory-fits",
        3,
        "qemu-q35 has 510 MiB usable below 4 GiB, of 512 MiB installed",
    );
    // The sum fits, the places do not: the image needs its room, too.
    assert_breaks(plan(&hello_with("ram = \"509 MiB\"")), "memory-fits", 3, "less RAM");
    let options = Options { memory: Some(16 << 20), ..Options::default() };
    let small = plan_with(&hello_with("ram = \"32 MiB\""), &options, &TestLibrary::new());
    assert_breaks(small, "memory-fits", 3, "14 MiB usable");
}

#[test]
fn ram_of_whole_pages_passes() {
    assert_passes(plan(&hello_with("ram = \"68 KiB\"")));
}

#[test]
fn ram_that_is_no_whole_page_or_too_small_or_too_large_is_refused() {
    assert_breaks(plan(&hello_with("ram = \"100001 B\"")), "ram-size", 3, "100 KiB");
    assert_breaks(plan(&hello_with("ram = \"4 KiB\"")), "ram-size", 3, "64 KiB");
    assert_breaks(plan(&hello_with("ram = \"1 TiB\"")), "ram-size", 3, "52 GiB");
}

#[test]
fn a_channel_of_one_page_passes() {
    assert_passes(plan(&channel("4 KiB")));
}

#[test]
fn a_channel_that_is_no_whole_page_is_refused() {
    assert_breaks(plan(&channel("5000 B")), "channel-size", 9, "8 KiB");
    assert_breaks(plan(&channel("0 B")), "channel-size", 9, "4 KiB");
    assert_breaks(plan(&hello_with("log = \"1 B\"")), "channel-size", 3, "4 KiB");
}

#[test]
fn channels_that_fit_the_window_pass() {
    let options = Options { memory: Some(2 << 30), ..Options::default() };
    assert_passes(plan_with(&channel("1700 MiB"), &options, &TestLibrary::new()));
}

#[test]
fn channels_beyond_the_window_are_refused() {
    let problems = plan(&channel("1800 MiB")).unwrap_err();
    let broken: Vec<_> = problems.iter().filter(|p| p.rule().id == "channel-window").collect();
    let lines: Vec<_> = broken.iter().map(|p| p.place().unwrap().line_and_column().0).collect();
    assert_eq!(lines, [1, 3]);
    assert!(broken.iter().all(|problem| problem.advice().unwrap().contains("1792 MiB")));
}
