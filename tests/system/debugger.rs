//! `run --gdb` with the debugger itself.

use std::path::Path;
use std::process::Command;

use crate::harness::{Place, System};
use crate::started::Started;

#[test]
fn gdb_stops_a_unikernel_at_a_function_of_its_program_and_lets_it_go_on() {
    let system = System::described("[subject.ends]\nunikernel = \"testing/ends\"\nbootparams = \"0\"\n");
    let system = system.at(Place::Computer).argument("--gdb").argument("ends");
    let output = system.directory.path().join("output");
    // As the linker made it: what runs has no names in it.
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare/x86_64-unknown-linux-gnu/release/ends");
    let mut command = Started::new(&mut system.command(&output, 300));
    let process = command.wait_for("how to attach gdb", |_, stderr| {
        stderr.lines().find_map(|line| line.split_once("gdb --pid=").map(|(_, process)| process.to_owned()))
    });
    let gdb = Command::new("gdb")
        .args(["--batch", "--nx", "--pid", &process])
        .args(["-ex", &format!("symbol-file {}", program.display())])
        .args(["-ex", "rbreak ^ends::main::", "-ex", "continue", "-ex", "info symbol $rip", "-ex", "detach"])
        .output()
        .expect("these tests need gdb");
    let said = String::from_utf8_lossy(&gdb.stdout).into_owned() + &String::from_utf8_lossy(&gdb.stderr);
    let stopped =
        said.lines().any(|line| line.starts_with("Breakpoint 1, 0x") && line.contains(" in ends::main::"));
    assert!(stopped, "{said}");
    let (exit, stdout, _) = command.finish();
    assert!(stdout.contains("[supervisor] ends: exited with status 0"), "{stdout}{said}");
    assert_eq!(exit, Some(0), "{said}");
}
