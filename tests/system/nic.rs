//! Unikernels behind a network card: the driver and its switch.

use std::fmt::Write;

use crate::harness::{Run, System};

#[test]
fn a_unikernel_reaches_the_world_through_the_card() {
    let run = behind_a_card(&[("asker", "net-peer", "ping 10.0.2.15 10.0.2.2 50")]).boot();
    run.assert_exit(0);
    run.assert_in_order("nic", &["virtio-net 52:54:00:12:34:56, 1 port"]);
    run.assert_in_order("asker", &["10.0.2.2 is [52, 55, ", "50 of 50 pings answered", "lost 0 frames"]);
    assert_eq!(losses(&run), Vec::<String>::new());
}

#[test]
fn unikernels_behind_one_card_reach_each_other_and_the_world() {
    let run = behind_a_card(&[
        ("server", "net-peer", "serve 10.0.2.20"),
        ("legacy", "legacy-network", "serve 10.0.2.21"),
        ("outward", "net-peer", "ping 10.0.2.22 10.0.2.2 50"),
        ("modern", "net-peer", "ping 10.0.2.23 10.0.2.21 50"),
        ("asker", "net-peer", "ping 10.0.2.24 10.0.2.20 500"),
    ])
    .boot();
    run.assert_exit(0);
    run.assert_in_order("nic", &["virtio-net 52:54:00:12:34:56, 5 ports"]);
    run.assert_in_order("asker", &["500 of 500 pings answered"]);
}

#[test]
fn a_burst_costs_frames_at_most_and_the_network_goes_on() {
    let run = behind_a_card(&[
        ("legacy", "legacy-network", "serve 10.0.2.20"),
        ("asker", "net-peer", "burst 10.0.2.21 10.0.2.20 5000"),
    ])
    .boot();
    run.assert_exit(0);
    run.assert_in_order("asker", &["10 of 10 pings answered"]);
    assert!(!run.lines("legacy").iter().any(|line| line.contains("overrun")), "{run}");
}

#[test]
fn frames_that_lie_reach_nobody_and_are_counted() {
    let run = behind_a_card(&[
        ("server", "net-peer", "serve 10.0.2.20"),
        ("liar", "net-hostile", "frames server"),
        ("asker", "net-peer", "ask 10.0.2.21 10.0.2.20 9000"),
    ])
    .boot();
    run.assert_exit(0);
    run.assert_in_order("liar", &["done"]);
    for (count, reason) in [
        (3, "foreign source address"),
        (4, "source address of another port"),
        (5, "no valid source address"),
        (2, "addressed to their sender"),
        (6, "not for beyond the link"),
        (5, "wrong length"),
    ] {
        assert_eq!(counted(&run, "liar", reason), count, "{reason}; {run}");
    }
    assert!(losses(&run).iter().all(|line| line.contains("(liar:service)")), "{run}");
    run.assert_in_order("asker", &["lost 0 frames"]);
}

#[test]
fn a_channel_that_lies_harms_nobody_else() {
    let run = behind_a_card(&[
        ("server", "net-peer", "serve 10.0.2.20"),
        ("liar", "net-hostile", "channel"),
        ("asker", "net-peer", "ask 10.0.2.21 10.0.2.20 3000"),
    ])
    .boot();
    run.assert_exit(0);
    run.assert_in_order("liar", &["done"]);
    assert_eq!(run.subject("nic")["generation"], 1, "{run}");
    run.assert_in_order("asker", &["lost 0 frames"]);
}

#[test]
fn an_idle_network_leaves_the_cpu_alone() {
    let system = behind_a_card(&[
        ("server", "net-peer", "serve 10.0.2.20"),
        ("legacy", "legacy-network", "serve 10.0.2.21"),
    ]);
    let (run, share) = system.boot_measured("server", "this is ");
    run.assert_in_order("nic", &["virtio-net"]);
    println!("the emulator uses {:.1} % of a CPU while the network is idle", share * 100.0);
    // A driver or a unikernel that polls takes all of it.
    assert!(share < 0.5, "{share}; {run}");
}

/// Unikernels (name, program, command line) whose network devices are behind the machine's card. The first that succeeds
/// as `asker` ends the system.
fn behind_a_card(unikernels: &[(&str, &str, &str)]) -> System {
    let mut description = String::new();
    for (name, program, parameters) in unikernels {
        let rights = if *name == "asker" { "rights = [\"power-off\"]" } else { "" };
        let subject = format!(
            r#"
            [subject.{name}]
            unikernel = "testing/{program}"
            bootparams = "{parameters}"
            ram = "1 MiB"
            {rights}
            "#
        );
        description.write_str(&subject).expect("a string takes everything");
    }
    System::described(&description)
}

/// What the driver said about lost frames.
fn losses(run: &Run) -> Vec<String> {
    run.lines("nic").into_iter().filter(|line| line.contains(" dropped: ")).collect()
}

/// Frames of a unikernel that were dropped for this reason, in all reports together.
fn counted(run: &Run, unikernel: &str, reason: &str) -> u64 {
    let reports = losses(run).into_iter().filter_map(|line| {
        let (place, rest) = line.split_once("): ")?;
        let (count, why) = rest.split_once(" frame")?;
        let matches =
            place.ends_with(&format!("({unikernel}:service")) && why.ends_with(&format!(": {reason}"));
        if matches { count.parse::<u64>().ok() } else { None }
    });
    reports.sum()
}
