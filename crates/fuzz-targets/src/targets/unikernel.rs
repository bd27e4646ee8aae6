//! What a unikernel on the library OS reads: its command line, and the frames of its network.

use palisade_unikernel_core::arguments::{Arguments, Description, Help, IPV4, Refusal, STANDARD};
use palisade_unikernel_core::opening::Opening;

/// A command line is refused in words that a terminal can show, or every argument has a value.
pub fn arguments(bytes: &[u8]) {
    let tables: [&[Description]; 1] = [&STANDARD];
    let line = String::from_utf8_lossy(bytes);
    match Arguments::parse(&line, &tables) {
        Ok(arguments) => {
            let ipv4 = arguments.value(&IPV4);
            assert!(ipv4.is_none_or(|ipv4| ipv4.prefix <= 32 && !ipv4.address.is_unspecified()));
        }
        Err(Refusal::Help) => assert!(!Help(&tables).to_string().is_empty()),
        Err(refusal) => assert!(!refusal.to_string().contains(char::is_control)),
    }
}

/// A frame opens a TCP connection, or does not; one that does is long enough to.
pub fn opening(bytes: &[u8]) {
    if Opening::of(bytes).is_some() {
        assert!(bytes.len() >= 14 + 20 + 14);
    }
}

pub(super) fn command_lines() -> Vec<Vec<u8>> {
    let lines = [
        "",
        "--help",
        "--ipv4=10.0.0.2/24 --ipv4-gateway 10.0.0.1 --ipv6=fd00::2/64 --dns=10.0.0.1 -l debug",
        "--logs=*:info,net:debug --connections=\"100\" --ipv6-gateway=fd00::1",
    ];
    lines.map(|line| line.as_bytes().to_vec()).to_vec()
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let tcp = [0x30, 0x39, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    let ipv4 = [8, 0, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15];
    let mut ipv6 = [0; 42];
    ipv6[..10].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
    vec![[&[0; 12], ipv4.as_slice(), &tcp].concat(), [&[0; 12], ipv6.as_slice(), &tcp].concat()]
}
