//! A tap device: the other end of the network's wire, if the user has made one.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{IntegerSetter, Setter, ioctl};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

/// Opens the tap device of this name, which somebody has made and this user may use. Linux leaves checksums and the cutting of
/// long segments to whoever reads from it, with a header before each frame.
///
/// # Errors
/// There is none, or Linux refuses it to this user.
pub fn open_tap(name: &str) -> io::Result<OwnedFd> {
    // Linux would make one for the administrator, which nobody has connected to anything.
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    name_to_index(&any, name)?;
    let device = open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let mut request = Request { name: [0; NAME], flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, unused: [0; 22] };
    // The last byte stays zero.
    request.name.iter_mut().take(NAME - 1).zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    // SAFETY: this request reads a `struct ifreq`, and writes one; `Setter` hands over the address of a `Request`, which is
    // laid out like one and lives as long as the call.
    unsafe { ioctl(&device, Setter::<TUNSETIFF, Request>::new(request)) }?;
    // SAFETY: this request reads an `int`, whose address `Setter` hands over, and which lives as long as the call.
    unsafe { ioctl(&device, Setter::<TUNSETVNETHDRSZ, c_int>::new(HEADER)) }?;
    // SAFETY: this request reads no memory: its argument is the number itself.
    unsafe { ioctl(&device, IntegerSetter::<TUNSETOFFLOAD>::new_usize(OFFLOADS)) }?;
    Ok(device)
}

/// `struct ifreq` of netdevice(7), with the flags as the member of its union.
#[repr(C)]
struct Request {
    name: [u8; NAME],
    flags: u16,
    unused: [u8; 22],
}

/// `IFNAMSIZ`, the longest name with the zero behind it.
const NAME: usize = 16;
/// linux/if_tun.h: the requests, and that frames are Ethernet's with nothing before them but a `struct virtio_net_hdr`.
const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETOFFLOAD: u32 = 0x4004_54d0;
const TUNSETVNETHDRSZ: u32 = 0x4004_54d8;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
/// Bytes of the header (linux/virtio_net.h).
const HEADER: c_int = 10;
/// `TUN_F_CSUM`, `TUN_F_TSO4` and `TUN_F_TSO6`: checksums can be missing, and segments of both families longer than a frame.
const OFFLOADS: usize = 0x07;
