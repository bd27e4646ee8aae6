//! Watching for the first answers of a system's websites, while it runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ask::ask;
use crate::outcome::Place;
use crate::published::{Published, Service};
use crate::terminal::Terminal;

/// Asks every published website until it answers, each in a thread of its own, and says so. The threads end with this.
pub(crate) struct Readiness {
    over: Arc<AtomicBool>,
    watches: Vec<Watch>,
}

/// A published port, and whoever asks there.
struct Watch {
    published: Published,
    thread: Option<JoinHandle<Option<Answer>>>,
}

/// A first answer.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Since the system started.
    after: Duration,
    /// Of HTTP.
    status: u16,
}

impl Readiness {
    /// Begins to ask: the system starts now. What is no website is only told.
    pub(crate) fn watch(published: Vec<Published>, place: Place, terminal: Terminal) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let watch = |published: Published| {
            if matches!(published.service, Service::Unknown) {
                let (host, port) = (published.host(), published.forward.host.port());
                let (subject, guest) = (&published.subject, published.forward.guest.port());
                let protocol = published.forward.protocol;
                terminal.remark(format_args!("published: {host}:{port} -> {subject}:{guest} ({protocol})"));
                return Watch { published, thread: None };
            }
            let (over, asked) = (over.clone(), published.clone());
            let thread = thread::spawn(move || first_answer(&asked, (place, start), &over, terminal));
            Watch { published, thread: Some(thread) }
        };
        let watches = published.into_iter().map(watch).collect();
        Self { over, watches }
    }

    /// The system has ended: says which websites never answered. Everything is also given as objects.
    pub(crate) fn finish(mut self, terminal: &Terminal) -> Vec<Value> {
        self.stop();
        let conclude = |watch: Watch| {
            // A thread that panicked has no answer.
            let answer = watch.thread.and_then(|thread| thread.join().ok().flatten());
            let url = watch.published.url();
            if let (Some(url), None) = (&url, answer) {
                terminal.remark(format_args!("{url} never answered"));
            }
            let forward = watch.published.forward;
            json!({
                "protocol": forward.protocol.to_string(),
                "host": forward.host.to_string(),
                "subject": watch.published.subject,
                "port": forward.guest.port(),
                "url": url,
                "answered_after_seconds": answer.map(|answer| answer.after.as_secs_f64()),
                "status": answer.map(|answer| answer.status),
            })
        };
        self.watches.drain(..).map(conclude).collect()
    }

    fn stop(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.watches.iter().filter_map(|watch| watch.thread.as_ref()).for_each(|it| it.thread().unpark());
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.stop();
        for thread in self.watches.drain(..).filter_map(|watch| watch.thread) {
            // Nobody asks for its answer any more.
            let _ = thread.join();
        }
    }
}

/// Asks again and again. The first questions are quick, so that the answer comes soon after the website does; the later
/// ones are patient, because a slow computer needs that.
fn first_answer(
    published: &Published,
    (place, start): (Place, Instant),
    over: &AtomicBool,
    terminal: Terminal,
) -> Option<Answer> {
    let is_over = || over.load(Ordering::Relaxed);
    let (mut patience, mut pause) = (FIRST_PATIENCE, FIRST_PAUSE);
    while !is_over() {
        match ask(published, patience, &is_over) {
            Ok(status) => {
                let answer = Answer { after: start.elapsed(), status };
                tell(published, answer, place, terminal);
                return Some(answer);
            }
            // Nobody listens yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => {
                patience = (patience + patience / 4).min(LAST_PATIENCE);
                pause = (pause + pause / 4).min(LAST_PAUSE);
            }
        }
        thread::park_timeout(pause);
    }
    None
}

fn tell(published: &Published, Answer { after, status }: Answer, place: Place, terminal: Terminal) {
    let Some(url) = published.url() else { return };
    let seconds = after.as_secs_f64();
    if terminal.json() {
        let answered = json!({ "event": "answered", "url": url, "seconds": seconds, "status": status });
        // If nobody takes it, whoever passes on the log finds out too.
        let _ = terminal.object(&answered);
    }
    let how = if status < 400 { String::new() } else { format!(" with status {status}") };
    terminal.remark(format_args!("{url}  (answered{how} after {seconds:.2} s since {})", place.start()));
}

const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const LAST_PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(2);
