//! Builds the freestanding programs of `bare/`: from the command's build script, which embeds them, and from tests.
//!
//! Two promises. The bytes depend on the sources and the pinned toolchain only, and those of programs that speak TLS on the
//! version of the C compiler: not on where the clone lies, not on the environment, not on the user's own cargo configuration. And what comes back is complete: a program that needs a
//! dynamic linker, a relocation or a symbol nobody defines is an error here, not a crash in a machine without a console.

#![forbid(unsafe_code)]

mod cargo;
mod check;
mod error;

use std::fs;
use std::path::{Path, PathBuf};

pub use error::Error;

/// A finished program.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name: that of its binary target, such as `kernel`.
    pub name: String,
    /// The linked file, with symbols, for a debugger.
    pub path: PathBuf,
    /// The program without symbols and sections, for embedding.
    pub bytes: Vec<u8>,
}

/// Builds the binary targets `programs` of the workspace `workspace` (the directory `bare/`) and checks each.
///
/// `target_dir` holds the build's intermediate files. It must not be the target directory of a cargo that waits for
/// this call: that one holds its lock.
///
/// # Errors
///
/// When cargo cannot be started or fails, or when a program is not self-contained.
pub fn build(workspace: &Path, target_dir: &Path, programs: &[&str]) -> Result<Vec<Program>, Error> {
    let directory = cargo::build(workspace, target_dir, programs)?;
    programs.iter().map(|name| finish(&directory, name)).collect()
}

/// Tells cargo to run the calling build script again when a source of the freestanding programs changes.
///
/// # Errors
///
/// When the workspace cannot be read.
pub fn rerun_if_changed(workspace: &Path) -> Result<(), Error> {
    for path in sources(workspace)? {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    Ok(())
}

/// Programs that must not contain a panic: nobody would be there to see it.
const PANIC_FREE: [&str; 7] = ["kernel", "init", "launcher", "time", "log", "supervisor", "nic"];

/// Members of the host workspace that freestanding programs link.
const SHARED: [&str; 7] =
    ["abi", "http", "kernel-core", "services", "site", "unikernel-core", "unikernel-tls"];

fn finish(directory: &Path, name: &str) -> Result<Program, Error> {
    let path = directory.join(name);
    let linked = fs::read(&path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
    check::self_contained(&linked)
        .and_then(|()| if PANIC_FREE.contains(&name) { check::panic_free(&linked) } else { Ok(()) })
        .and_then(|()| check::without_symbols(&linked))
        .map(|bytes| Program { name: name.to_owned(), path: path.clone(), bytes })
        .map_err(|defect| Error::Program { path, defect })
}

/// Everything a build reads. The workspace's own target directory is left out: a build by hand changes no source.
fn sources(workspace: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause| Error::Read { path: workspace.to_owned(), cause };
    let mut found = vec![];
    for entry in fs::read_dir(workspace).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name() != "target" && entry.file_name() != "shared" {
            found.push(entry.path());
        }
    }
    found.extend(SHARED.iter().map(|name| workspace.join("shared").join(name)).filter(|path| path.exists()));
    found.sort();
    Ok(found)
}
