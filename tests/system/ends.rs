//! How a system ends, and what its user learns of it.

use crate::harness::{Place, System};

pub(crate) fn the_first_status_that_is_not_0_becomes_the_exit_status(place: Place) {
    let run = System::described(
        r#"
        [subject.a]
        unikernel = "testing/ends"
        bootparams = "0"
        [subject.b]
        unikernel = "testing/ends"
        bootparams = "7"
        [subject.c]
        unikernel = "testing/ends"
        bootparams = "9"
        "#,
    )
    .at(place)
    .boot();
    run.assert_exit(7);
    for (name, status) in [("a", 0), ("b", 7), ("c", 9)] {
        assert_eq!(run.subject(name)["status"], status);
    }
}

pub(crate) fn a_status_that_does_not_fit_has_an_exit_status_of_its_own(place: Place) {
    let run =
        System::described("[subject.a]\nunikernel = \"testing/ends\"\nbootparams = \"-5\"").at(place).boot();
    run.assert_exit(127);
    assert_eq!(run.subject("a")["status"], -5);
}

pub(crate) fn a_system_that_does_not_end_is_ended_when_time_runs_out(place: Place) {
    let run = System::described("[subject.a]\nunikernel = \"testing/ends\"").seconds(15).at(place).boot();
    run.assert_exit(120);
    run.assert_in_order("a", &["still here", "still here"]);
    assert_eq!(run.subject("a")["state"], "running");
}

pub(crate) fn the_exit_device_powers_off_too(place: Place) {
    let run = System::from_file("systems/hello.toml")
        .argument("--set")
        .argument("power_off=exit-device")
        .at(place)
        .boot();
    run.assert_exit(0);
    assert_eq!(run.result()["end"], "exit-device");
}

pub(crate) fn a_reset_boots_the_system_again(place: Place) {
    let run = System::from_file("systems/hello.toml")
        .argument("--set")
        .argument("on_end=reset")
        .argument("--reboot")
        .at(place)
        .boot_until(|said| said.matches("[hello] Hello, World").count() > 1);
    run.assert_exit(143);
    assert!(run.result()["resets"].as_u64() > Some(0), "{run}");
    run.assert_in_order("hello", &["Hello, World", "Hello, World"]);
}

pub(crate) fn a_machine_without_its_vendor_s_extension_is_refused_by_the_kernel(place: Place) {
    let emulator = match place {
        Place::IntelMachine => concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/bochs-without-vtx"),
        Place::Machine | Place::Computer => {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/system/qemu-without-svm")
        }
    };
    let run =
        System::from_file("systems/hello.toml").argument("--emulator").argument(emulator).at(place).boot();
    run.assert_exit(123);
    let refusal = "kernel refused: the CPU has neither SVM (AMD-V) nor VT-x (Intel)";
    assert!(run.kernel_lines().iter().any(|line| line == refusal), "{run}");
}
