//! What a run leaves behind, and what it takes while nothing happens.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use palisade_hosted::{End, Happening, Next};

use crate::systems::{run_to_end, system, watch};

#[test]
fn a_run_that_ends_leaves_no_process() {
    let outcome = run_to_end(&system(HELLO));
    assert!(matches!(outcome.end, Ok(End::PowerOff)), "{outcome:#?}");
    assert!(!outcome.started.is_empty());
    assert!(outcome.started.iter().all(|(_, _, process)| is_gone(*process)));
}

#[test]
fn a_run_that_is_ended_leaves_no_process() {
    let outcome = watch(&system(ENDLESS), |_, lines| next(lines, "[endless] still here"));
    assert!(matches!(outcome.end, Ok(End::Stopped)), "{outcome:#?}");
    assert_eq!(outcome.started.len(), 1);
    assert!(outcome.started.iter().all(|(_, _, process)| is_gone(*process)));
}

#[test]
fn a_subject_killed_from_outside_is_reported_and_started_anew() {
    let mut killed = false;
    let outcome = watch(
        &system(&format!("{ENDLESS}restart = \"on-failure\"\nbackoff = \"1 ms\"\n")),
        |happening, lines| {
            if let Happening::Started { generation: 1, process, .. } = happening {
                kill(*process);
                killed = true;
            }
            next(lines, "[supervisor] endless: restarting, generation 2")
        },
    );
    assert!(killed);
    assert!(outcome.said("[supervisor] endless: faulted: killed by signal 9"), "{outcome:#?}");
    assert_eq!(outcome.started.len(), 2, "{outcome:#?}");
    assert!(outcome.started.iter().all(|(_, _, process)| is_gone(*process)));
}

#[test]
fn when_the_host_is_killed_its_processes_die() {
    let mut host = host();
    let subjects = subjects_of(&mut host);
    assert_eq!(subjects.len(), 2);
    host.kill().expect("it can be killed");
    assert_eq!(host.wait().expect("it is a child").signal(), Some(9));
    let deadline = Instant::now() + PATIENCE;
    while !subjects.iter().all(|process| is_gone(*process)) {
        assert!(Instant::now() < deadline, "{subjects:?} are still there");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The host of the test above, in a process of its own: it tells the numbers of its subjects, and runs until it is killed.
#[test]
#[ignore = "another test starts it"]
fn host_for_others() {
    let second = ENDLESS.replace("endless", "second");
    watch(&system(&format!("{ENDLESS}{second}")), |happening, _| {
        if let Happening::Started { process, .. } = happening {
            println!("\n{STARTED}{process}");
        }
        Next::Continue
    });
}

#[test]
fn two_systems_run_side_by_side() {
    let runs: Vec<_> = (0..2).map(|_| thread::spawn(|| run_to_end(&system(HELLO)))).collect();
    for run in runs {
        let outcome = run.join().expect("it does not panic");
        assert!(matches!(outcome.end, Ok(End::PowerOff)), "{outcome:#?}");
        assert!(outcome.said("[supervisor] hello: exited with status 0"), "{outcome:#?}");
    }
}

#[test]
fn a_system_with_nothing_to_do_takes_no_time() {
    let host = fs::read_link("/proc/thread-self").expect("there is one");
    let host = Path::new("/proc").join(host).join("stat");
    let mut process = 0;
    let mut first = None;
    let mut share = None;
    watch(&system(ENDLESS), |happening, lines| {
        if let Happening::Started { process: number, .. } = happening {
            process = *number;
        }
        let beats = lines.iter().filter(|line| *line == "[endless] still here").count();
        match (beats, first) {
            (2.., None) => first = Some((Instant::now(), ticks(process) + ticks_in(&host))),
            (5.., Some((began, before))) => {
                let used = ticks(process) + ticks_in(&host) - before;
                share = Some(
                    Duration::from_millis(used * 1000 / TICKS_PER_SECOND).as_secs_f64()
                        / began.elapsed().as_secs_f64(),
                );
                return Next::End;
            }
            _ => {}
        }
        Next::Continue
    });
    // Who polls takes all that there is.
    assert!(share.is_some_and(|share| share < 0.1), "{share:?}");
}

fn next(lines: &[String], last: &str) -> Next {
    if lines.iter().any(|line| line == last) { Next::End } else { Next::Continue }
}

fn host() -> Child {
    Command::new(env::current_exe().expect("this is a program"))
        .args(["--exact", "traces::host_for_others", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started")
}

fn subjects_of(host: &mut Child) -> Vec<i32> {
    let lines = BufReader::new(host.stdout.take().expect("it is a pipe")).lines();
    let numbers = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix(STARTED)?.parse().ok());
    numbers.take(2).collect()
}

fn kill(process: i32) {
    assert!(
        Command::new("kill").args(["-9", &process.to_string()]).status().expect("there is kill").success()
    );
}

/// Whether a process has ended. One that nobody has waited for yet has.
fn is_gone(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

fn ticks(process: i32) -> u64 {
    ticks_in(Path::new(&format!("/proc/{process}/stat")))
}

/// Time that was used in the program and in Linux: fields 14 and 15 (proc(5)).
fn ticks_in(path: &Path) -> u64 {
    let stat = fs::read_to_string(path).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("it has a name");
    fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

const HELLO: &str = "[subject.hello]\nunikernel = \"hello\"\n";
/// Says a word every second.
const ENDLESS: &str = "[subject.endless]\nunikernel = \"ends\"\nram = \"1 MiB\"\n";

const STARTED: &str = "started ";
const PATIENCE: Duration = Duration::from_secs(60);
const TICKS_PER_SECOND: u64 = 100;
