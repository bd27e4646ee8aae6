//! Unikernels on a network: connected to each other.

use crate::harness::{Run, System};

#[test]
fn two_unikernels_reach_each_other_through_their_channels() {
    let run = pair("net-peer", "serve 10.0.0.2", NEVER, "ping 10.0.0.1 10.0.0.2 200", "64 KiB");
    run.assert_in_order("asker", &["this is 10.0.0.1 with [", "10.0.0.2 is [", "200 of 200 pings answered"]);
    run.assert_in_order("asker", &["lost 0 frames"]);
}

#[test]
fn a_burst_beyond_the_channel_loses_frames_but_not_the_network() {
    // 64 KiB hold 43 frames.
    let run = pair("net-peer", "serve 10.0.0.2", NEVER, "burst 10.0.0.1 10.0.0.2 2000", "64 KiB");
    let answered = number(&run, "asker", " of a burst of 2000 pings answered");
    assert!((1..2000).contains(&answered), "{answered} of 2000; {run}");
    run.assert_in_order("asker", &["10 of 10 pings answered"]);
}

#[test]
fn an_unmodified_unikernel_survives_more_frames_than_its_channel_holds() {
    let run = pair("legacy-network", "serve 10.0.0.2", NEVER, "poll ping 10.0.0.1 10.0.0.2 200", "64 KiB");
    run.assert_in_order("asker", &["200 of 200 pings answered"]);
    let run = pair("legacy-network", "serve 10.0.0.2", NEVER, "poll burst 10.0.0.1 10.0.0.2 2000", "64 KiB");
    run.assert_in_order("asker", &["10 of 10 pings answered"]);
    assert!(!run.lines("server").iter().any(|line| line.contains("overrun")), "{run}");
}

#[test]
fn an_unmodified_unikernel_is_heard_again_after_ten_restarts() {
    let run = pair("legacy-network", "serve 10.0.0.2", ALWAYS, "poll end 10.0.0.1 10.0.0.2 10", "64 KiB");
    run.assert_in_order("asker", &["10.0.0.2 is [", "3 of 3 pings answered", "lost "]);
    assert!(run.subject("server")["generation"].as_u64() > Some(10), "{run}");
}

#[test]
fn an_unmodified_unikernel_survives_ten_restarts_of_the_other_end() {
    let run = pair("legacy-network", "serve 10.0.0.2", NEVER, "poll fail 10.0.0.1 10.0.0.2 10", "64 KiB");
    assert_eq!(run.subject("asker")["generation"], 11, "{run}");
    let answered = run.lines("asker").iter().filter(|line| *line == "ping answered").count();
    assert_eq!(answered, 11, "{run}");
}

#[test]
fn unikernels_that_wait_for_frames_leave_the_cpu_halted() {
    for (server, waiter) in [("net-peer", "serve 10.0.0.1"), ("legacy-network", "serve 10.0.0.1")] {
        let system = connected(server, "serve 10.0.0.2", NEVER, waiter, "64 KiB");
        let (run, share) = system.boot_measured("asker", "this is ");
        run.assert_exit(143);
        println!("the emulator uses {:.1} % of a CPU while {server} waits", share * 100.0);
        // A CPU that is not halted uses all of it.
        assert!(share < 0.5, "{share}; {run}");
    }
}

/// A server and a host that asks it, connected to nothing but each other. The asker ends the system.
fn pair(server: &str, serve: &str, restart: &str, ask: &str, size: &str) -> Run {
    let run = connected(server, serve, restart, ask, size).boot();
    run.assert_exit(0);
    run
}

fn connected(server: &str, serve: &str, restart: &str, ask: &str, size: &str) -> System {
    System::described(&format!(
        r#"
        [subject.server]
        unikernel = "testing/{server}"
        bootparams = "{serve}"
        {restart}
        ram = "1 MiB"
        [subject.asker]
        unikernel = "testing/net-peer"
        bootparams = "{ask}"
        restart = "on-failure"
        backoff = "1 ms"
        backoff_max = "10 ms"
        rights = ["power-off"]
        ram = "1 MiB"
        [[channel]]
        name = "questions"
        writer = "asker:service|out"
        reader = "server:service|in"
        size = "{size}"
        signal = true
        [[channel]]
        name = "answers"
        writer = "server:service|out"
        reader = "asker:service|in"
        size = "{size}"
        signal = true
        "#
    ))
}

/// The number before `what` in a line of `subject`.
#[track_caller]
fn number(run: &Run, subject: &str, what: &str) -> u64 {
    let lines = run.lines(subject);
    let found = lines.iter().find_map(|line| line.split_once(what)?.0.rsplit(' ').next()?.parse().ok());
    found.unwrap_or_else(|| panic!("[{subject}] no number before {what:?}; {run}"))
}

const NEVER: &str = "";
const ALWAYS: &str = "restart = \"always\"\nbackoff = \"1 ms\"\nbackoff_max = \"10 ms\"";
