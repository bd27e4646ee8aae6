//! What `new` makes runs with the command that it names.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Place, System, in_every_place};

in_every_place!(a_new_site_is_served_with_the_command_that_new_names);

fn a_new_site_is_served_with_the_command_that_new_names(place: Place) {
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let next = new(home.path(), &["blog"]);
    assert_eq!(next, format!("{} run blog/blog.toml", env!("CARGO_BIN_EXE_palisade")));
    let site = System::from_arguments(&[home.path().join("blog/blog.toml")]).at(place).start(None);
    let page = fs::read(home.path().join("blog/site/index.html")).expect("it was made");
    assert_eq!(site.get("/", &[]).body, page);
    site.stop().assert_exit(143);
}

#[test]
fn a_new_unikernel_is_built_and_run_by_the_command_that_new_names() {
    let home = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let next = new(home.path(), &["my-service", "--unikernel"]);
    assert_eq!(next, "cd my-service && cargo run --release");
    // Any port that is free, in place of one that may not be.
    let configuration = home.path().join("my-service/.cargo/config.toml");
    let text = fs::read_to_string(&configuration).expect("it was made");
    assert!(text.contains("\"8080:80\""), "{text}");
    fs::write(&configuration, text.replace("8080:80", "0:80")).expect("it can be changed");

    let mut command = Command::new("sh");
    command.args(["-c", &next.replace("cargo", "exec cargo")]).current_dir(home.path());
    for (name, _) in std::env::vars().filter(|(name, _)| is_of_this_build(name)) {
        command.env_remove(name);
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut service = Service(child.expect("there is a shell"));
    let lines = BufReader::new(service.0.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let address = lines.inspect(|line| said.push(line.clone())).find_map(|line| {
        let rest = line.strip_prefix("palisade: published: ")?;
        Some(rest.split(' ').next()?.replace("localhost", "127.0.0.1"))
    });
    let address = address.unwrap_or_else(|| panic!("it does not run:\n{}", said.join("\n")));
    // It listens before the unikernel does.
    let mut stream = TcpStream::connect(address).expect("the command listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("Hello from my-service.\n"),
        "{answer}"
    );
}

/// Has something made in this directory, and gives the command that is to run it.
fn new(home: &Path, arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .arg("new")
        .args(arguments)
        .current_dir(home)
        .output()
        .expect("the command starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let next = said.lines().find_map(|line| line.strip_prefix("run it with: "));
    next.unwrap_or_else(|| panic!("no command: {said}")).to_owned()
}

/// Whether a variable of the environment is what cargo tells the tests that it runs.
fn is_of_this_build(name: &str) -> bool {
    let of_cargo =
        name.starts_with("CARGO") && !matches!(name, "CARGO_HOME") && !name.starts_with("CARGO_NET_");
    of_cargo && !name.starts_with("CARGO_REGISTRIES_") && !name.starts_with("CARGO_HTTP_")
        || name.starts_with("RUSTFLAGS")
}

/// A system that cargo runs, which replaces itself by it. It is ended together with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = (self.0.kill(), self.0.wait());
    }
}
