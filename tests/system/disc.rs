//! The image on a disc: the way a machine without a loader of its own boots it, through GRUB and Multiboot 2.

use std::fs;
use std::process::Command;
use std::time::Duration;

use palisade_machine::{
    Accelerator, Emulator, End, Image, Interrupts, Lines, Machine, Next, OnReset, Stream, run,
};

#[test]
fn the_disc_boots_and_says_the_same_as_the_image() {
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let built = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["build", "--unikernel", "hello", "--bootparams", "from a disc", "--output"])
        .arg(out.path())
        .status();
    assert!(built.expect("the command starts").success());
    let disc = fs::read(out.path().join("hello.iso")).expect("the tools for discs are installed");
    let machine = Machine {
        image: Image::Iso(&disc),
        memory: 512 << 20,
        cpus: 1,
        accelerator: Accelerator::Software,
        on_reset: OnReset::End,
        limit: Some(Duration::from_secs(60)),
    };
    let emulator = Emulator::find(None).expect("these tests need QEMU");
    let interrupts = Interrupts::catch().expect("signals can be caught");
    let (mut lines, mut serial) = (Lines::default(), Vec::new());
    let report = run(&emulator, &machine, &interrupts, &mut |stream, bytes| {
        if stream == Stream::Serial {
            serial.extend(lines.push(bytes).iter().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        Ok(Next::Continue)
    });
    assert_eq!(report.expect("the emulator starts").end, End::PowerOff, "{serial:#?}");
    for expected in ["[hello] Command line is: 'from a disc'", "[supervisor] hello: exited with status 0"] {
        assert!(serial.iter().any(|line| line == expected), "{expected} is not in {serial:#?}");
    }
}
