//! Every exit status that the help of `boot` lists.

use crate::run::{boot, done, palisade, stand_in};

#[test]
fn the_status_of_the_unikernel_is_passed_on() {
    for status in [0, 1, 3, 119] {
        let said = format!(
            "[supervisor] hello: exited with status {status}\n[supervisor] system: all unikernels have ended\n"
        );
        done(&mut boot(&said, "", "powers-off")).assert_exit(status);
    }
}

#[test]
fn a_unikernel_without_a_status_counts_as_a_success() {
    done(&mut boot("[supervisor] hello: halted\n", "", "powers-off")).assert_exit(0);
}

#[test]
fn a_status_that_does_not_fit_is_127() {
    for status in [120, 255, 256, -1] {
        done(&mut boot(&format!("[supervisor] hello: exited with status {status}\n"), "", "powers-off"))
            .assert_exit(127);
    }
}

#[test]
fn time_that_runs_out_is_120() {
    let done = done(boot("[hello] still here\n", "", "hangs").args(["--for", "0.5"]));
    done.assert_exit(120).assert_says(&["time ran out"]);
    assert_eq!(done.stdout, "[hello] still here\n");
}

#[test]
fn a_faulted_subject_is_121_unless_it_is_restarted() {
    let fault = "[supervisor] hello: faulted: page fault\n";
    done(&mut boot(fault, "", "powers-off")).assert_exit(121);
    let restarted = format!(
        "{fault}[supervisor] hello: restarting, generation 2\n[supervisor] hello: exited with status 0\n"
    );
    done(&mut boot(&restarted, "", "powers-off")).assert_exit(0);
}

#[test]
fn a_fault_of_a_native_subject_is_121_too() {
    let said = "[supervisor] hello: exited with status 0\n[supervisor] time: faulted: general protection\n";
    done(&mut boot(said, "", "powers-off")).assert_exit(121);
}

#[test]
fn a_stopped_kernel_is_122_and_its_last_words_are_shown() {
    let words = "kernel: booted\nkernel stopped: VM entry failed\n  cpu 0\n";
    let done = done(&mut boot("", words, "hangs"));
    done.assert_exit(122).assert_says(&["the kernel stopped: VM entry failed"]);
    assert_eq!(done.stdout, "[kernel] kernel stopped: VM entry failed\n[kernel]   cpu 0\n");
}

#[test]
fn a_reset_without_a_reason_is_122() {
    done(&mut boot("", "", "resets")).assert_exit(122).assert_says(&["without a word from the kernel"]);
}

#[test]
fn a_reset_after_the_end_of_all_unikernels_is_an_ordinary_end() {
    let said = "[supervisor] hello: exited with status 2\n[supervisor] system: all unikernels have ended\n";
    done(&mut boot(said, "", "resets")).assert_exit(2);
}

#[test]
fn a_refused_machine_is_123() {
    let done = done(&mut boot("", "kernel refused: the CPU has no SVM\n", "hangs"));
    done.assert_exit(123).assert_says(&["the CPU has no SVM"]);
}

#[test]
fn a_missing_emulator_is_124_and_says_how_to_install_it() {
    let mut command = palisade(&["boot", "--unikernel", "hello", "--emulator", "/nonexistent"]);
    done(&mut command).assert_exit(124).assert_says(&["/nonexistent", "apt-get install", "qemu-system-x86"]);
    let mut command = palisade(&["boot", "--unikernel", "hello"]);
    done(command.env("PATH", "/nonexistent")).assert_exit(124).assert_says(&["qemu-system-x86_64"]);
}

#[test]
fn a_missing_bochs_is_124_and_says_how_to_install_it() {
    let mut command =
        palisade(&["boot", "--unikernel", "hello", "--on", "bochs", "--emulator", "/nonexistent"]);
    done(&mut command).assert_exit(124).assert_says(&[
        "/nonexistent",
        "apt-get install",
        "bochsbios",
        "bochs-term",
    ]);
    let mut command = palisade(&["boot", "--unikernel", "hello", "--on", "bochs"]);
    let done = done(command.env("BXSHARE", "/nonexistent"));
    done.assert_exit(124).assert_says(&["/nonexistent/BIOS-bochs-latest", "apt-get install"]);
}

#[test]
fn what_bochs_cannot_do_is_125_and_says_why() {
    for (arguments, reason) in [
        (&["--unikernel", "hello", "--accelerator", "kvm"][..], "every instruction itself"),
        (&["--unikernel", "hello", "--tap", "tap0"], "no unikernel of this system has a network device"),
        (&["--unikernel", "hello", "--publish", "8080:80"], "network device"),
        (&["--unikernel", "hello", "--set", "machine=qemu-q35"], "`qemu-q35` is not emulated there"),
        (&["--site", "."], "has no network card"),
    ] {
        let mut command = palisade(&["boot", "--on", "bochs"]);
        done(command.args(arguments)).assert_exit(125).assert_says(&[reason]);
    }
    let mut command = palisade(&["boot", "--unikernel", "hello", "--set", "machine=bochs", "--on", "qemu"]);
    done(&mut command).assert_exit(125).assert_says(&["`bochs` is not emulated there", "qemu-or-bochs"]);
}

#[test]
fn a_list_that_the_emulator_s_network_cannot_keep_to_is_125() {
    let listed = "network.outbound=[\"git.example.org:443\"]";
    let mut command = palisade(&["boot", "--site", ".", "--set", listed, "--emulator"]);
    done(command.arg(stand_in())).assert_exit(125).assert_says(&[
        "`outbound`",
        "palisade run",
        "--set network.outbound=any",
    ]);
}

#[test]
fn what_is_not_an_emulator_is_124() {
    done(&mut palisade(&["boot", "--unikernel", "hello", "--emulator", "/bin/cat"])).assert_exit(124);
}

#[test]
fn kvm_without_nested_virtualisation_is_124() {
    let mut command = palisade(&["boot", "--unikernel", "hello", "--accelerator", "kvm", "--emulator"]);
    done(command.arg(stand_in()).env("THEN", "fails")).assert_exit(124).assert_says(&["KVM"]);
}

#[test]
fn a_wrong_command_line_is_125() {
    for arguments in [&["boot"][..], &["frobnicate"], &["boot", "a", "--for", "soon"]] {
        done(&mut palisade(arguments)).assert_exit(125).assert_says(&["--help"]);
    }
}

#[test]
fn a_failing_emulator_is_126_and_its_words_are_shown() {
    done(&mut boot("", "", "fails")).assert_exit(126).assert_says(&["no memory left", "status 1"]);
}
