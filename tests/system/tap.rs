//! Systems on a tap device, in a network that each test makes for itself.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::process::Command;
use std::thread;

use crate::harness::{Place, System};
use crate::running::one_page;
use crate::started::Started;

#[test]
fn many_bytes_go_through_a_tap_device_whole_in_both_directions() {
    in_a_network_of_its_own("tap::inside::many_bytes_go_through_a_tap_device_whole_in_both_directions");
}

/// What is run by the tests above, each in a network of its own.
mod inside {
    use super::*;

    #[test]
    #[ignore = "is run by another test, in a network of its own"]
    fn many_bytes_go_through_a_tap_device_whole_in_both_directions() {
        make_tap();
        let system = System::described(
            r#"
            [subject.website]
            unikernel = "website"
            site = "site"
            bootparams = "--ipv4=192.168.254.10/24 --ipv4-gateway=192.168.254.1"
            [subject.echo]
            unikernel = "testing/echo"
            bootparams = "--ipv4=192.168.254.11/24 --ipv6=fd00::11/64"
            "#,
        );
        let system = system.at(Place::Computer).argument("--tap").argument("tap0");
        let directory = system.directory.path().to_owned();
        let content = numbers();
        fs::write(one_page(&directory).join("large.bin"), &content).expect("a file can be written");
        let mut command = system.command(&directory.join("output"), LIMIT);
        let mut run = Started::new(command.env("XDG_CONFIG_HOME", &directory));
        run.wait_for("the site", |stdout, _| {
            stdout.contains("https://192.168.254.10:443/ has 2 files").then_some(())
        });
        let shown = Command::new("ip").args(["-details", "link", "show", "tap0"]).output();
        let shown = String::from_utf8_lossy(&shown.expect("it was there before").stdout).into_owned();
        assert!(shown.contains("vnet_hdr on"), "without that there are no offloads: {shown}");

        let done = Command::new("curl")
            .args(["--disable", "--silent", "--show-error", "--fail", "--max-time", &LIMIT.to_string()])
            .arg("--cacert")
            .arg(directory.join("palisade/ca.pem"))
            .arg("https://192.168.254.10/large.bin")
            .output()
            .expect("these tests need curl");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(done.stdout == content, "{} bytes", done.stdout.len());
        for address in ["192.168.254.11", "fd00::11"] {
            let echo = echoed(address.parse().expect("an address"), &content);
            assert!(echo == content, "{address}: {} bytes", echo.len());
        }
        let (exit, stdout, stderr) = run.end();
        assert_eq!(exit, Some(143), "{stdout}{stderr}");
    }
}

/// Runs an ignored test in a network of its own.
#[track_caller]
fn in_a_network_of_its_own(test: &str) {
    let program = env::current_exe().expect("it runs");
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let namespaces: &[&str] = if is_root { &["--net"] } else { &["--user", "--map-root-user", "--net"] };
    let output = Command::new("unshare")
        .args(namespaces)
        .arg(program)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .expect("these tests need unshare (of util-linux)");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}

/// Makes the tap device `tap0`, at whose end this computer is 192.168.254.1 and fd00::1.
#[track_caller]
fn make_tap() {
    for arguments in [
        "tuntap add dev tap0 mode tap",
        "address add 192.168.254.1/24 dev tap0",
        "address add fd00::1/64 dev tap0 nodad",
        "link set tap0 up",
    ] {
        let done = Command::new("ip").args(arguments.split(' ')).status();
        let done = done.expect("these tests need ip (of iproute2)");
        assert!(done.success(), "these tests need a network of their own and /dev/net/tun: ip {arguments}");
    }
}

/// What comes back from an echo server that is told everything at once.
fn echoed(address: IpAddr, content: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((address, 7)).expect("it is there");
    let mut writer = stream.try_clone().expect("a socket can be shared");
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(content).expect("it takes everything");
            writer.shutdown(Shutdown::Write).expect("the connection is open");
        });
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).expect("it ends its side in the end");
        echo
    })
}

/// Fifty megabytes, no part of which is like another.
fn numbers() -> Vec<u8> {
    (0..50_u32 << 18).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect()
}

/// Seconds after which a system ends that nobody has ended: a loaded computer is slow.
const LIMIT: u32 = 600;
