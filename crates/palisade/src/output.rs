//! The directory that `boot --output` fills.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use palisade_image::output::write_file_atomically;
use palisade_machine::Stream;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;

/// Files that grow while the machine runs: what is in them when something goes wrong is what was written until then.
#[derive(Debug)]
pub(crate) struct OutputDirectory {
    path: PathBuf,
    serial: Log,
    kernel: Log,
    subjects: Vec<Log>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
}

impl OutputDirectory {
    /// Makes the directory if need be, and the files: `serial.out`, `kernel.out` and one `.log` for each subject.
    pub(crate) fn create(path: &Path, subjects: &[&str]) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::writing(path, &error))?;
        Ok(Self {
            path: path.to_path_buf(),
            serial: Log::create(path.join("serial.out"))?,
            kernel: Log::create(path.join("kernel.out"))?,
            subjects: subjects
                .iter()
                .map(|name| Log::create(path.join(format!("{name}.log"))))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Keeps a piece as it came.
    pub(crate) fn raw(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
        match stream {
            Stream::Serial => self.serial.write(bytes),
            Stream::Console => self.kernel.write(bytes),
        }
    }

    /// Keeps a line of the subject with this number, as it came.
    pub(crate) fn line(&mut self, subject: usize, text: &[u8]) -> Result<(), Failure> {
        let Some(log) = self.subjects.get_mut(subject) else { return Ok(()) };
        log.write(&[text, b"\n"].concat())
    }

    /// Writes `result.json`.
    pub(crate) fn result(self, result: &Value) -> Result<(), Failure> {
        let path = self.path.join("result.json");
        let text = format!("{result:#}\n");
        write_file_atomically(&path, text.as_bytes())
            .map_err(|error| Failure::message(Exit::Host, error, None))
    }
}

impl Log {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Failure::writing(&path, &error)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| Failure::writing(&self.path, &error))
    }
}
