//! Reading the files under which Linux shows a computer.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Lack;

/// The file system of a computer, or a recorded part of it.
pub(crate) struct Tree<'a>(&'a Path);

impl<'a> Tree<'a> {
    pub(crate) const fn new(root: &'a Path) -> Self {
        Self(root)
    }

    /// A path, from the root on, without a slash in front.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// The bytes of a file that tells `what`.
    pub(crate) fn bytes(&self, path: &str, what: &'static str) -> Result<Vec<u8>, Lack> {
        let path = self.path(path);
        let mut bytes = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Lack::Forbidden { what, path }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Lack::Missing { what, path }),
            Err(error) => Err(Lack::Unreadable { what, path, why: error.to_string() }),
        }
    }

    /// The text of a file that tells `what`.
    pub(crate) fn text(&self, path: &str, what: &'static str) -> Result<String, Lack> {
        self.bytes(path, what).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The eight bytes at an offset of a file, if it can be read there.
    pub(crate) fn word(&self, path: &str, offset: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        fs::File::open(self.path(path)).and_then(|file| file.read_exact_at(&mut bytes, offset)).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// The names in a directory, sorted; none if there is no directory.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn unusable(&self, path: &str, what: &'static str, why: impl Into<String>) -> Lack {
        Lack::Unusable { what, path: self.path(path), why: why.into() }
    }
}

/// Tables of firmware are smaller.
const LARGEST: u64 = 16 << 20;
