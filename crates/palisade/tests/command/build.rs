//! `build`: the files, and that none of them is ever half there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::{directory, done, names, palisade, text};

#[test]
fn the_image_is_there_in_every_form_and_verifies() {
    let directory = directory();
    let out = directory.path().join("new/out");
    let built = done(&mut palisade(&["build", "--unikernel", "hello", "--output", text(&out)]));
    built.assert_exit(0).assert_says(&["wrote", "hello.elf"]);
    assert_eq!(names(&out), ["hello.elf", "hello.iso", "hello.map.txt"]);
    let verified = done(&mut palisade(&["verify", text(&out.join("hello.elf"))]));
    assert!(verified.assert_exit(0).stdout.starts_with("verified: hello"), "{}", verified.stdout);
}

#[test]
fn the_same_input_gives_the_same_bytes_anywhere() {
    let (one, two) = (directory(), directory());
    for directory in [&one, &two] {
        let mut command = palisade(&["build", "--unikernel", "hello"]);
        done(command.current_dir(directory.path())).assert_exit(0);
    }
    for name in names(one.path()) {
        let read = |directory: &Path| fs::read(directory.join(&name)).expect("it was built");
        assert!(read(one.path()) == read(two.path()), "{name} differs");
    }
}

#[test]
fn a_damaged_image_does_not_verify() {
    let directory = directory();
    done(&mut palisade(&["build", "--unikernel", "hello", "--output", text(directory.path())]))
        .assert_exit(0);
    let path = directory.path().join("hello.elf");
    let mut image = fs::read(&path).expect("it was built");
    // In the kernel's text.
    image[0x1800] ^= 1;
    fs::write(&path, image).expect("writable");
    let judged = done(&mut palisade(&["verify", text(&path)]));
    assert!(judged.assert_exit(125).stdout.contains("kernel-bytes-known"), "{}", judged.stdout);
    let judged = done(&mut palisade(&["verify", "--json", text(&path)]));
    assert_eq!(judged.assert_exit(125).objects()[0]["verified"], false);
}

#[test]
fn without_the_tools_for_a_disc_the_image_is_made_all_the_same() {
    let directory = directory();
    let mut command = palisade(&["build", "--unikernel", "hello", "--output", text(directory.path())]);
    done(command.env("PATH", "/nonexistent")).assert_exit(0).assert_says(&[
        "no ISO image",
        "grub-pc-bin",
        "xorriso",
    ]);
    assert_eq!(names(directory.path()), ["hello.elf", "hello.map.txt"]);
}

#[test]
fn a_path_that_cannot_be_written_is_126_and_nothing_is_left() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "").expect("writable");
    let out = file.join("out");
    let refused = done(&mut palisade(&["build", "--unikernel", "hello", "--output", text(&out)]));
    refused.assert_exit(126).assert_says(&[text(&out)]);
    assert_eq!(names(directory.path()), ["file"]);
}

#[test]
fn a_directory_in_the_place_of_a_file_stays() {
    let directory = directory();
    fs::create_dir(directory.path().join("hello.elf")).expect("writable");
    done(&mut palisade(&["build", "--unikernel", "hello", "--output", text(directory.path())]))
        .assert_exit(126);
    assert!(directory.path().join("hello.elf").is_dir());
}

#[test]
fn a_full_disk_leaves_nothing() {
    let directory = directory();
    let disk = directory.path();
    // A small file system where one may be mounted (in a mount namespace, so that nothing has to be unmounted), else a
    // limit to the size of files, which the command meets in the same way.
    let script = r#"
        [ "$3" = mount ] && mount -t tmpfs -o size=256k tmpfs "$1" 2>/dev/null || { trap '' XFSZ; ulimit -f 256; }
        "$2" build --unikernel hello --output "$1/out" --quiet 2>&1
        echo "exit $?"
        find "$1" -type f
    "#;
    let run = |launcher: &[&str], disk_is: &str| {
        let mut command = Command::new(launcher[0]);
        command.args(&launcher[1..]).args(["-c", script, "bash", text(disk), env!("CARGO_BIN_EXE_palisade")]);
        command.arg(disk_is);
        command.output().expect("bash and unshare are installed")
    };
    let namespace = run(&["unshare", "--mount", "--map-root-user", "bash"], "mount");
    let output = if namespace.status.success() { namespace } else { run(&["bash"], "limit") };
    let said = String::from_utf8(output.stdout).expect("it is text");
    let (said, left) = said.split_once("exit 126\n").unwrap_or_else(|| panic!("{said}"));
    assert!(said.contains("full") || said.contains("too large"), "{said}");
    assert_eq!(left, "");
}
