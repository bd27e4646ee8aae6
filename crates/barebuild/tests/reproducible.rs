//! The same sources give the same bytes, wherever they lie.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_barebuild::build;

#[test]
fn two_clones_in_different_directories_give_the_same_programs() {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reproducible");
    let programs: Vec<_> = ["one", "another/place"].map(|name| build_clone(&temporary.join(name))).into();
    for (first, second) in programs[0].iter().zip(&programs[1]) {
        assert_eq!(first.0, second.0);
        assert!(first.1 == second.1, "{} differs", first.0);
    }
    fs::remove_dir_all(temporary).unwrap();
}

/// Copies the sources to `directory` and builds some programs there. Returns their names and linked files.
fn build_clone(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::create_dir_all(directory).unwrap();
    // A build by hand may have left a large target directory in `bare`.
    let done = Command::new("tar")
        .args(["--create", "--exclude=bare/target", "--directory"])
        .arg(&repository)
        .args(["Cargo.toml", "bare", "crates", "--file"])
        .arg(directory.join("sources.tar"))
        .status()
        .unwrap();
    assert!(done.success());
    let done = Command::new("tar")
        .args(["--extract", "--file", "sources.tar"])
        .current_dir(directory)
        .status()
        .unwrap();
    assert!(done.success());
    let programs =
        build(&directory.join("bare"), &directory.join("target"), &["kernel", "log", "hello", "website"]);
    programs
        .unwrap_or_else(|error| panic!("{error}"))
        .into_iter()
        .map(|program| {
            let linked = fs::read(&program.path).unwrap();
            assert!(program.bytes.len() < linked.len());
            (program.name, linked)
        })
        .collect()
}
