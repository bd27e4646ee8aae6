//! Memory that has no name: what several processes share, and what nobody can change.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use palisade_abi::volatile::Shared;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Memory that processes share. Pages exist once they are used.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    descriptor: OwnedFd,
    address: *mut core::ffi::c_void,
    size: u64,
}

impl SharedMemory {
    /// New memory, all zero.
    pub(crate) fn new(size: u64) -> io::Result<Self> {
        let descriptor = memfd_create("palisade-shared", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&descriptor, size)?;
        // Nobody can take pages from under somebody else.
        fcntl_add_seals(&descriptor, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let length = usize::try_from(size).map_err(|_| Errno::INVAL)?;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: Linux chooses an address where nothing else is.
        let address = unsafe { mmap(ptr::null_mut(), length, rights, flags, &descriptor, 0) }?;
        Ok(Self { descriptor, address, size })
    }

    /// A descriptor through which nobody can write to it. Where it is mapped by that, the right to write cannot be added later:
    /// Linux keeps it from mappings of files that are open to be read only (mprotect(2), EACCES).
    pub(crate) fn to_be_read(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.descriptor.as_raw_fd());
        Ok(File::open(path)?.into())
    }

    /// A part of it; `None` if that is not inside.
    pub(crate) fn part(&self, offset: u64, size: u64) -> Option<Shared<'_>> {
        offset.checked_add(size).filter(|end| *end <= self.size)?;
        let address = (self.address as u64).checked_add(offset)?;
        // SAFETY: the range is inside the mapping (checked above), which is writable and exists as long as `self`. This
        // process reaches it through `Shared` only. Its file cannot shrink, so its pages stay.
        unsafe { Shared::new(address, size) }
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and whoever borrowed parts of it is gone. Without it nothing is lost if it
        // fails.
        let _ = unsafe { munmap(self.address, self.size as usize) };
    }
}

/// Memory that another process has made.
#[derive(Debug)]
pub(crate) struct ForeignMemory {
    /// Its descriptor.
    pub(crate) writable: OwnedFd,
    /// The one of [`SharedMemory::to_be_read`].
    pub(crate) readable: OwnedFd,
}

/// What this process may do with memory that another one has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read it, whatever becomes of this process. Nothing may be stored through the result.
    Read,
    /// Read and write it.
    Write,
}

impl ForeignMemory {
    /// A part of it, mapped for as long as this process lives.
    pub(crate) fn map_for_good(
        &self,
        (offset, size): (u64, u64),
        access: Access,
    ) -> io::Result<Shared<'static>> {
        let address = self.map(offset, size, access)?;
        // SAFETY: it was just mapped, and nobody unmaps it. This process reaches it through `Shared` only, and the caller
        // stores nothing through it that was mapped to be read: Linux would end the process. The host has sealed its size.
        unsafe { Shared::new(address as u64, size) }.ok_or_else(|| Errno::INVAL.into())
    }

    fn map(&self, offset: u64, size: u64, access: Access) -> io::Result<*mut core::ffi::c_void> {
        let length = usize::try_from(size).map_err(|_| Errno::INVAL)?;
        let (descriptor, rights) = match access {
            Access::Read => (&self.readable, ProtFlags::READ),
            Access::Write => (&self.writable, ProtFlags::READ | ProtFlags::WRITE),
        };
        // SAFETY: Linux chooses an address where nothing else is.
        Ok(unsafe { mmap(ptr::null_mut(), length, rights, MapFlags::SHARED, descriptor, offset) }?)
    }
}

/// Memory with this size that holds these pieces, each at its offset, and that nobody can change any more.
pub(crate) fn sealed<'a>(
    name: &str,
    size: u64,
    pieces: impl IntoIterator<Item = (u64, &'a [u8])>,
) -> io::Result<OwnedFd> {
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.set_len(size)?;
    seal(file, pieces)
}

/// A program, to be executed by its descriptor.
pub(crate) fn executable(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux before 6.3 does not know that there could be others than executable ones.
    let descriptor = memfd_create(name, flags | MemfdFlags::EXEC).or_else(|error| match error {
        Errno::INVAL => memfd_create(name, flags),
        other => Err(other),
    })?;
    seal(File::from(descriptor), [(0, bytes)])
}

fn seal<'a>(file: File, pieces: impl IntoIterator<Item = (u64, &'a [u8])>) -> io::Result<OwnedFd> {
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, offset)?;
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use palisade_abi::volatile::Memory;
    use rustix::mm::{MprotectFlags, mprotect};

    use super::*;

    #[test]
    fn what_is_mapped_to_be_read_cannot_be_made_writable() {
        let memory = SharedMemory::new(2 * PAGE).expect("memory can be had");
        let foreign = ForeignMemory {
            writable: memory.as_fd().try_clone_to_owned().expect("there are descriptors"),
            readable: memory.to_be_read().expect("there is a file system of processes"),
        };
        let written = foreign.map_for_good((0, PAGE), Access::Write).expect("it can be mapped");
        written.store(8, 5).expect("it is inside");
        let read = foreign.map_for_good((0, PAGE), Access::Read).expect("it can be mapped");
        assert_eq!(read.load(8), Some(5));
        let writable = |access| {
            let address = foreign.map(PAGE, PAGE, access).expect("it can be mapped");
            // SAFETY: nothing in this program refers to what was just mapped.
            unsafe { mprotect(address, PAGE as usize, MprotectFlags::READ | MprotectFlags::WRITE) }
        };
        assert_eq!(writable(Access::Write), Ok(()));
        assert_eq!(writable(Access::Read), Err(Errno::ACCESS));
    }

    const PAGE: u64 = 4096;
}
