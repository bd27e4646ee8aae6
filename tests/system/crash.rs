//! What is left of a system that had to stop: the crash record, and what a subject with rights over the machine can do.

use crate::harness::{Place, System};

pub(crate) fn the_boot_after_a_crash_reports_it(place: Place) {
    let run = System::described(
        r#"
        on_fatal = "reset"
        [subject.watchdog]
        unikernel = "testing/raise"
        bootparams = "system_panic"
        rights = ["panic"]
        "#,
    )
    .argument("--reboot")
    .at(place)
    .boot_until(|said| said.contains("[log] boot 2 crashed: "));
    run.assert_exit(143);
    let stopped = run
        .kernel_lines()
        .iter()
        .filter(|l| l.starts_with("kernel stopped: a subject asked for it, subject watchdog"))
        .count();
    assert!(stopped > 1, "{run}");
    run.assert_in_order(
        "log",
        &["boot 1 crashed: a subject asked for it", "boot 2 crashed: a subject asked for it"],
    );
}

pub(crate) fn a_subject_stops_the_machine_only_with_the_right_to(place: Place) {
    for (right, event, exit) in
        [("panic", "system_panic", 122), ("power-off", "system_power_off", 0), ("reset", "system_reset", 122)]
    {
        let description = |rights: &str| {
            format!(
                "[subject.a]\nunikernel = \"testing/raise\"\nbootparams = \"{event}\"\nrights = [{rights}]"
            )
        };
        let run = System::described(&description(&format!("\"{right}\""))).at(place).boot();
        run.assert_exit(exit);
        run.assert_in_order("a", &[&format!("raising {event}")]);
        let run = System::described(&description("")).at(place).boot();
        run.assert_exit(1);
        run.assert_in_order("a", &[&format!("there is no event `{event}`")]);
    }
}

pub(crate) fn the_kernel_says_at_the_end_what_it_counted(place: Place) {
    let run = System::from_file("systems/hello.toml").at(place).boot();
    run.assert_exit(0);
    let lines = run.kernel_lines();
    let line = lines.iter().find(|line| line.starts_with("kernel: ")).unwrap_or_else(|| panic!("{run}"));
    let words: Vec<_> = line.trim_start_matches("kernel: ").split(", ").collect();
    let [exits, interrupts, idle] = words.as_slice() else { panic!("{line}") };
    for (count, what) in [(exits, " exits"), (interrupts, " interrupts"), (idle, " times idle")] {
        let count = count.strip_suffix(what).and_then(|number| number.parse().ok());
        assert!(count.is_some_and(|count: u64| count > 0), "{line}");
    }
}
