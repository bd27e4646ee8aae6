//! The resolver of unikernels on the library OS, and a server of names beside them.

use crate::harness::{Run, System};

#[test]
fn a_unikernel_finds_others_by_their_names() {
    let names = "server.test,alias.test,six.test,server.test.,nobody.test,no..name";
    let run = beside_servers(&format!("--dns=192.168.254.12 --names={names} --to=alias.test"));
    run.assert_exit(0);
    run.assert_in_order(
        "asker",
        &[
            "[info] caller: server.test is [192.168.254.10]",
            "[info] caller: alias.test is [192.168.254.10]",
            "[info] caller: six.test is [fd00::10]",
            "[info] caller: server.test. is [192.168.254.10]",
            "[warning] caller: nobody.test: the resolver knows no address",
            "[warning] caller: no..name: not a name",
            "[info] caller: round 1: 1 of 1 heard",
            "[info] caller: datagram heard",
        ],
    );
}

#[test]
fn a_resolver_that_does_not_answer_is_given_up() {
    // The echo server is there, and has nothing at that port; nobody has the other address.
    for resolver in ["192.168.254.10", "192.168.254.99"] {
        let run = beside_servers(&format!("--dns={resolver} --to=server.test"));
        run.assert_exit(0);
        run.assert_in_order("asker", &["[warning] caller: server.test: the resolver does not answer"]);
    }
}

#[test]
fn without_a_resolver_there_are_no_names() {
    let run = beside_servers("--to=server.test");
    run.assert_exit(0);
    run.assert_in_order("asker", &["[warning] caller: server.test: no resolver is known"]);
}

/// One who asks, beside an echo server and a server of names that knows it. The asker ends the system.
fn beside_servers(asker: &str) -> Run {
    let unikernel = |name: &str, program: &str, address: u8, more: &str| {
        format!(
            r#"
            [subject.{name}]
            unikernel = "testing/{program}"
            bootparams = "--ipv4=192.168.254.{address}/24 --ipv4-gateway=192.168.254.1 {more}"
            ram = "32 MiB"
            "#
        )
    };
    let asker = unikernel("asker", "caller", 11, asker) + "rights = [\"power-off\"]\n";
    let servers = [unikernel("server", "echo", 10, ""), unikernel("names", "names", 12, "")];
    System::described(&(servers.concat() + &asker)).boot()
}
