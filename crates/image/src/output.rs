//! Files that are there completely or not at all.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use thiserror::Error;

/// Why a file could not be written. What was there before is untouched.
#[derive(Debug, Error)]
#[error("cannot write {}: {}", path.display(), reason(source))]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Writes a file through a temporary one in the same directory, so that nobody ever sees half of it.
///
/// # Errors
/// The directory cannot be written, or the disk is full. Nothing is left behind then.
pub fn write_file_atomically(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    Staged::new(path, content)?.publish()
}

/// A complete file that has not its name yet. It vanishes unless it is published: of several files that belong together
/// none need be published before all are complete.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    file: NamedTempFile,
}

impl Staged {
    /// A file that will be at `path`.
    ///
    /// # Errors
    /// The directory cannot be written, or the disk is full. Nothing is left behind then.
    pub fn new(path: &Path, content: &[u8]) -> Result<Self, WriteError> {
        Self::written_by(path, |file| file.write_all(content))
    }

    fn written_by(
        path: &Path,
        write: impl FnOnce(&mut NamedTempFile) -> io::Result<()>,
    ) -> Result<Self, WriteError> {
        let attempt = || {
            let mut file = beside(path)?;
            write(&mut file)?;
            Ok(file)
        };
        let file = attempt().map_err(|source| WriteError { path: path.into(), source })?;
        Self::complete(path, file)
    }

    /// A file that was made with [`beside`] and is complete. It is on the disk after this.
    pub(crate) fn complete(path: &Path, file: NamedTempFile) -> Result<Self, WriteError> {
        match file.as_file().sync_all() {
            Ok(()) => Ok(Self { path: path.into(), file }),
            Err(source) => Err(WriteError { path: path.into(), source }),
        }
    }

    /// Gives the file its name; what had it before is gone.
    ///
    /// # Errors
    /// The directory cannot be written any more.
    pub fn publish(self) -> Result<(), WriteError> {
        let Self { path, file } = self;
        file.persist(&path).map(drop).map_err(|error| WriteError { path, source: error.error })
    }
}

/// An empty temporary file in the directory of `path`. It vanishes unless it is published.
pub(crate) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // As for any new file, the process's mask decides who else may read it.
    Builder::new().prefix(".palisade-").permissions(Permissions::from_mode(0o666)).tempfile_in(directory)
}

/// What the operating system said, in the words of somebody who wants a file to be there.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        io::ErrorKind::NotFound => "its directory does not exist".into(),
        io::ErrorKind::NotADirectory => "part of its path is not a directory".into(),
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(directory).unwrap().map(name).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello.elf");
        write_file_atomically(&path, b"first, and longer").unwrap();
        write_file_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(directory.path()), ["hello.elf"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o400, 0o400);
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello.elf");
        write_file_atomically(&path, b"old").unwrap();
        let error = Staged::written_by(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("cannot write {}: the disk is full", path.display())
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["hello.elf"]);
    }

    #[test]
    fn what_is_not_published_vanishes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hello.elf");
        drop(Staged::new(&path, b"complete").unwrap());
        assert!(names(directory.path()).is_empty());
        Staged::new(&path, b"complete").unwrap().publish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"complete");
    }

    #[test]
    fn an_impossible_path_is_named_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, b"").unwrap();
        let reason = |path: &Path| write_file_atomically(path, b"x").unwrap_err().to_string();
        assert!(
            reason(&directory.path().join("none/hello.elf"))
                .ends_with("none/hello.elf: its directory does not exist")
        );
        assert!(reason(&file.join("hello.elf")).ends_with("part of its path is not a directory"));
        assert!(reason(directory.path()).ends_with("it is a directory"));
        assert_eq!(names(directory.path()), ["file"]);
    }
}
