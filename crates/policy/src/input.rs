//! Reading files that somebody else names: they may be endless, or anything but what they should be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::units;

/// The largest description or machine file.
const LARGEST_TEXT: u64 = 1 << 20;
/// The largest unikernel or image. Systems have no memory above 4 GiB, and their devices take a part of that below.
pub const LARGEST_PROGRAM: u64 = 3 << 30;

/// Reads a file of at most `largest` bytes. Nothing is read of one that says beforehand that it is larger.
///
/// # Errors
/// Those of the operating system, and [`io::ErrorKind::FileTooLarge`].
pub fn read_file(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {}", units::size(largest)));
    if file.metadata()?.len() > largest {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest { Err(too_large()) } else { Ok(bytes) }
}

/// Reads a text of at most [`LARGEST_TEXT`] bytes.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_file(path, LARGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not a UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_file_is_refused() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::FileTooLarge, "it has more than 1 MiB")
        );
    }

    #[test]
    fn what_is_no_text_is_said_to_be_none() {
        let error = read_text(&std::env::current_exe().unwrap()).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge));
    }
}
