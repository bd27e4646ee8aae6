//! A bootable disc with an image on it: GRUB from Debian's packages, and one menu entry that starts at once.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use thiserror::Error;

use crate::output::{self, Staged, WriteError};

/// Why there is no disc.
#[derive(Debug, Error)]
pub enum IsoError {
    /// A program or GRUB's files are not installed. The image itself does not need them.
    #[error("an ISO image needs {missing}, which is not installed (Debian: apt-get install {PACKAGES})")]
    ToolMissing {
        /// What was not found.
        missing: String,
    },
    /// GRUB's tool failed.
    #[error("grub-mkrescue failed: {0}")]
    ToolFailed(String),
    /// The name cannot be the name of a file on the disc.
    #[error(
        "\"{0}\" cannot be the name of a file on the disc: only letters, digits, '-', '_' and '.' can be in it"
    )]
    Name(String),
    /// Temporary files could not be made.
    #[error("cannot prepare the disc's files in {}: {}", std::env::temp_dir().display(), output::reason(.0))]
    Prepare(#[source] io::Error),
    /// The disc could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Debian packages with everything that [`write()`] needs.
pub const PACKAGES: &str = "grub-common grub-pc-bin xorriso";

/// Writes an ISO image that boots `image` under GRUB. The same image and name always give the same bytes.
///
/// # Errors
/// See [`IsoError`]. Nothing is left behind then, and what was at `path` is untouched.
pub fn write(image: &[u8], name: &str, path: &Path) -> Result<(), IsoError> {
    Ok(staged(image, name, path)?.publish()?)
}

/// Makes the same image as [`write()`], and gives its bytes.
///
/// # Errors
/// See [`IsoError`]. Nothing is left behind in any case.
pub fn bytes(image: &[u8], name: &str) -> Result<Vec<u8>, IsoError> {
    let directory = tempfile::Builder::new().prefix("palisade-iso-").tempdir().map_err(IsoError::Prepare)?;
    let path = directory.path().join("disc.iso");
    write(image, name, &path)?;
    fs::read(&path).map_err(IsoError::Prepare)
}

/// Makes the same image as [`write()`], for whoever has to publish it together with other files.
///
/// # Errors
/// See [`IsoError`]. Nothing is left behind then.
pub fn staged(image: &[u8], name: &str, path: &Path) -> Result<Staged, IsoError> {
    staged_with(&Tools::default(), image, name, path)
}

/// Where GRUB's tool and files are.
struct Tools {
    mkrescue: PathBuf,
    grub: PathBuf,
}

impl Default for Tools {
    fn default() -> Self {
        Self { mkrescue: "grub-mkrescue".into(), grub: "/usr/lib/grub/i386-pc".into() }
    }
}

fn staged_with(tools: &Tools, image: &[u8], name: &str, path: &Path) -> Result<Staged, IsoError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(IsoError::Name(name.into()));
    }
    if !tools.grub.join("multiboot2.mod").exists() {
        return Err(IsoError::ToolMissing { missing: "GRUB for PC BIOS".into() });
    }
    let staging = tempfile::Builder::new().prefix("palisade-iso-").tempdir().map_err(IsoError::Prepare)?;
    let (files, scratch) = (staging.path().join("files"), staging.path().join("scratch"));
    stage(image, name, &files).and_then(|()| fs::create_dir(&scratch)).map_err(IsoError::Prepare)?;
    let write_error = |source| WriteError { path: path.into(), source };
    let mut disc = output::beside(path).map_err(write_error)?;
    let result = run(tools, &files, &scratch, disc.path())?;
    if !result.status.success() || !is_disc(disc.as_file_mut()) {
        return Err(failure(&result, path));
    }
    Ok(Staged::complete(path, disc)?)
}

/// Makes the files of the disc.
fn stage(image: &[u8], name: &str, files: &Path) -> io::Result<()> {
    let grub = files.join("boot/grub");
    fs::create_dir_all(&grub)?;
    fs::write(files.join(format!("boot/{name}.elf")), image)?;
    let menu = format!("set timeout=0\nmenuentry \"{name}\" {{\n    multiboot2 /boot/{name}.elf\n}}\n");
    fs::write(grub.join("grub.cfg"), menu)
}

fn run(tools: &Tools, files: &Path, scratch: &Path, disc: &Path) -> Result<Output, IsoError> {
    let mut command = Command::new(&tools.mkrescue);
    command
        // When the tool fails, it leaves its temporary files behind.
        .env("TMPDIR", scratch)
        .env("SOURCE_DATE_EPOCH", DATE_EPOCH)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        // Only BIOS: an EFI part would come and go with the packages that happen to be installed.
        .arg("--directory")
        .arg(&tools.grub)
        .args(["--install-modules=multiboot2 normal", "--locales=", "--fonts=", "--themes=", "--output"])
        .arg(disc)
        .arg(files)
        // From here on options of xorriso.
        .args(["-volid", "PALISADE"])
        .arg(format!("--modification-date={DATE}"))
        .args(["--set_all_file_dates", DATE]);
    command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => IsoError::ToolMissing { missing: tools.mkrescue.display().to_string() },
        _ => IsoError::ToolFailed(error.to_string()),
    })
}

/// What went wrong, from what the tool printed.
fn failure(result: &Output, path: &Path) -> IsoError {
    let said = String::from_utf8_lossy(&result.stderr);
    let has = |text: &str| said.contains(text);
    if has("exceeds free space") {
        let source = io::ErrorKind::StorageFull.into();
        return IsoError::Write(WriteError { path: path.into(), source });
    }
    if has("No space left") {
        return IsoError::Prepare(io::ErrorKind::StorageFull.into());
    }
    if has("xorriso not found") {
        return IsoError::ToolMissing { missing: "xorriso".into() };
    }
    let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    IsoError::ToolFailed(match last.as_slice() {
        [] => format!("it said nothing ({})", result.status),
        lines => lines[lines.len().saturating_sub(3)..].join("; "),
    })
}

/// Whether the file is an ISO 9660 volume: the tool has been seen to report success without one.
fn is_disc(file: &mut fs::File) -> bool {
    let mut identifier = [0; 5];
    file.seek(SeekFrom::Start(0x8001)).is_ok()
        && file.read_exact(&mut identifier).is_ok()
        && identifier == *b"CD001"
}

/// The date of everything on the disc: 2020-01-01, for GRUB and for xorriso.
const DATE_EPOCH: &str = "1577836800";
const DATE: &str = "2020010100000000";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn two_builds_in_different_directories_are_equal() {
        let image: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
        let build = || {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("hello.iso");
            write(&image, "hello", &path).unwrap();
            assert_eq!(names(directory.path()), 1);
            fs::read(path).unwrap()
        };
        let first = build();
        // ISO 9660 and GRUB note times in hundredths of a second and in whole seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let second = build();
        assert!(first == second, "the discs differ");
        assert!(first.windows(image.len()).any(|w| w == image), "the image is on the disc as it is");
    }

    #[test]
    fn a_missing_tool_is_named_with_the_packages_to_install() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello.iso");
        fs::write(directory.path().join("multiboot2.mod"), b"").unwrap();
        let missing = Tools { mkrescue: "no-such-mkrescue".into(), grub: directory.path().into() };
        let no_grub = Tools { grub: "/nowhere".into(), ..Tools::default() };
        for tools in [missing, no_grub] {
            let error = staged_with(&tools, b"image", "hello", &path).unwrap_err();
            assert!(matches!(error, IsoError::ToolMissing { .. }));
            assert!(error.to_string().contains("apt-get install grub-common grub-pc-bin xorriso"), "{error}");
        }
        assert_eq!(names(directory.path()), 1, "only what the test made");
    }

    #[test]
    fn a_tool_that_fails_or_writes_no_disc_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let grub = directory.path().join("grub");
        fs::create_dir(&grub).unwrap();
        fs::write(grub.join("multiboot2.mod"), b"").unwrap();
        let path = directory.path().join("hello.iso");
        fs::write(&path, b"old").unwrap();
        for mkrescue in ["/bin/true", "/bin/false"] {
            let tools = Tools { mkrescue: mkrescue.into(), grub: grub.clone() };
            let error = staged_with(&tools, b"image", "hello", &path).unwrap_err();
            assert!(matches!(error, IsoError::ToolFailed(_)), "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(names(directory.path()), 2);
        }
    }

    #[test]
    fn a_name_cannot_say_more_than_a_name_to_the_boot_loader() {
        for name in ["", "a b", "a\"b", "../a", "a\n}"] {
            let error = write(b"image", name, Path::new("/nowhere/hello.iso")).unwrap_err();
            assert!(matches!(error, IsoError::Name(_)), "{name:?}");
        }
    }
}
