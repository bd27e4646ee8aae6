//! Unikernels on a network card that they share: what the network subject promises them.

use crate::harness::{Run, System};

#[test]
fn unikernels_on_one_card_reach_each_other_and_the_host() {
    let run = network("net-peer", "", "ping 192.168.254.10 192.168.254.11 100", "2 MiB").boot();
    run.assert_exit(0);
    run.assert_in_order("asker", &["100 of 100 pings answered"]);
    let run = network("net-peer", "", "ping 192.168.254.10 192.168.254.1 100", "2 MiB").boot();
    run.assert_exit(0);
    run.assert_in_order("asker", &["100 of 100 pings answered"]);
}

#[test]
fn an_unmodified_unikernel_on_the_card_survives_more_frames_than_its_channel_holds() {
    // 64 KiB hold 43 frames.
    let run = network("legacy-network", "", "ping 192.168.254.10 192.168.254.11 500", "64 KiB").boot();
    run.assert_exit(0);
    run.assert_in_order("asker", &["500 of 500 pings answered"]);
    let run = network("legacy-network", "", "burst 192.168.254.10 192.168.254.11 2000", "64 KiB").boot();
    run.assert_exit(0);
    run.assert_in_order("asker", &["10 of 10 pings answered"]);
    assert!(!run.lines("server").iter().any(|line| line.contains("overrun")), "{run}");
}

#[test]
fn unikernels_on_the_card_survive_ten_restarts_of_the_other() {
    for server in ["net-peer", "legacy-network"] {
        let always = "restart = \"always\"\nbackoff = \"1 ms\"\nbackoff_max = \"10 ms\"";
        let run = network(server, always, "end 192.168.254.10 192.168.254.11 10", "64 KiB").boot();
        run.assert_exit(0);
        assert!(run.subject("server")["generation"].as_u64() > Some(10), "{run}");
        let run = network(server, "", "fail 192.168.254.10 192.168.254.11 10", "64 KiB").boot();
        run.assert_exit(0);
        let answered = run.lines("asker").iter().filter(|line| *line == "ping answered").count();
        assert_eq!(answered, 11, "{run}");
    }
}

#[test]
fn the_network_goes_on_after_ten_restarts_of_its_driver_in_the_midst_of_traffic() {
    for server in ["net-peer", "legacy-network"] {
        let run = System::described(&format!(
            r#"{}
            [subject.flooder]
            unikernel = "testing/net-peer"
            bootparams = "flood 192.168.254.12 192.168.254.1 6500"
            ram = "1 MiB"
            [subject.restarter]
            unikernel = "testing/raise"
            bootparams = "network_restart 200"
            rights = ["restart-network"]
            restart = "always"
            backoff = "1 ms"
            backoff_max = "10 ms"
            ram = "1 MiB"
            "#,
            description(server, "", "ask 192.168.254.10 192.168.254.11 7000", "64 KiB")
        ))
        .boot();
        run.assert_exit(0);
        let starts = run.lines("nic").iter().filter(|line| line.starts_with("virtio-net ")).count();
        assert!(starts > 10, "{starts} starts; {run}");
        assert!(!run.lines("nic").iter().any(|line| line.contains("cannot be used")), "{run}");
        let (restarted, _) = rates(&run);
        assert!(restarted > 0, "nothing was answered between restarts; {run}");
    }
}

#[test]
fn an_idle_system_with_a_card_leaves_the_cpu_halted() {
    for server in ["net-peer", "legacy-network"] {
        let system = network(server, "", "serve 192.168.254.10", "2 MiB");
        let (run, share) = system.boot_measured("asker", "this is ");
        run.assert_exit(143);
        println!("the emulator uses {:.1} % of a CPU while {server} waits", share * 100.0);
        // A CPU that is not halted uses all of it.
        assert!(share < 0.5, "{share}; {run}");
    }
}

#[test]
fn a_unikernel_that_floods_the_switch_does_not_stop_its_neighbours() {
    let keeps_its_share = || {
        let run = System::described(&format!(
            r#"{}
            [subject.flooder]
            unikernel = "testing/net-peer"
            bootparams = "flood 192.168.254.12 192.168.254.11 4500"
            ram = "1 MiB"
            "#,
            description("net-peer", "", "ask 192.168.254.10 192.168.254.11 3000", "2 MiB")
        ))
        .boot();
        run.assert_exit(0);
        run.assert_in_order("flooder", &["flooded with "]);
        let (flooded, calm) = rates(&run);
        println!("{flooded} requests beside a flood, {calm} without: {} %", flooded * 100 / calm);
        flooded * 10 > calm
    };
    // The figure depends on what else the computer does, which may change in the middle.
    assert!((0..3).any(|_| keeps_its_share()));
}

/// A server on the card, and a host that asks it.
fn network(server: &str, restart: &str, ask: &str, channel: &str) -> System {
    System::described(&description(server, restart, ask, channel))
}

fn description(server: &str, restart: &str, ask: &str, channel: &str) -> String {
    format!(
        r#"
        network.channel = "{channel}"
        [subject.server]
        unikernel = "testing/{server}"
        bootparams = "serve 192.168.254.11"
        {restart}
        ram = "1 MiB"
        [subject.asker]
        unikernel = "testing/net-peer"
        bootparams = "{ask} --ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1"
        restart = "on-failure"
        backoff = "1 ms"
        backoff_max = "10 ms"
        rights = ["power-off"]
        ram = "1 MiB"
        "#
    )
}

/// Requests answered beside the flood, and after it.
#[track_caller]
fn rates(run: &Run) -> (u64, u64) {
    let lines = run.lines("asker");
    let found = lines.iter().find_map(|line| {
        let (first, rest) = line.split_once(" requests answered in ")?;
        let (_, second) = rest.strip_suffix(" after a pause")?.split_once(", ")?;
        Some((first.parse().ok()?, second.parse().ok()?))
    });
    found.unwrap_or_else(|| panic!("the asker gives no figures; {run}"))
}
