//! Unikernels on the library OS: their arguments, and TCP and UDP, between two of them and with the host.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::thread;

use crate::harness::{Place, Run, System, in_every_place};

#[test]
fn a_unikernel_shows_its_arguments_and_ends() {
    let run = pair("--help", "--to=10.0.0.1 --nonsense");
    run.assert_in_order(
        "server",
        &[
            "Arguments:",
            "  --port=PORT",
            "      Where it answers, over TCP and UDP. [7]",
            "  --ipv4=ADDRESS/PREFIX",
            "  -l LEVEL, --logs=LEVEL",
            "  --help",
        ],
    );
    assert_eq!(run.subject("server")["status"], 0, "{run}");
    run.assert_in_order("asker", &["[error] arguments: unknown argument '--nonsense' (--help shows all)"]);
    assert_eq!(run.subject("asker")["status"], 64, "{run}");
}

#[test]
fn an_argument_that_cannot_be_understood_is_an_error_with_a_status_of_its_own() {
    let run = pair("--ipv4=10.0.0.1", "--ipv4=10.0.0.2/24 --port seven");
    run.assert_in_order(
        "server",
        &["[error] arguments: --ipv4=10.0.0.1: not an IPv4 address of a host with"],
    );
    run.assert_in_order("asker", &["[error] arguments: --port=seven: not a number from 0 to 65535"]);
    assert_eq!(run.subject("server")["status"], 64, "{run}");
}

#[test]
fn the_directory_of_a_crate_stands_for_the_program_that_it_makes() {
    let tests = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let echo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bare/apps/echo");
    let run = System::from_arguments(&[Path::new("--unikernel"), &echo])
        .at(Place::Computer)
        // Beside what is built there by hand.
        .environment("CARGO_TARGET_DIR", tests.join("crate").to_string_lossy())
        .boot_until(|said| said.contains("[echo] [info] net: address 10.0.2.15/24 from DHCP"));
    run.assert_exit(143);

    let run = System::from_arguments(&[Path::new("--unikernel"), tests]).boot();
    run.assert_exit(125);
    assert!(run.to_string().contains(" is a directory without a Cargo.toml"), "{run}");
}

in_every_place!(memory_is_copied_filled_and_compared_right_at_every_length);

fn memory_is_copied_filled_and_compared_right_at_every_length(place: Place) {
    let run = System::described("[subject.copying]\nunikernel = \"testing/copying\"").at(place).boot();
    run.assert_exit(0);
    run.assert_in_order("copying", &["201 lengths went well"]);
}

#[test]
fn a_task_that_starts_as_others_end_runs() {
    let run = System::described(
        r#"
        [subject.starter]
        unikernel = "testing/tasks"
        bootparams = "--ipv4=10.0.0.1/24"
        rights = ["power-off"]
        ram = "32 MiB"
        "#,
    )
    .boot();
    assert_eq!(run.subject("starter")["status"], 0, "{run}");
    run.assert_exit(0);
}

#[test]
fn what_is_sent_comes_back_over_tcp_and_udp() {
    let run = pair(SERVER, &caller("--bytes=1000000"));
    run.assert_in_order("server", &["[info] net: address 10.0.0.1/24", "[info] net: address fe80::"]);
    run.assert_in_order("asker", &["[info] caller: round 1: 1 of 1 heard", "[info] caller: datagram heard"]);
}

#[test]
fn two_hundred_connections_at_once_are_served_and_their_memory_is_used_again() {
    let run =
        pair(&format!("{SERVER} --connections=200"), &caller("--callers=200 --connections=200 --rounds=4"));
    let heard: Vec<_> =
        (1..=4).map(|round| format!("[info] caller: round {round}: 200 of 200 heard")).collect();
    run.assert_in_order("asker", &heard.iter().map(String::as_str).collect::<Vec<_>>());
    // What the first rounds have needed is enough for the others.
    let peaks: Vec<_> = run
        .lines("asker")
        .iter()
        .filter_map(|line| line.strip_suffix(" bytes of memory")?.split(", ").last()?.parse::<u64>().ok())
        .collect();
    assert_eq!(peaks.len(), 4, "{run}");
    assert_eq!(peaks[2], peaks[3], "{run}");
}

#[test]
fn who_finds_no_place_waits_for_one() {
    let run = pair(&format!("{SERVER} --connections=4 -l debug"), &caller("--callers=12"));
    run.assert_in_order("server", &["[debug] net: at most 4 connections"]);
    run.assert_in_order("asker", &["[info] caller: round 1: 12 of 12 heard"]);
}

#[test]
fn a_unikernel_takes_no_more_connections_than_fit_into_its_memory() {
    let run = pair(&format!("{SERVER} --connections=100000"), &caller("--bytes=10"));
    run.assert_in_order("server", &["[warning] net: the memory is enough for "]);
    run.assert_in_order("asker", &["[info] caller: round 1: 1 of 1 heard"]);
}

#[test]
fn the_port_is_an_argument_and_ipv6_carries_as_much() {
    let run = pair(
        "--ipv6=fd00::1/64 --port=4242 --logs=*:error",
        "--ipv6=fd00::2/64 --to=fd00::1 --port 4242 --logs=caller:info,*:error --bytes=100000",
    );
    run.assert_in_order("asker", &["[info] caller: round 1: 1 of 1 heard", "[info] caller: datagram heard"]);
    assert!(run.lines("server").iter().all(|line| !line.contains("[info]")), "{run}");
}

#[test]
fn a_unikernel_gets_an_address_by_dhcp_and_reaches_the_host_through_the_network_card() {
    let port = echo_on_the_host();
    // What the emulator's network calls the host, and the first address that it gives away.
    let run = System::described(&format!(
        r#"
        [network]
        outbound = "any"
        [subject.asker]
        unikernel = "testing/caller"
        bootparams = "--to=10.0.2.2 --port={port} --callers=5 --bytes=20000 --rounds=2"
        rights = ["power-off"]
        ram = "32 MiB"
        "#
    ))
    .boot();
    run.assert_in_order(
        "asker",
        &[
            "[info] net: address fe80::",
            "[info] net: address 10.0.2.15/24 from DHCP",
            "[info] caller: this is 10.0.2.15",
            "[info] caller: round 2: 5 of 5 heard",
            "[info] caller: datagram heard",
        ],
    );
    run.assert_exit(0);
}

/// Sends back what comes to a port of this computer, over TCP and UDP, as long as the test runs.
fn echo_on_the_host() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the same port is free for UDP");
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &connection, &mut &connection));
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], sender);
        }
    });
    port
}

/// An echo server and one who asks it, connected to nothing but each other. The asker ends the system, unless both end.
fn pair(server: &str, asker: &str) -> Run {
    System::described(&format!(
        r#"
        [subject.server]
        unikernel = "testing/echo"
        bootparams = "{server}"
        ram = "64 MiB"
        [subject.asker]
        unikernel = "testing/caller"
        bootparams = "{asker}"
        rights = ["power-off"]
        ram = "96 MiB"
        [[channel]]
        name = "questions"
        writer = "asker:service|out"
        reader = "server:service|in"
        size = "1 MiB"
        signal = true
        [[channel]]
        name = "answers"
        writer = "server:service|out"
        reader = "asker:service|in"
        size = "1 MiB"
        signal = true
        "#
    ))
    .boot()
}

fn caller(arguments: &str) -> String {
    format!("--ipv4=10.0.0.2/24 --to=10.0.0.1 {arguments}")
}

const SERVER: &str = "--ipv4=10.0.0.1/24";
