//! Boot info: what a unikernel gets in RDI when it starts, followed by its command line.

#![forbid(unsafe_code)]

use core::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::layout::{BOOT_INFO, BOOT_INFO_SIZE, MAX_COMMAND_LINE};

/// The structure at the start of the region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootInfo {
    /// End of the RAM.
    pub mem_size: u64,
    /// Last byte of the program.
    pub kernel_end: u64,
    /// CPU cycles per second; the kernel fills it in at boot.
    pub cpu_cycle_freq: u64,
    /// Guest address of the command line, which ends with NUL.
    pub command_line: u64,
    /// Guest address of the manifest: 0, because a program has its own.
    pub manifest: u64,
    /// Features of the host: 0 on a kernel, [`crate::platform::HOSTED`] in a process.
    pub host_features: u32,
    /// Features of the guest: 0.
    pub guest_features: u32,
    /// Guest address of a network ring: 0.
    pub net_ring: u64,
}

/// Offset of [`BootInfo::cpu_cycle_freq`].
pub const CPU_CYCLE_FREQ_OFFSET: usize = 16;
/// Offset of [`BootInfo::host_features`].
pub const HOST_FEATURES_OFFSET: usize = 40;
/// Offset of the command line in the region.
pub const COMMAND_LINE_OFFSET: usize = 64;

/// Writes the region for a subject with this RAM end, program end and command line.
///
/// # Errors
/// The command line is too long, or contains NUL. Nothing useful is in `region` then.
pub fn write(
    region: &mut [u8; BOOT_INFO_SIZE as usize],
    mem_size: u64,
    kernel_end: u64,
    command_line: &str,
) -> Result<(), CommandLineError> {
    if let Some(at) = command_line.bytes().position(|b| b == 0) {
        return Err(CommandLineError::Nul(at));
    }
    if command_line.len() >= MAX_COMMAND_LINE {
        return Err(CommandLineError::TooLong(command_line.len()));
    }
    let info = BootInfo {
        mem_size,
        kernel_end,
        command_line: BOOT_INFO + COMMAND_LINE_OFFSET as u64,
        ..BootInfo::default()
    };
    region.fill(0);
    for (to, from) in region.iter_mut().zip(info.as_bytes()) {
        *to = *from;
    }
    for (to, from) in region.iter_mut().skip(COMMAND_LINE_OFFSET).zip(command_line.bytes()) {
        *to = from;
    }
    Ok(())
}

/// Why a command line does not fit into a boot info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandLineError {
    /// It has this many bytes; [`MAX_COMMAND_LINE`] minus one are allowed.
    TooLong(usize),
    /// It contains NUL at this position.
    Nul(usize),
}

/// The structure and the command line of a region, as [`write()`] makes it; `None` if the region is too short or the
/// command line does not end.
#[must_use]
pub fn read(region: &[u8]) -> Option<(BootInfo, &[u8])> {
    let (info, _) = BootInfo::read_from_prefix(region).ok()?;
    let text = region.get(COMMAND_LINE_OFFSET..)?;
    let end = text.iter().take(MAX_COMMAND_LINE).position(|b| *b == 0)?;
    Some((info, text.get(..end)?))
}

const _: () = {
    assert!(offset_of!(BootInfo, cpu_cycle_freq) == CPU_CYCLE_FREQ_OFFSET);
    assert!(offset_of!(BootInfo, host_features) == HOST_FEATURES_OFFSET);
    assert!(offset_of!(BootInfo, command_line) == 24 && offset_of!(BootInfo, manifest) == 32);
    assert!(offset_of!(BootInfo, guest_features) == 44 && offset_of!(BootInfo, net_ring) == 48);
    assert!(size_of::<BootInfo>() == 56 && size_of::<BootInfo>() <= COMMAND_LINE_OFFSET);
    assert!(COMMAND_LINE_OFFSET + MAX_COMMAND_LINE <= BOOT_INFO_SIZE as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = BOOT_INFO_SIZE as usize;

    #[test]
    fn a_program_finds_its_memory_and_command_line() {
        let mut region = [0xff; SIZE];
        write(&mut region, 0x220_0000, 0x20_5fff, "--ipv4=10.0.0.2/24").unwrap();
        let (info, command_line) = read(&region).unwrap();
        assert_eq!((info.mem_size, info.kernel_end), (0x220_0000, 0x20_5fff));
        assert_eq!(info.command_line, BOOT_INFO + 64);
        assert_eq!(command_line, b"--ipv4=10.0.0.2/24");
    }

    #[test]
    fn the_longest_command_line_has_8191_bytes() {
        let mut region = [0; SIZE];
        let longest = "x".repeat(MAX_COMMAND_LINE - 1);
        write(&mut region, 0, 0, &longest).unwrap();
        assert_eq!(read(&region).unwrap().1, longest.as_bytes());
        let too_long = write(&mut region, 0, 0, &"x".repeat(MAX_COMMAND_LINE));
        assert_eq!(too_long, Err(CommandLineError::TooLong(MAX_COMMAND_LINE)));
        assert_eq!(write(&mut region, 0, 0, "a\0b"), Err(CommandLineError::Nul(1)));
    }

    #[test]
    fn a_command_line_without_an_end_is_none() {
        assert_eq!(read(&[b'x'; SIZE]), None);
        assert_eq!(read(&[0; 40]), None);
    }
}
