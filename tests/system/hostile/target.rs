//! The website that is attacked.

use std::ops::Deref;

use crate::harness::{Place, Run, System};
use crate::running::{PAGE, Running, one_page, website};

/// A website that runs, with places for [`CONNECTIONS`] connections, and little patience.
pub(crate) struct Target(Running);

/// The description of the website, and the arguments that say how patient it is.
pub(crate) fn system() -> System {
    let arguments = format!(
        "--connections={CONNECTIONS} --request-time=2 --idle-time=2 --send-time=2 --logs=access:warning,website:debug"
    );
    let system = System::described(&(website("site", &arguments) + "ram = \"64 MiB\"\n"));
    one_page(system.directory.path());
    system
}

impl Target {
    /// Starts it, and has it use as much memory as it ever will: what has served a connection is kept for the next one.
    pub(crate) fn start(place: Place) -> Self {
        let target = Self(system().at(place).start(None));
        let all: Vec<_> = (0..CONNECTIONS).map(|_| target.connect()).collect();
        drop(all);
        (0..LAST).for_each(|_| target.still_answers("all its connections were used"));
        target
    }

    /// Asserts that a request over HTTPS is answered.
    #[track_caller]
    pub(crate) fn still_answers(&self, after: &str) {
        let reply = self.get("/", &[]);
        assert!(reply.status == 200 && reply.body == PAGE.as_bytes(), "after {after}: {}", reply.status);
    }

    /// Ends it, and asserts that the attacks had no effect that lasts.
    #[track_caller]
    pub(crate) fn assert_unharmed(self) -> Run {
        // The last connections of an attack may still be on their way out.
        (0..LAST).for_each(|_| self.still_answers("everything"));
        let run = assert_never_restarted(self.0);
        let used = memory(&run);
        let after = used.iter().rev().take(LAST).min().expect("the website tells");
        // The command has asked at least once, then there were all connections, then answers.
        let before = used[CONNECTIONS + LAST];
        println!("{before} bytes of memory were in use before, {after} after");
        assert!(*after <= before + SLACK, "{used:?}");
        run
    }
}

impl Deref for Target {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
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

/// The bytes of memory that the website used after each connection, in their order.
pub(crate) fn memory(run: &Run) -> Vec<u64> {
    let used =
        |line: &String| line.strip_suffix(" bytes of memory are in use")?.rsplit(' ').next()?.parse().ok();
    run.lines("website").iter().filter_map(used).collect()
}

/// Requests at the end, and what memory may then be in use more than at the start: that of tickets, and of logging.
const LAST: usize = 5;
pub(crate) const SLACK: u64 = 4096;
/// Places for connections.
pub(crate) const CONNECTIONS: usize = 40;
