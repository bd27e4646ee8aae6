//! The image on a disc: the way a machine without a loader of its own boots it, through GRUB and Multiboot 2.

use std::fs;
use std::process::Command;

use palisade_machine::{End, Image, Program};
use serde_json::Value;

use crate::harness::boot_image;

#[test]
fn one_disc_boots_on_both_processors_and_says_the_same() {
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    build("qemu-or-bochs", out.path());
    let disc = fs::read(out.path().join("hello.iso")).expect("the tools for discs are installed");
    for program in [Program::Qemu, Program::Bochs] {
        let (end, serial) = boot_image(program, Image::Iso(&disc));
        assert_eq!(end, End::PowerOff, "{serial:#?}");
        for expected in ["[hello] Command line is: 'from a disc'", "[supervisor] hello: exited with status 0"]
        {
            assert!(serial.iter().any(|line| line == expected), "{expected} is not in {serial:#?}");
        }
    }
}

#[test]
fn images_for_both_processors_have_the_same_kernel() {
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let kernels = ["qemu-q35", "bochs", "qemu-or-bochs"].map(|machine| build(machine, out.path()));
    assert!(kernels[0].is_string() && kernels.iter().all(|kernel| *kernel == kernels[0]), "{kernels:?}");
}

/// Builds a system for a machine, and gives the hash of its kernel.
fn build(machine: &str, out: &std::path::Path) -> Value {
    let built = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["build", "--unikernel", "hello", "--bootparams", "from a disc", "--json", "--output"])
        .arg(out)
        .args(["--set", &format!("machine={machine}")])
        .output()
        .expect("the command starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let object: Value = serde_json::from_slice(&built.stdout).expect("the result is JSON");
    object["kernel_sha256"].clone()
}
