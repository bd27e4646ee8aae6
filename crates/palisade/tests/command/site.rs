//! Websites: what is published, certificates, and what is said about both.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use palisade_trust::{Authority, Directory};
use tempfile::TempDir;

use crate::run::{directory, done, palisade, stand_in, text};

#[test]
fn a_site_that_is_not_there_is_named() {
    let user = User::new();
    done(&mut user.palisade(&["boot", "--site", "/nonexistent"]))
        .assert_exit(125)
        .assert_says(&["/nonexistent", "to trust it"]);
    // The authority that was made on the way is not introduced twice.
    let again = done(&mut user.palisade(&["boot", "--site", "/nonexistent"]));
    assert!(!again.assert_exit(125).stderr.contains("to trust it"));
}

#[test]
fn what_publishes_nothing_is_refused() {
    let user = User::new();
    for publish in ["443", "4433:", "x:443", "4433:443/sctp", "4433:70000"] {
        let mut command = user.palisade(&["boot", "--site", user.site(), "--publish", publish]);
        done(&mut command).assert_exit(125).assert_says(&[publish, "4433:443"]);
    }
    let mut command = palisade(&["boot", "--unikernel", "hello", "--publish", "4433:443"]);
    done(&mut command).assert_exit(125).assert_says(&["no unikernel of the system has a network"]);
}

#[test]
fn a_port_in_use_is_named_before_the_emulator_starts() {
    let user = User::new();
    let holder = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = holder.local_addr().expect("it is bound").port();
    let publish = format!("{port}:443");
    let refused = done(&mut user.boot(&["--publish", &publish]));
    refused.assert_exit(126).assert_says(&[&format!("127.0.0.1:{port} (tcp)"), "the port is in use"]);
}

#[test]
fn addresses_that_cannot_be_one_network_are_refused() {
    let user = User::new();
    for (line, what) in [
        ("--ipv4=10.0.0.2", "--ipv4=10.0.0.2: not an address with a prefix"),
        ("--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.1.1", "10.0.1.1"),
        ("--ipv4=10.0.0.2/30 --ipv4-gateway=10.0.0.1", "no room"),
    ] {
        done(&mut user.boot(&["--publish", "0:443", "--bootparams", line]))
            .assert_exit(125)
            .assert_says(&[what]);
    }
}

#[test]
fn a_machine_that_ends_before_its_site_answers_says_so() {
    let user = User::new();
    let ports = ["--publish", "0:443", "--publish", "0:80"];
    let ended = done(&mut user.boot(&ports));
    ended.assert_exit(0).assert_says(&["https://localhost:", "http://localhost:", "never answered"]);
    let ended = done(user.boot(&ports).arg("--json"));
    let objects = ended.assert_exit(0).objects();
    let result = objects.iter().find(|object| object["event"] == "result").expect("there is a result");
    let published = result["published"].as_array().expect("a list");
    assert_eq!(published.len(), 2);
    assert!(published.iter().all(|one| one["answered_after_seconds"].is_null()), "{published:?}");
}

#[test]
fn a_development_certificate_is_made_once_and_introduced() {
    let user = User::new();
    let check = ["check", "--site", user.site()];
    let first = done(&mut user.palisade(&check));
    first.assert_exit(0).assert_says(&[
        "made an authority",
        "SHA-256",
        "curl --cacert",
        "ca.pem https://localhost:4433/\n",
        "update-ca-certificates",
    ]);
    let again = done(&mut user.palisade(&check));
    again.assert_exit(0).assert_says(&["development certificate by", "palisade/ca.pem"]);
    assert!(!again.stderr.contains("made an authority"), "{}", again.stderr);
}

#[test]
fn a_new_authority_is_introduced_with_the_address_that_is_published() {
    for (published, url) in [
        ("['192.168.1.5:9443:443', '8080:80']", "ca.pem https://192.168.1.5:9443/\n"),
        ("['443:443']", "ca.pem https://localhost/\n"),
        ("['0:443']", "ca.pem https://localhost:PORT/\n"),
    ] {
        let user = User::new();
        let set = format!("website.publish={published}");
        done(&mut user.palisade(&["check", "--site", user.site(), "--set", &set]))
            .assert_exit(0)
            .assert_says(&[url]);
    }
}

#[test]
fn a_site_that_is_published_over_http_alone_is_served_without_tls() {
    let user = User::new();
    let ended = done(&mut user.boot(&["--publish", "0:80"]));
    ended.assert_exit(0).assert_says(&["http://localhost:", " is served without TLS"]);
    assert!(!ended.stderr.contains("authority"), "{}", ended.stderr);
}

#[test]
fn who_sends_visitors_to_a_port_that_is_not_published_is_warned() {
    let user = User::new();
    let (certificate, key) = user.issue("own", SystemTime::now());
    for arguments in [
        &["--publish", "0:80", "--cert", text(&certificate), "--key", text(&key)][..],
        &["--publish", "0:80", "--bootparams", "--ipv4=10.0.0.2/24"],
    ] {
        let ended = done(&mut user.boot(arguments));
        ended.assert_exit(0).assert_says(&["are sent to HTTPS, which is not published", "--https=0"]);
    }
    let both = done(&mut user.boot(&["--publish", "0:443", "--publish", "0:80"]));
    assert!(!both.assert_exit(0).stderr.contains("not published"), "{}", both.stderr);
}

#[test]
fn without_a_place_for_secrets_a_certificate_can_be_brought() {
    let user = User::new();
    let check = ["check", "--site", user.site()];
    let mut command = palisade(&check);
    let refused = done(command.env_remove("HOME").env_remove("XDG_CONFIG_HOME"));
    refused.assert_exit(125).assert_says(&["HOME", "--cert"]);
    let mut command = palisade(&check);
    let refused = done(command.env("XDG_CONFIG_HOME", "/proc"));
    refused.assert_exit(125).assert_says(&["/proc/palisade", "--cert"]);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let user = User::new();
    let now = SystemTime::now();
    let (certificate, _) = user.issue("one", now);
    let (_, key) = user.issue("other", now);
    let refused = done(&mut user.check_with(&certificate, &key));
    refused.assert_exit(125).assert_says(&["one.pem", "other-key.pem", "does not belong to"]);
    let refused = done(&mut user.check_with(&key, &certificate));
    refused.assert_exit(125).assert_says(&["the other way round"]);
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let user = User::new();
    let (certificate, key) = user.issue("old", SystemTime::now() - Duration::from_secs(200 * 24 * 60 * 60));
    done(&mut user.check_with(&certificate, &key)).assert_exit(0).assert_says(&["old.pem", "expired on"]);
}

#[test]
fn images_with_a_private_key_are_for_their_owner_only() {
    let user = User::new();
    let out = user.home.path().join("out");
    let built = done(&mut user.palisade(&["build", "--site", user.site(), "--output", text(&out)]));
    built.assert_exit(0).assert_says(&["private key"]);
    for file in fs::read_dir(&out).expect("it was made") {
        let path = file.expect("it can be listed").path();
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}

/// Somebody with a configuration directory and a site.
struct User {
    home: TempDir,
    site: PathBuf,
}

impl User {
    fn new() -> Self {
        let home = directory();
        let site = home.path().join("site");
        fs::create_dir(&site).expect("it can be made");
        fs::write(site.join("index.html"), "<!doctype html><title>x</title>").expect("it can be written");
        Self { home, site }
    }

    fn site(&self) -> &str {
        text(&self.site)
    }

    fn palisade(&self, arguments: &[&str]) -> Command {
        let mut command = palisade(arguments);
        command.env("XDG_CONFIG_HOME", self.home.path());
        command
    }

    /// Boots the site in an emulator that ends at once.
    fn boot(&self, arguments: &[&str]) -> Command {
        let mut command = self.palisade(&["boot", "--site", self.site(), "--emulator", text(&stand_in())]);
        command.args(arguments);
        command
    }

    fn check_with(&self, certificate: &Path, key: &Path) -> Command {
        let files = ["--cert", text(certificate), "--key", text(key)];
        self.palisade(&[&["check", "--site", self.site()][..], &files].concat())
    }

    /// A certificate and its key that were made at this time, as files.
    fn issue(&self, name: &str, now: SystemTime) -> (PathBuf, PathBuf) {
        let directory = Directory::open(&self.home.path().join(name)).expect("it can be made");
        let authority = Authority::open(directory, now).expect("it can be made");
        let issued = authority.issue(&[], now).expect("it can be issued");
        let file = |name: String, text: String| {
            let path = self.home.path().join(name);
            fs::write(&path, text).expect("it can be written");
            path
        };
        (file(format!("{name}.pem"), issued.certificate), file(format!("{name}-key.pem"), issued.key))
    }
}
