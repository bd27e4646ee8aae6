//! A tap device: the other end of the network's wire, if the user has made one.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Setter, ioctl};

/// Opens the tap device of this name, which somebody has made and this user may use.
///
/// # Errors
/// There is none, or Linux refuses it to this user.
pub fn open_tap(name: &str) -> io::Result<OwnedFd> {
    // Linux would make one for the administrator, which nobody has connected to anything.
    if name.is_empty() || name.contains('/') || !Path::new("/sys/class/net").join(name).exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let device = open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let mut request = Request { name: [0; NAME], flags: IFF_TAP | IFF_NO_PI, unused: [0; 22] };
    // The last byte stays zero.
    request.name.iter_mut().take(NAME - 1).zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    // SAFETY: this request reads a `struct ifreq`, and writes one; `Setter` hands over the address of a `Request`, which is
    // laid out like one and lives as long as the call.
    unsafe { ioctl(&device, Setter::<TUNSETIFF, Request>::new(request)) }?;
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
/// linux/if_tun.h: the request, and that frames are Ethernet's without anything before them.
const TUNSETIFF: u32 = 0x4004_54ca;
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
