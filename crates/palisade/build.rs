//! Builds the freestanding programs that the command carries inside itself.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let bare = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bare");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    palisade_barebuild::rerun_if_changed(&bare)?;
    for program in palisade_barebuild::build(&bare, &out.join("target"), &PROGRAMS)? {
        fs::write(out.join(program.name), program.bytes)?;
    }
    Ok(())
}

/// What `src/embedded.rs` includes.
const PROGRAMS: [&str; 10] =
    ["kernel", "launcher", "init", "time", "log", "supervisor", "nic", "hello", "probe", "website"];
