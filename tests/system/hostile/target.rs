//! The website that is attacked.

use std::ops::Deref;

use crate::harness::{Place, Run, System};
use crate::running::{PAGE, Running, one_page, website};

/// A website that runs, with places for [`CONNECTIONS`] connections.
pub(crate) struct Target {
    running: Running,
    /// How many handshakes were completed when the attacks began, and the bytes of memory that were in use then.
    before: (usize, u64),
}

/// The website, with arguments that say how patient it is.
pub(crate) fn system(patience: &str) -> System {
    let arguments = format!("--connections={CONNECTIONS} --logs=access:warning,website:debug {patience}");
    let system = System::described(&(website("site", &arguments) + "ram = \"64 MiB\"\n"));
    one_page(system.directory.path());
    system
}

impl Target {
    /// Starts it, patient, and has it use as much memory as it ever will: what has served a connection is kept for the next
    /// one.
    pub(crate) fn start(place: Place) -> Self {
        Self::start_with(place, PATIENT)
    }

    /// Starts it with little patience.
    pub(crate) fn start_impatient(place: Place) -> Self {
        Self::start_with(place, IMPATIENT)
    }

    fn start_with(place: Place, patience: &str) -> Self {
        let mut running = system(patience).at(place).start(None);
        let (asked_before, _) = running.memory_after(1);
        let all: Vec<_> = (0..CONNECTIONS).map(|_| running.connect()).collect();
        drop(all);
        let mut target = Self { running, before: (0, 0) };
        (0..2).for_each(|_| target.still_answers("all its connections were used"));
        target.before = target.running.memory_after(asked_before + CONNECTIONS + 2);
        target
    }

    /// Asserts that a request over HTTPS is answered.
    #[track_caller]
    pub(crate) fn still_answers(&self, after: &str) {
        still_answers(&self.running, after);
    }

    /// Ends it, and asserts that the attacks had no effect that lasts.
    #[track_caller]
    pub(crate) fn assert_unharmed(mut self) -> Run {
        self.running.assert_memory_is_back(self.before, |running| still_answers(running, "everything"));
        assert_never_restarted(self.running)
    }
}

impl Deref for Target {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

#[track_caller]
fn still_answers(website: &Running, after: &str) {
    let reply = website.get("/", &[]);
    assert!(reply.status == 200 && reply.body == PAGE.as_bytes(), "after {after}: {}", reply.status);
}

/// Ends a machine, and asserts that nothing in it had to be restarted.
#[track_caller]
pub(crate) fn assert_never_restarted(running: Running) -> Run {
    let run = running.stop();
    // 143 is what is left of SIGTERM.
    run.assert_exit(143);
    for subject in run.result()["subjects"].as_array().expect("there are subjects") {
        assert_eq!(subject["generation"], 1, "{run}");
    }
    assert!(run.lines("supervisor").is_empty(), "{run}");
    run
}

/// How long clients may take on a loaded computer.
pub(crate) const PATIENT: &str = "--request-time=60 --idle-time=60 --send-time=60";
/// For tests of clients that take too long. Who has just come may take its time even so.
const IMPATIENT: &str = "--request-time=2 --idle-time=60 --send-time=2";
/// Places for connections.
pub(crate) const CONNECTIONS: usize = 40;
