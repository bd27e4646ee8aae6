//! The image on a disc: the way a machine without a loader of its own boots it, through GRUB and Multiboot 2.

use std::fs;
use std::process::Command;

use palisade_machine::{End, Image};

use crate::harness::boot_image;

#[test]
fn the_disc_boots_and_says_the_same_as_the_image() {
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let built = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["build", "--unikernel", "hello", "--bootparams", "from a disc", "--output"])
        .arg(out.path())
        .status();
    assert!(built.expect("the command starts").success());
    let disc = fs::read(out.path().join("hello.iso")).expect("the tools for discs are installed");
    let (end, serial) = boot_image(Image::Iso(&disc));
    assert_eq!(end, End::PowerOff, "{serial:#?}");
    for expected in ["[hello] Command line is: 'from a disc'", "[supervisor] hello: exited with status 0"] {
        assert!(serial.iter().any(|line| line == expected), "{expected} is not in {serial:#?}");
    }
}
