//! Systems that run on this computer, without a machine: what `run` promises beyond what `boot` does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Place, System, in_every_place};

in_every_place!(a_unikernel_says_the_same_everywhere);

fn a_unikernel_says_the_same_everywhere(place: Place) {
    let run = System::from_file("systems/hello.toml").at(place).boot();
    run.assert_exit(0);
    run.assert_in_order("hello", &["Hello, World", "Command line is: 'Hi!'", "Solo5: solo5_exit(0) called"]);
    run.assert_in_order("supervisor", &["hello: exited with status 0", "system: all unikernels have ended"]);
    assert_eq!(run.subject("hello")["status"], 0);
}

#[test]
fn without_a_source_the_example_site_is_served() {
    let site = System::from_arguments(&[] as &[&str]).at(Place::Computer).start(None);
    let page = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems/website/index.html"));
    assert_eq!(site.get("/", &[]).body, page.expect("the repository has it"));
    site.stop().assert_exit(143);
}

#[test]
fn a_unikernel_of_another_build_is_refused_with_the_verb_that_takes_it() {
    let system = System::described("[subject.foreign]\nunikernel = \"testing/legacy-4\"\n");
    let run = system.at(Place::Computer).boot();
    run.assert_exit(125);
    assert!(run.stderr.contains("`palisade boot` runs it"), "{run}");
}

#[test]
fn whoever_has_no_rights_can_run_a_system() {
    let done = hello(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    assert_said_hello(&done);
}

#[test]
fn a_system_runs_in_namespaces_as_a_container_has_them() {
    let unshare =
        ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts"];
    assert_said_hello(&hello(&unshare));
    // Without a file system of processes, and without the right to more namespaces.
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let bare = [&unshare[..], &["sh", "-c", script, "sh"]].concat();
    assert_said_hello(&hello(&bare));
}

#[test]
fn a_site_that_changes_is_served_anew_while_its_neighbour_goes_on() {
    let system = System::described(
        r#"
        [subject.changing]
        unikernel = "website"
        site = "changing"
        bootparams = "--ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1"
        publish = ["0:443"]
        [subject.lasting]
        unikernel = "website"
        site = "lasting"
        bootparams = "--ipv4=192.168.254.11/24 --ipv4-gateway=192.168.254.1"
        publish = ["0:443"]
        "#,
    );
    let page = |name: &str| system.directory.path().join(name).join("index.html");
    let (changing, lasting) = (page("changing"), page("lasting"));
    for page in [&changing, &lasting] {
        fs::create_dir(page.parent().expect("it has one")).expect("a directory can be made");
        fs::write(page, "<p>first</p>").expect("a file can be written");
    }
    let sites = system.at(Place::Computer).argument("--watch").start_published(2, None);
    // Longer, so that it does not fit where the first one was.
    let second = "<p>second</p>".repeat(1000);
    fs::write(&changing, &second).expect("a file can be written");
    let answers = |expected: &str| {
        // Between two lives nobody answers.
        let pages = sites.addresses().iter().map(|address| sites.try_curl(address));
        pages.filter(|page| page.as_deref() == Some(expected.as_bytes())).count()
    };
    while answers(&second) != 1 {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(answers("<p>first</p>"), 1);
    let run = sites.stop();
    run.assert_exit(143);
    assert!(run.stderr.contains("changing/index.html changed: changing starts again"), "{run}");
    assert_eq!(run.lines("changing").iter().filter(|line| line.contains(" has 1 files")).count(), 2, "{run}");
    assert_eq!(run.lines("lasting").iter().filter(|line| line.contains(" has 1 files")).count(), 1, "{run}");
}

#[test]
fn a_subject_waits_for_a_debugger_and_goes_on_with_it() {
    let directory = tempfile::tempdir().expect("temporary directories can be made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["run", "--unikernel", "hello", "--gdb", "hello", "--for", "300"]);
    let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(waiting.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let process = said.find_map(|line| line.split_once("gdb --pid=").map(|(_, process)| process.to_owned()));
    let process = process.expect("it says how to attach a debugger");
    // Time enough for many who do not wait.
    thread::sleep(Duration::from_secs(1));
    let debugger = directory.path().join("debugger");
    let source = directory.path().join("debugger.c");
    fs::write(&source, DEBUGGER).expect("a file can be written");
    let built = Command::new("cc").arg("-o").arg(&debugger).arg(&source).status();
    assert!(built.is_ok_and(|status| status.success()), "these tests need a C compiler");
    let attached = Command::new(&debugger).arg(process).output().expect("it was built");
    let done = waiting.wait_with_output().expect("it ends");
    let log = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{log}{}", String::from_utf8_lossy(&attached.stderr));
    assert!(log.contains("[hello] Hello, World"), "{log}");
    // The debugger has seen the first instruction of the program, and all that followed.
    assert_eq!(String::from_utf8_lossy(&attached.stdout), "exited\n");
}

#[test]
fn a_status_line_is_for_terminals_only() {
    let run = format!("{} run --publish 0:443 --for 5", env!("CARGO_BIN_EXE_palisade"));
    let configuration = tempfile::tempdir().expect("temporary directories can be made");
    let on_terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &run, "/dev/null"])
        .env("XDG_CONFIG_HOME", configuration.path())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("these tests need script");
    let shown = String::from_utf8_lossy(&on_terminal.stdout);
    let line =
        shown.split("\r\x1b[K").any(|part| part.contains("website: ") && part.contains(" connections, "));
    assert!(line, "{shown:?}");
    let in_pipe = Command::new("sh")
        .args(["-c", &run])
        .env("XDG_CONFIG_HOME", configuration.path())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    let said = [in_pipe.stdout, in_pipe.stderr].concat();
    assert!(!said.contains(&b'\x1b') && !said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn output_that_nobody_reads_keeps_no_command_from_its_end() {
    let system =
        System::described("[subject.much]\nunikernel = \"testing/heartbeat\"\nbootparams = \"1 1000000\"\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.arg("run").arg(system.description()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = command.stderr(Stdio::null()).spawn().expect("it starts");
    let pipe = running.stdout.take().expect("it is piped");
    // Until nothing more goes into it.
    let level = || rustix::io::ioctl_fionread(&pipe).expect("it is a pipe");
    let mut before = 0;
    while before < PIPE / 2 || level() != before {
        assert_eq!(running.try_wait().expect("it is ours"), None);
        before = level();
        thread::sleep(Duration::from_secs(5));
    }
    let (process, deadline) = (Pid::from_child(&running), Instant::now() + Duration::from_secs(300));
    let end = loop {
        assert!(Instant::now() < deadline, "it goes on");
        kill_process(process, Signal::TERM).expect("it is ours");
        thread::sleep(Duration::from_secs(1));
        if let Some(end) = running.try_wait().expect("it is ours") {
            break end;
        }
    };
    assert_eq!(end.signal(), Some(Signal::TERM.as_raw()));
    drop(pipe);
}

/// What a pipe holds (pipe(7)).
const PIPE: u64 = 65536;

/// Attaches itself to a process and lets it go on to its end.
const DEBUGGER: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
int main(int count, char **arguments) {
    int process = atoi(arguments[1]), status = 0;
    if (ptrace(PTRACE_ATTACH, process, 0, 0) != 0) { perror("attach"); return 1; }
    while (waitpid(process, &status, __WALL) == process && WIFSTOPPED(status)) {
        int signal = WSTOPSIG(status);
        ptrace(PTRACE_CONT, process, 0, signal == SIGSTOP ? 0 : signal);
    }
    puts(WIFEXITED(status) ? "exited" : "killed");
    return 0;
}
"#;

/// Runs `hello` by means of another command. The directory that the command was built in may be closed to others, so it is
/// taken from another one.
fn hello(by: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("temporary directories can be made");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let command = directory.path().join("palisade");
    fs::copy(env!("CARGO_BIN_EXE_palisade"), &command).expect("there is room for it");
    Command::new(by[0])
        .args(&by[1..])
        .arg(command)
        .args(["run", "--unikernel", "hello", "--bootparams", "Hi!", "--for", "60"])
        .env("HOME", "/nowhere")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("util-linux is there")
}

#[track_caller]
fn assert_said_hello(done: &Output) {
    let said = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}{complained}");
    assert!(said.contains("[hello] Command line is: 'Hi!'"), "{said}{complained}");
}
