//! Unikernels that nobody here wrote. None is part of this repository: the environment variable `PALISADE_FOREIGN` names
//! a directory of them.
//!
//! Every `NAME.muen` is booted; `NAME.args`, if it is there, is its command line, and each line of `NAME.expect` must
//! begin one of the lines it logs, in that order.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::System;

#[test]
fn foreign_unikernels_run_unmodified() {
    let Some(directory) = env::var_os("PALISADE_FOREIGN") else {
        println!("PALISADE_FOREIGN names no directory with foreign unikernels: nothing to run");
        return;
    };
    let files = fs::read_dir(&directory).expect("PALISADE_FOREIGN is a directory");
    let paths = files.map(|entry| entry.expect("it can be listed").path());
    let unikernels: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "muen")).collect();
    assert!(!unikernels.is_empty(), "PALISADE_FOREIGN has no file NAME.muen");
    for unikernel in unikernels {
        println!("{}", unikernel.display());
        runs_unmodified(&unikernel);
    }
}

fn runs_unmodified(unikernel: &Path) {
    let read = |extension: &str| fs::read_to_string(unikernel.with_extension(extension)).unwrap_or_default();
    let arguments = read("args");
    let run = System::from_arguments(&[Path::new("--unikernel"), unikernel])
        .argument(format!("--bootparams={}", arguments.trim_end()))
        .boot();
    run.assert_exit(0);
    let name = run.unikernel();
    let expected = read("expect");
    let mut lines = vec!["Solo5: Console: Muen Channel @ ", "Solo5: Bindings version "];
    lines.extend(expected.lines());
    run.assert_in_order(&name, &lines);
}
