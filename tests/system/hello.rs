//! The first thing a user sees.

use crate::harness::{Place, System};

pub(crate) fn hello_prints_its_lines_and_the_system_powers_off(place: Place) {
    let run = System::from_file("systems/hello.toml").at(place).boot();
    run.assert_exit(0);
    run.assert_in_order(
        "hello",
        &[
            "Solo5: Console: Muen Channel @ ",
            "Solo5: Bindings version ",
            "Solo5: Clock source: Muen PV clock, TSC frequency ",
            "Hello, World",
            "Command line is: 'Hi!'",
            "Solo5: solo5_exit(0) called",
            "Solo5: Halted",
        ],
    );
    assert_eq!(run.result()["end"], "power-off");
    assert_eq!(run.subject("hello")["state"], "exited");
    assert_eq!(run.subject("hello")["status"], 0);
}

pub(crate) fn a_unikernel_boots_without_a_description(place: Place) {
    let run = System::from_arguments(&["--unikernel", "hello", "--bootparams", "Good day"]).at(place).boot();
    run.assert_exit(0);
    run.assert_in_order("hello", &["Command line is: 'Good day'"]);
}

pub(crate) fn the_terminal_shows_every_line_with_the_name_of_its_subject(place: Place) {
    let run = System::from_file("systems/hello.toml").at(place).boot();
    for line in run.lines("hello") {
        assert!(run.stdout().contains(&format!("[hello] {line}\n")), "{line} is not in:\n{}", run.stdout());
    }
}
