//! The directory that keeps the authority: nobody else's business.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A directory for secrets, readable for its owner only. As long as this is there, no other process that goes this way
/// changes anything in it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Why there is no directory for secrets.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No variable of the environment says where it should be.
    #[error(
        "there is no place for a development certificate: neither XDG_CONFIG_HOME nor HOME is set to an absolute path"
    )]
    NoHome,
    /// The operating system refuses.
    #[error("{} cannot be {what}: {error}", path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What was to happen with it.
        what: &'static str,
        /// Why it cannot.
        error: io::Error,
    },
}

impl Directory {
    /// Opens the user's directory: `palisade` below `$XDG_CONFIG_HOME`, or else below `$HOME/.config`. It is made if need
    /// be.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn of_user() -> Result<Self, DirectoryError> {
        Self::open(&place(env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME")).ok_or(DirectoryError::NoHome)?)
    }

    /// Opens a directory, and makes it if need be. Waits while another process has it open.
    ///
    /// # Errors
    /// [`DirectoryError::Refused`].
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let refused = |path: &Path, what| {
            let path = path.to_path_buf();
            move |error| DirectoryError::Refused { path, what, error }
        };
        DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path).map_err(refused(path, "made"))?;
        restrict(path, OWNER_ONLY).map_err(refused(path, "kept from others"))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new().create(true).append(true).mode(SECRET).open(&lock);
        let file = file.map_err(refused(&lock, "opened"))?;
        file.lock().map_err(refused(&lock, "locked"))?;
        Ok(Self { path: path.to_path_buf(), _lock: file })
    }

    /// Where a file of it is.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file of it, if it is there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, DirectoryError> {
        let path = self.path_of(name);
        let refused = |error| DirectoryError::Refused { path: path.clone(), what: "read", error };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(refused)?;
        Ok(Some(text))
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> Result<(), DirectoryError> {
        self.write(name, text, SECRET)
    }

    /// Writes a file that everybody may read who gets at it.
    pub(crate) fn write_public(&self, name: &str, text: &str) -> Result<(), DirectoryError> {
        self.write(name, text, PUBLIC)
    }

    /// The file is complete, and on the disk, before it has its name.
    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), DirectoryError> {
        let path = self.path_of(name);
        let write = || {
            // Temporary files begin their life with the rights of a secret.
            let mut file = NamedTempFile::new_in(&self.path)?;
            file.write_all(text.as_bytes())?;
            file.as_file().set_permissions(Permissions::from_mode(mode))?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|refused| refused.error)?;
            Ok(())
        };
        write().map_err(|error| DirectoryError::Refused { path: path.clone(), what: "written", error })
    }
}

impl DirectoryError {
    /// What the reader can do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        "set XDG_CONFIG_HOME to a directory that you can write to, or bring a certificate of your own: --cert FILE --key \
         FILE"
    }
}

/// By the XDG base directory specification: paths that are not absolute do not count.
fn place(config: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |variable: Option<OsString>| variable.map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(config).or_else(|| Some(absolute(home)?.join(".config")))?;
    Some(base.join("palisade"))
}

/// Takes rights away that are beyond `mode`.
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    let now = fs::metadata(path)?.permissions().mode();
    if now & 0o777 & !mode == 0 {
        Ok(())
    } else {
        fs::set_permissions(path, Permissions::from_mode(now & mode))
    }
}

const LOCK: &str = "lock";
const OWNER_ONLY: u32 = 0o700;
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// No certificate is as large.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_users_configuration_directory() {
        let place = |config: &str, home: &str| place(Some(config.into()), Some(home.into()));
        assert_eq!(place("/c", "/h"), Some("/c/palisade".into()));
        assert_eq!(place("", "/h"), Some("/h/.config/palisade".into()));
        assert_eq!(place("relative", "/h"), Some("/h/.config/palisade".into()));
        assert_eq!(place("", ""), None);
        assert_eq!(super::place(None, None), None);
    }

    #[test]
    fn secrets_are_for_their_owner_only() {
        let temporary = tempfile::tempdir().expect("temporary directories can be made");
        let path = temporary.path().join("a/b");
        let directory = Directory::open(&path).expect("it can be made");
        directory.write_secret("secret", "x").expect("it can be written");
        directory.write_public("public", "y").expect("it can be written");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(
            (mode(&path), mode(&path.join("secret")), mode(&path.join("public"))),
            (0o700, 0o600, 0o644)
        );
        assert_eq!(directory.read("secret").expect("it can be read").as_deref(), Some("x"));
        assert_eq!(directory.read("nothing").expect("that is no error"), None);
    }

    #[test]
    fn a_directory_that_others_could_enter_is_closed_to_them() {
        let temporary = tempfile::tempdir().expect("temporary directories can be made");
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o755)).expect("it is ours");
        Directory::open(temporary.path()).expect("it can be opened");
        let mode = fs::metadata(temporary.path()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let temporary = tempfile::tempdir().expect("temporary directories can be made");
        let path = temporary.path().join("file");
        fs::write(&path, "").expect("it can be written");
        let error = Directory::open(&path.join("palisade")).expect_err("a file is in the way");
        assert!(error.to_string().contains("file/palisade cannot be made"), "{error}");
        assert!(error.help().contains("--cert"));
    }
}
