//! Attempts to break out of a process. Each ends with the death of its subject and a report; the neighbour goes on.

use palisade_hosted::{Happening, Next};

use crate::systems::{Outcome, run_to_end, system, watch};

#[test]
fn no_system_call_is_left_but_five() {
    contains_calls(0, 1024, &[SCHED_YIELD, EXIT_GROUP, PPOLL, URETPROBE, UPROBE]);
}

#[test]
fn what_linux_lets_past_every_filter_does_nothing() {
    for number in [URETPROBE, UPROBE] {
        let subject = format!(
            "[subject.intruder]\nunikernel = \"intruder\"\nbootparams = \"from {number}\"\n{HEARTBEAT}"
        );
        let outcome = run_to_end(&system(&subject));
        // Killed by the filter of an older Linux, by a newer one's own check, or told that there is nothing to do (ENXIO).
        let faulted = outcome.lines.iter().any(|line| line.starts_with("[supervisor] intruder: faulted: "));
        assert!(faulted || outcome.said("[intruder] NOT CONTAINED: -6"), "{number}: {outcome:#?}");
        assert!(outcome.said("[heartbeat] beat 5 of 5"), "{outcome:#?}");
    }
}

#[test]
fn no_system_call_of_x32_is_left() {
    contains_calls(0x4000_0000, 600, &[]);
}

#[test]
fn no_other_way_to_call_linux_is_left() {
    let names = [
        "int-80",
        "int-80-exit",
        "wide-number",
        "trace-first",
        "trace-neighbour",
        "read-neighbour",
        "open-proc",
        "map-code",
        "map-shared-memory",
        "make-text-writable",
        "make-channel-writable",
        "execute",
        "fork",
        "socket",
        "kill-neighbour",
        "write-unknown-descriptor",
        "write-start-pipe",
        "write-much",
        "write-wide-descriptor",
        "read-unknown-descriptor",
        "poll-many",
    ];
    let outcome = attack("intruder", &names);
    for (number, name) in names.iter().enumerate() {
        assert!(outcome.said(&format!("[attack-{number}] trying {name}")), "{outcome:#?}");
        let report = format!("[supervisor] attack-{number}: faulted: forbidden system call");
        assert!(outcome.said(&report), "{name}: {outcome:#?}");
    }
}

#[test]
fn the_oldest_way_to_ask_linux_for_the_time_is_gone() {
    let outcome = attack("intruder", &["old-vsyscall"]);
    let report = outcome.lines.iter().find(|line| line.starts_with("[supervisor] attack-0: "));
    assert!(report.is_some_and(|line| line.contains("faulted: ")), "{outcome:#?}");
}

#[test]
fn memory_that_a_subject_does_not_have_is_not_there() {
    let attacks = [
        ("null-read", "memory: read of 0x0 not mapped"),
        ("null-write", "memory: write to 0x0 not mapped"),
        ("null-call", "memory: execution of 0x0 not mapped"),
        ("write-text", "memory: write to 0x200000 not permitted"),
        ("write-rodata", "not permitted"),
        ("execute-rodata", "not permitted"),
        ("execute-data", "not permitted"),
        ("execute-stack", "not permitted"),
        ("execute-heap", "not permitted"),
        ("stack-overflow", "not mapped"),
        ("read-kernel", "memory: read of 0x100000 not mapped"),
        ("write-beyond-ram", "not mapped"),
        ("read-page-tables", "not mapped"),
        ("non-canonical", "general protection fault"),
        ("write-subject-info", "not permitted"),
        ("write-scheduling-info", "not permitted"),
        ("write-boot-info", "not permitted"),
        ("write-time-info", "not permitted"),
        ("write-init-stub", "not permitted"),
        ("write-pristine", "not permitted"),
        ("read-report", "not mapped"),
        ("read-other-status", "not mapped"),
    ];
    contains_faults(&attacks);
}

#[test]
fn instructions_of_a_kernel_are_faults() {
    let general = "general protection fault";
    let attacks = [
        ("undefined-opcode", "invalid opcode"),
        ("port-out", general),
        ("port-reset", general),
        ("msr-write", general),
        ("cr3", general),
        ("dr7", general),
        ("extended-state", general),
        ("vmrun", ""),
        ("vmlaunch", ""),
        ("wbinvd", general),
        ("triple-fault", general),
    ];
    contains_faults(&attacks);
}

/// Makes all calls from `first` on, `count` of them without those that do no harm, each in a new life of the subject.
fn contains_calls(first: u64, count: u64, harmless: &[u64]) {
    let numbers = first..first + count;
    let mut start = first;
    let mut tried = 0;
    // Those that do no harm are left out: the ranges between them.
    for end in harmless.iter().copied().chain([numbers.end]) {
        if end > start {
            tried += contains_range(start, end);
        }
        start = end + 1;
    }
    assert_eq!(tried, count - harmless.len() as u64);
}

fn contains_range(start: u64, end: u64) -> u64 {
    let subjects = format!(
        "[subject.intruder]\nunikernel = \"intruder\"\nbootparams = \"from {start}\"\nram = \"1 MiB\"\n\
         restart = \"always\"\nbackoff = \"1 ms\"\nbackoff_max = \"1 ms\"\n{HEARTBEAT}"
    );
    let last = format!("[intruder] trying {:#x}", end - 1);
    let mut complete = false;
    let outcome = watch(&system(&subjects), |happening, lines| {
        let Happening::Output(_) = happening else { return Next::Continue };
        let seen = lines.iter().rev().take(50).any(|line| *line == last);
        complete |= seen && lines.last().is_some_and(|line| line.starts_with("[supervisor] intruder: "));
        if complete { Next::End } else { Next::Continue }
    });
    assert!(complete, "{:?} {:#?}", outcome.end, outcome.lines.iter().rev().take(20).collect::<Vec<_>>());
    let mut expected = start;
    let mut lines = outcome.lines.iter().filter(|line| !line.starts_with("[heartbeat] "));
    while expected < end {
        let trying = format!("[intruder] trying {expected:#x}");
        assert!(lines.any(|line| *line == trying), "{trying}");
        let ending = lines.find(|line| line.starts_with("[supervisor] intruder: "));
        let killed = "[supervisor] intruder: faulted: forbidden system call";
        assert_eq!(ending.map(String::as_str), Some(killed), "{trying}");
        expected += 1;
    }
    assert!(!outcome.lines.iter().any(|line| line.contains("NOT CONTAINED")));
    end - start
}

fn contains_faults(attacks: &[(&str, &str)]) {
    let names: Vec<_> = attacks.iter().map(|(name, _)| *name).collect();
    let outcome = attack("attacker", &names);
    for (number, (name, fault)) in attacks.iter().enumerate() {
        assert!(outcome.said(&format!("[attack-{number}] trying {name}")), "{outcome:#?}");
        let start = format!("[supervisor] attack-{number}: faulted: ");
        let report = outcome.lines.iter().find(|line| line.starts_with(&start));
        assert!(report.is_some_and(|line| line.contains(fault)), "{name}: {report:?} {outcome:#?}");
    }
}

/// Has one subject for each attack, and one that must not notice.
fn attack(program: &str, names: &[&str]) -> Outcome {
    let subject = |(number, name): (usize, &&str)| {
        format!(
            "[subject.attack-{number}]\nunikernel = \"{program}\"\nbootparams = \"{name}\"\nram = \"1 MiB\"\n"
        )
    };
    let subjects: String = names.iter().enumerate().map(subject).collect();
    let outcome = run_to_end(&system(&format!("{subjects}{HEARTBEAT}")));
    assert!(outcome.said("[heartbeat] beat 5 of 5"), "{outcome:#?}");
    assert!(outcome.said("[supervisor] heartbeat: exited with status 0"), "{outcome:#?}");
    assert!(!outcome.lines.iter().any(|line| line.contains("NOT CONTAINED")), "{outcome:#?}");
    outcome
}

const HEARTBEAT: &str =
    "[subject.heartbeat]\nunikernel = \"heartbeat\"\nbootparams = \"20 5\"\nram = \"1 MiB\"\n";

/// What a subject may call, with arguments that are all 0.
const SCHED_YIELD: u64 = 24;
const EXIT_GROUP: u64 = 231;
const PPOLL: u64 = 271;
/// What Linux itself calls from pages that it puts into traced processes.
const URETPROBE: u64 = 335;
const UPROBE: u64 = 336;
