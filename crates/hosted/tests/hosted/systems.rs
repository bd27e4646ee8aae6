//! Systems for the tests, made from the sources of this repository, and what they do when they run.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use palisade_hosted::{End, Error, Happening, Next, Renewals, Settings, run};
use palisade_policy::{Library, Options, Planned, load};

/// The freestanding programs that the tests use, by name.
pub(crate) fn programs() -> &'static HashMap<String, Arc<[u8]>> {
    static PROGRAMS: OnceLock<HashMap<String, Arc<[u8]>>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let bare = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bare");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare");
        let built =
            palisade_barebuild::build(&bare, &target, &NAMES).unwrap_or_else(|error| panic!("{error}"));
        built.into_iter().map(|program| (program.name, program.bytes.into())).collect()
    })
}

/// The system with this description.
pub(crate) fn plan(description: &str) -> Planned {
    let directory = tempfile::tempdir().expect("temporary directories can be made");
    let path = directory.path().join("system.toml");
    fs::write(&path, description).expect("files can be written there");
    load(&path, &Options::default(), &Programs).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What a run said, and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) end: Result<End, Error>,
    pub(crate) lines: Vec<String>,
    pub(crate) started: Vec<(u16, u64, i32)>,
}

impl Outcome {
    /// Whether there is such a line.
    pub(crate) fn said(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }
}

/// The description of a system with these subjects.
pub(crate) fn system(subjects: &str) -> String {
    format!("name = \"test\"\nmachine = \"qemu-q35\"\n{subjects}\n")
}

/// Runs a system until it ends, at most for as long as no test should take.
pub(crate) fn run_to_end(description: &str) -> Outcome {
    watch(description, |_, _| Next::Continue)
}

/// Runs a system. `watch` sees each happening, and the lines up to it.
pub(crate) fn watch(
    description: &str,
    watch: impl FnMut(&Happening<'_>, &[String]) -> Next + Send,
) -> Outcome {
    run_with(description, None, false, watch)
}

/// The same, with new content for its subjects while it runs.
pub(crate) fn renew(
    description: &str,
    renewals: &Renewals,
    watch: impl FnMut(&Happening<'_>, &[String]) -> Next + Send,
) -> Outcome {
    run_with(description, Some(renewals), false, watch)
}

/// The same, with events and channels.
pub(crate) fn trace(
    description: &str,
    watch: impl FnMut(&Happening<'_>, &[String]) -> Next + Send,
) -> Outcome {
    run_with(description, None, true, watch)
}

fn run_with(
    description: &str,
    renewals: Option<&Renewals>,
    trace: bool,
    mut watch: impl FnMut(&Happening<'_>, &[String]) -> Next + Send,
) -> Outcome {
    let planned = plan(description);
    let settings = Settings {
        plan: &planned.plan,
        launcher: &programs()["launcher"],
        network: None,
        limit: Some(PATIENCE),
        stop: None,
        untaken: None,
        debug: None,
        renewals,
        figures: None,
        trace,
    };
    let (mut text, mut lines, mut started) = (Vec::new(), Vec::new(), Vec::new());
    let result = run(&settings, &mut |happening| {
        match happening {
            Happening::Output(bytes) => {
                text.extend_from_slice(bytes);
                lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
            }
            Happening::Started { subject, generation, process } => {
                started.push((subject, generation, process))
            }
            Happening::Remark(_) | Happening::Figures(_) | Happening::Trace(_) => {}
        }
        Ok(watch(&happening, &lines))
    });
    Outcome { end: result.map(|report| report.end), lines, started }
}

struct Programs;

impl Library for Programs {
    fn program(&self, name: &str) -> Option<Arc<[u8]>> {
        programs().get(name).cloned()
    }

    fn unikernels(&self) -> Vec<String> {
        NAMES.map(str::to_owned).into()
    }
}

const NAMES: [&str; 17] = [
    "init",
    "time",
    "log",
    "supervisor",
    "nic",
    "launcher",
    "hello",
    "ends",
    "heartbeat",
    "raise",
    "attacker",
    "timed",
    "caller",
    "legacy-4",
    "intruder",
    "feeder",
    "kernel",
];

/// Longer than any test takes on the slowest computer.
const PATIENCE: Duration = Duration::from_secs(300);
