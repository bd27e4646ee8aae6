//! Reads the files of a directory.

use std::fs::{self, DirEntry, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::error::PackError;
use super::{File, MAX_FILES, MAX_SIZE};
use crate::is_servable;

/// The files below a directory, and the paths of what was left out.
pub(super) fn read(directory: &Path) -> Result<(Vec<File>, Vec<String>), PackError> {
    let root = fs::canonicalize(directory).map_err(reading(directory))?;
    if !root.is_dir() {
        return Err(PackError::NotADirectory { path: directory.to_owned() });
    }
    let mut walk = Walk { root: root.clone(), size: 0, files: Vec::new(), hidden: Vec::new() };
    walk.directory(directory, "/", &mut vec![root])?;
    walk.hidden.sort();
    Ok((walk.files, walk.hidden))
}

struct Walk {
    /// The site's directory, without links in its path.
    root: PathBuf,
    /// Bytes read.
    size: u64,
    files: Vec<File>,
    hidden: Vec<String>,
}

impl Walk {
    /// Reads a directory whose path in the site is `prefix`, with a slash at its end. `above` are the directories that it
    /// is in and itself, without links in their paths: a link to one of them would never end.
    fn directory(
        &mut self,
        directory: &Path,
        prefix: &str,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), PackError> {
        let list = fs::read_dir(directory).and_then(|list| list.collect::<io::Result<Vec<_>>>());
        let mut list = list.map_err(reading(directory))?;
        list.sort_by_key(DirEntry::file_name);
        for entry in list {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| PackError::NotUtf8 { path: path.clone() })?;
            let served = format!("{prefix}{name}");
            if name.starts_with('.') && name != WELL_KNOWN {
                self.hidden.push(served);
                continue;
            }
            if !is_servable(&served) {
                return Err(PackError::NotServable { path: served });
            }
            let target = self.follow(&path)?;
            let metadata = fs::metadata(&target).map_err(reading(&path))?;
            if metadata.is_dir() {
                if above.contains(&target) {
                    return Err(PackError::Loop { path });
                }
                above.push(target);
                self.directory(&path, &(served + "/"), above)?;
                above.pop();
            } else if metadata.is_file() {
                self.file(path, served, &metadata)?;
            } else {
                return Err(PackError::Special { path });
            }
        }
        Ok(())
    }

    /// The path without links, which must be inside the site.
    fn follow(&self, path: &Path) -> Result<PathBuf, PackError> {
        let target = fs::canonicalize(path).map_err(reading(path))?;
        if target.starts_with(&self.root) {
            Ok(target)
        } else {
            Err(PackError::LinkOutside { path: path.to_owned(), target })
        }
    }

    fn file(&mut self, path: PathBuf, served: String, metadata: &Metadata) -> Result<(), PackError> {
        if self.files.len() == MAX_FILES {
            return Err(PackError::TooManyFiles { path });
        }
        let room = MAX_SIZE - self.size;
        let mut content = Vec::new();
        if metadata.len() <= room {
            // What is read counts, not what the directory says: the file may have grown meanwhile.
            let file = fs::File::open(&path).map_err(reading(&path))?;
            file.take(room + 1).read_to_end(&mut content).map_err(reading(&path))?;
        }
        if metadata.len().max(content.len() as u64) > room {
            return Err(PackError::TooLarge { path });
        }
        self.size += content.len() as u64;
        let modified = metadata.modified().map_err(reading(&path))?;
        let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.files.push(File { path: served, content, modified });
        Ok(())
    }
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> PackError {
    move |cause| PackError::Read { path: path.to_owned(), cause }
}

/// The one hidden directory that is meant for visitors (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
