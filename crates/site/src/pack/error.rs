//! Why a directory cannot become a site.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{MAX_FILES, MAX_SIZE};

/// Why a directory cannot become a site.
#[derive(Debug, Error)]
pub enum PackError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// What should be a directory is something else.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What it is that is none.
        path: PathBuf,
    },
    /// There is nothing to serve.
    #[error("{} has no files to serve", directory.display())]
    Empty {
        /// The directory.
        directory: PathBuf,
    },
    /// Neither a file nor a directory: a socket, a pipe, a device.
    #[error("{} is neither a file nor a directory", path.display())]
    Special {
        /// What is in the way.
        path: PathBuf,
    },
    /// A name cannot be part of an address.
    #[error("the name of {} is not UTF-8", path.display())]
    NotUtf8 {
        /// The file or directory with that name.
        path: PathBuf,
    },
    /// A name has characters that no visitor can send.
    #[error("nobody can ask for {}: rename it without control characters and backslashes", path.escape_debug())]
    NotServable {
        /// The file's path in the site.
        path: String,
    },
    /// A symbolic link leads out of the directory.
    #[error("{} is a link to {}, which is outside the site", path.display(), target.display())]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A symbolic link leads to a directory that it is in.
    #[error("{} is a link to a directory that contains it", path.display())]
    Loop {
        /// The link.
        path: PathBuf,
    },
    /// The files together are too large.
    #[error("with {} the site has more than {} MiB", path.display(), MAX_SIZE >> 20)]
    TooLarge {
        /// The file that was too much.
        path: PathBuf,
    },
    /// There are too many files.
    #[error("with {} the site has more than {MAX_FILES} files", path.display())]
    TooManyFiles {
        /// The file that was too much.
        path: PathBuf,
    },
}
