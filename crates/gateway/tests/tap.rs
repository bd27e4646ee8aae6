//! A tap device in place of the gateway.

#![allow(unsafe_code, reason = "a tap device is opened by an ioctl")]

mod support;

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;

use palisade_abi::network_element::MAX_FRAME;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, write};
use rustix::ioctl::{IntegerSetter, Setter, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use support::{GUEST, PATIENCE, Served};

#[test]
fn frames_go_through_as_they_are_and_those_that_are_too_long_do_not() {
    let (mut served, outside) = with_a_pair();
    let guest = served.guest();
    guest.card.seen = Some(Default::default());
    for length in [60, MAX_FRAME, MAX_FRAME + 1, 9000, 100] {
        write(&outside, &[&NOTHING[..], &for_everybody(length, OUTSIDE)].concat()).unwrap();
    }
    guest.until("three frames", |guest| guest.card.seen.as_ref().is_some_and(|seen| seen.len() == 3));
    let lengths: Vec<usize> = guest.card.seen.iter().flatten().map(Vec::len).collect();
    assert_eq!(lengths, [60, MAX_FRAME, 100]);
    served.wait_for_line("wire: 2 frames dropped: wrong length");

    let guest = served.guest();
    let frame = for_everybody(333, INSIDE);
    guest.card.send(&frame);
    guest.card.tell();
    let mut buffer = [0; 2000];
    guest.until("a frame outside", |_| match read(&outside, &mut buffer) {
        Ok(count) => buffer[..count] == [&NOTHING[..], &frame].concat(),
        Err(error) => {
            assert_eq!(error, Errno::AGAIN);
            false
        }
    });
}

#[test]
fn a_device_that_is_full_is_waited_for() {
    let (mut served, outside) = with_a_pair();
    let guest = served.guest();
    let mut buffer = [0; 2000];
    let mut next = 0_u32;
    for round in 0..20_u32 {
        for number in 0..50 {
            let mut frame = for_everybody(1000, INSIDE);
            frame[20..24].copy_from_slice(&(round * 50 + number).to_be_bytes());
            guest.card.send(&frame);
        }
        guest.card.tell();
        // The device holds fewer frames than are sent in a round; all of them come, in their order.
        guest.until("the frames of a round", |_| {
            while let Ok(count) = read(&outside, &mut buffer) {
                if count == NOTHING.len() + 1000 {
                    assert_eq!(buffer[NOTHING.len() + 20..][..4], next.to_be_bytes());
                    next += 1;
                }
            }
            next == (round + 1) * 50
        });
    }
}

#[test]
fn a_unikernel_is_reached_through_a_tap_device() {
    let program = env::current_exe().unwrap();
    let inside = ["--exact", "inside_a_network_of_its_own", "--ignored", "--nocapture"];
    let namespaces: &[&str] = if rustix::process::getuid().is_root() {
        &["--net"]
    } else {
        &["--user", "--map-root-user", "--net"]
    };
    let output = Command::new("unshare").args(namespaces).arg(program).args(inside).output();
    let output = output.expect("unshare (of util-linux) is there");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
#[ignore = "is run by another test, in a network of its own"]
fn inside_a_network_of_its_own() {
    for command in ["tuntap add dev tap0 mode tap", "addr add 10.0.2.2/24 dev tap0", "link set tap0 up"] {
        let status = Command::new("ip").args(command.split(' ')).status().expect("ip (of iproute2) is there");
        assert!(status.success(), "these tests need a network of their own and /dev/net/tun: ip {command}");
    }
    let mut served = Served::with_tap(open_tap(b"tap0").expect("it was made"));
    let guest = served.guest();
    let handle = guest.listen(80);
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect((GUEST, 80)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&vec![7; 1_000_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(guest.read_to_end(handle).len(), 1_000_000);
    guest.tcp(handle).send_slice(b"all of it").unwrap();
    guest.tcp(handle).close();
    guest.until("the client", |_| client.is_finished());
    assert_eq!(client.join().unwrap(), b"all of it");
}

/// A network whose device is one end of a pair of sockets, which keep frames apart as the device does.
fn with_a_pair() -> (Served, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (device, outside) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Served::with_tap(device), outside)
}

/// A frame for everybody, of a protocol for experiments (IEEE 802, 9.2.4).
fn for_everybody(length: usize, from: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0; length];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

fn open_tap(name: &[u8]) -> Result<OwnedFd, Errno> {
    /// `struct ifreq` (netdevice(7)).
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let device = open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    // IFF_TAP, IFF_NO_PI and IFF_VNET_HDR (linux/if_tun.h).
    let mut request = Request { name: [0; 16], flags: 0x5002, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name);
    // SAFETY: TUNSETIFF reads a `struct ifreq`, which the request is laid out like, and which outlives the call.
    unsafe { ioctl(&device, Setter::<0x4004_54ca, Request>::new(request)) }?;
    // SAFETY: TUNSETOFFLOAD takes a number: TUN_F_CSUM, TUN_F_TSO4 and TUN_F_TSO6. The header has ten bytes already.
    unsafe { ioctl(&device, IntegerSetter::<0x4004_54d0>::new_usize(7)) }?;
    Ok(device)
}

/// Addresses of a station on the wire, and of the unikernel.
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 9, 9];
const INSIDE: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// What precedes a frame that is complete (linux/virtio_net.h).
const NOTHING: [u8; 10] = [0; 10];
