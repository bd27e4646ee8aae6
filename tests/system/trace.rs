//! `run --trace`: events and channel traffic, and what it takes while nobody asks for it.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Place, System};
use crate::running::Running;

#[test]
fn with_trace_the_events_and_frames_of_a_visit_are_shown() {
    let mut site = website(&["--trace"]);
    assert_eq!(site.get("/", &[]).status, 200);
    let opening = " > 192.168.254.10:443 SYN, 0 bytes";
    let shown = |site: &mut Running, line: &[&str]| {
        site.wait_for_remark("a line of the trace", |said| {
            let is_it =
                |said: &&str| said.starts_with("trace ") && line.iter().all(|part| said.contains(part));
            said.lines().find(is_it).map(str::to_owned)
        })
    };
    let question = shown(&mut site, &[" frame nic > website ", " bytes, IPv4 TCP 192.168.254.", opening]);
    shown(
        &mut site,
        &[" frame website > nic ", " bytes, IPv4 TCP 192.168.254.10:443 > ", " SYN ACK, 0 bytes"],
    );
    shown(&mut site, &[" frame ", " bytes, ARP "]);
    shown(&mut site, &[" event website > nic ", "service|out_ready: wakes"]);
    let event = shown(&mut site, &[" event nic > website ", ": wakes"]);
    for line in [question, event] {
        let seconds = line.split(' ').nth(1).and_then(|seconds| seconds.parse::<f64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds > 0.0), "{line}");
    }
    let run = site.stop();
    run.assert_exit(143);
    assert!(!run.stdout().contains("trace "), "the log is only the log: {run}");
}

#[test]
fn with_trace_and_json_every_line_is_an_object() {
    let system = System::described("[subject.ends]\nunikernel = \"testing/ends\"\nbootparams = \"0\"\n");
    let run = system.at(Place::Computer).argument("--trace").argument("--json").boot();
    run.assert_exit(0);
    let objects = run.stdout().lines().map(serde_json::from_str::<Value>);
    let objects = objects.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{error}: {run}"));
    let events = objects.iter().filter(|object| object["event"] == "trace" && object["kind"] == "event");
    assert!(events.clone().any(|event| event["from"] == "ends" && event["to"] == "log"), "{run}");
}

#[test]
fn without_trace_the_command_is_not_in_the_way_of_events_and_frames() {
    let site = website(&[]);
    site.signal("STOP");
    // Nobody is there to pass anything on.
    let page = site.try_curl(&format!("{}/", site.address()));
    site.signal("CONT");
    assert!(page.is_some_and(|page| !page.is_empty()));
    let run = site.stop();
    run.assert_exit(143);
    assert!(!run.stderr.contains("trace "), "{run}");
}

#[test]
fn with_trace_events_take_the_way_by_the_command() {
    let site = website(&["--trace"]);
    site.signal("STOP");
    // However long it waits: the page comes only when events are passed on again.
    let asked = Command::new("curl")
        .args(["--disable", "--silent", "--insecure", "--max-time", "3", site.address()])
        .output()
        .expect("these tests need curl");
    site.signal("CONT");
    assert!(!asked.status.success() && asked.stdout.is_empty());
    assert_eq!(site.get("/", &[]).status, 200);
    site.stop().assert_exit(143);
}

fn website(arguments: &[&str]) -> Running {
    let system = System::from_arguments(&[] as &[&str]).at(Place::Computer);
    arguments.iter().fold(system, |system, argument| system.argument(*argument)).start(None)
}
