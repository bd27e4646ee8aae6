//! The command, started: what it says, as it says it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The command with its system. Both are ended if a test fails before it has ended them, and what they said is shown.
pub(crate) struct Started {
    child: Child,
    stdout: Said,
    stderr: Said,
}

impl Started {
    pub(crate) fn new(command: &mut Command) -> Self {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the command starts");
        let stdout = Said::by(child.stdout.take().expect("it is piped"));
        let stderr = Said::by(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    /// Waits until this can be found in what it has said: whole lines on standard output, and on standard error.
    ///
    /// # Panics
    ///
    /// When it has ended, or a very long time has passed, and it is still not there.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str, &str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let ended = self.child.try_wait().expect("it can be waited for").is_some();
            if ended {
                self.stdout.finish();
                self.stderr.finish();
            }
            if let Some(found) = find(&self.stdout.text(), &self.stderr.text()) {
                return found;
            }
            assert!(!ended, "the command has ended: {what} was never there");
            assert!(begun.elapsed() < PATIENCE, "{what} was never there");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the command can be sent a signal");
    }

    /// The number of a subject's process in this of its lives, as `run --verbose` says it.
    #[track_caller]
    pub(crate) fn process_of(&mut self, subject: &str, generation: u64) -> String {
        let (start, end) = (format!("palisade: {subject}: process "), format!(", generation {generation}"));
        self.wait_for("the number of a process", |_, stderr| {
            let number = |line: &str| Some(line.strip_prefix(&start)?.strip_suffix(&end)?.to_owned());
            stderr.lines().find_map(number)
        })
    }

    /// Asks it to end its system, and gives its exit status and what it has said on standard output and standard error.
    pub(crate) fn end(self) -> (Option<i32>, String, String) {
        self.signal("TERM");
        self.finish()
    }

    /// Waits until it ends, and gives the same.
    pub(crate) fn finish(mut self) -> (Option<i32>, String, String) {
        let status = self.child.wait().expect("it ends");
        self.stdout.finish();
        self.stderr.finish();
        (status.code(), self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended.
        let _ = (self.child.kill(), self.child.wait());
        if thread::panicking() {
            self.stdout.finish();
            self.stderr.finish();
            println!("the command said:\n{}{}", self.stdout.text(), self.stderr.text());
        }
    }
}

/// What comes through a pipe.
struct Said {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Said {
    fn by(from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let all = text.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned() + "\n";
                all.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until there is nothing more to come.
    fn finish(&mut self) {
        // A reader that has panicked has read what there is.
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

/// How long a computer may take that has much else to do.
const PATIENCE: Duration = Duration::from_secs(300);
