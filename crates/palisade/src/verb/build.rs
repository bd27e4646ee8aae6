//! `palisade build`: the image as files.

use std::fs;
use std::path::{Path, PathBuf};

use palisade_image::Image;
use palisade_image::iso::{self, IsoError};
use palisade_image::output::{Staged, WriteError};
use palisade_machine::Interrupts;
use rustix::fs::Mode;
use rustix::process::umask;
use serde_json::json;

use crate::certificates;
use crate::cli::Build;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::system::{self, Purpose};
use crate::terminal::Terminal;

/// Builds and verifies an image, and writes `NAME.map.txt`, `NAME.elf` and `NAME.iso`. Without the tools for the last
/// one the others are made all the same.
pub(crate) fn build(arguments: &Build, terminal: &Terminal) -> Result<Exit, Failure> {
    let planned = system::plan(&arguments.system, Purpose::MACHINE, &[], terminal)?;
    let image = system::image(&planned, terminal)?;
    let secret = certificates::has_private_key(&planned);
    if secret {
        // For the files of the tools that help, too.
        umask(Mode::RWXG | Mode::RWXO);
    }
    // A signal must not leave a temporary file: it is looked at when nothing is under way.
    let interrupts =
        Interrupts::catch().map_err(|error| Failure::host("signals cannot be caught", &error))?;
    let directory = Directory::make(&arguments.output)?;
    let written = write(&directory, &image, &interrupts);
    if let Some(signal) = interrupts.received() {
        return Ok(Exit::Interrupted(signal));
    }
    let Written { paths, obstacle } = written?;
    directory.keep();
    if terminal.json() {
        terminal.object(&json!({
            "event": "built",
            "system": image.name,
            "files": paths,
            "iso_obstacle": obstacle,
            "private_key": secret,
            "image_bytes": image.bytes.len(),
            "kernel_sha256": system::hex(&image.kernel_sha256),
        }))?;
    } else {
        for path in &paths {
            terminal.remark(format_args!("wrote {}", path.display()));
        }
        if let Some(obstacle) = obstacle {
            terminal.remark(format_args!("no ISO image: {obstacle}"));
        }
        if secret {
            terminal.remark("they contain a private key, so only their owner may read them");
        }
    }
    Ok(Exit::SUCCESS)
}

/// What was written, and why one file was not.
struct Written {
    paths: Vec<PathBuf>,
    obstacle: Option<String>,
}

/// All files are complete before the first of them gets its name.
fn write(directory: &Directory, image: &Image, interrupts: &Interrupts) -> Result<Written, Failure> {
    let path = |extension: &str| directory.path.join(format!("{}.{extension}", image.name));
    let (elf, map, disc) = (path("elf"), path("map.txt"), path("iso"));
    let mut staged = vec![
        Staged::new(&map, image.map.as_bytes()).map_err(refused)?,
        Staged::new(&elf, &image.bytes).map_err(refused)?,
    ];
    let mut written = Written { paths: vec![elf, map], obstacle: None };
    match iso::staged(&image.bytes, &image.name, &disc) {
        Ok(file) => {
            staged.push(file);
            written.paths.push(disc);
        }
        Err(missing @ IsoError::ToolMissing { .. }) => written.obstacle = Some(missing.to_string()),
        Err(error) => return Err(Failure::message(Exit::Host, error, None)),
    }
    if interrupts.received().is_none() {
        staged.into_iter().try_for_each(Staged::publish).map_err(refused)?;
    }
    Ok(written)
}

fn refused(error: WriteError) -> Failure {
    Failure::message(Exit::Host, error, None)
}

/// The directory for the results. If it was made here and stays empty, it is taken away again.
struct Directory {
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Directory {
    fn make(path: &Path) -> Result<Self, Failure> {
        let missing = path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists());
        let this = Self { path: path.into(), made: missing.map(Path::to_path_buf).collect() };
        fs::create_dir_all(path).map_err(|error| Failure::writing(path, &error))?;
        Ok(this)
    }

    fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // From the innermost outwards, and only as long as they are empty.
        self.made.iter().map(fs::remove_dir).take_while(Result::is_ok).for_each(drop);
    }
}
