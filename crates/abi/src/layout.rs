//! Where things are in a subject's address space, and the limits every side agrees on.
//!
//! A subject's guest-physical addresses equal its guest-virtual ones. Nothing of a subject lies below 64 KiB.

#![forbid(unsafe_code)]

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// Bytes in a large page.
pub const LARGE_PAGE: u64 = 2 * 1024 * 1024;

/// Physical address at which an image is loaded, and at which the kernel begins.
pub const IMAGE_BASE: u64 = 0x10_0000;

/// Most subjects a system can have.
pub const MAX_SUBJECTS: usize = 64;
/// Most CPUs a system can have.
pub const MAX_CPUS: usize = 16;
/// Source events and target events a subject can have, each: event numbers are 0..=63.
pub const MAX_EVENTS: usize = 64;
/// Most bytes of a subject's name.
pub const MAX_NAME: usize = 31;
/// Most bytes of a unikernel's command line, the terminating NUL included.
pub const MAX_COMMAND_LINE: usize = 8192;

/// Bytes of a CPU's kernel stack. The page below it is never mapped.
pub const CPU_STACK_SIZE: u64 = 4 * PAGE;
/// Bytes of a CPU's private kernel data.
pub const CPU_DATA_SIZE: u64 = 4 * PAGE;
/// The page of physical memory at which every CPU but the first begins: in real mode, so below 1 MiB. Only the kernel uses it, at
/// boot, and only if the system has several CPUs.
pub const CPU_START: u64 = 0x8000;

/// First address that programs may use. Linux keeps what lies below to itself, and the null page must fault.
pub const LOWEST: u64 = 0x1_0000;
/// Where a Linux process that hosts a subject has its launcher, up to [`LAUNCHER_END`]. On a kernel nothing is there.
pub const LAUNCHER: u64 = 0x14_0000;
/// The launch table, read only.
pub const LAUNCH_TABLE: u64 = 0x18_0000;
/// Bytes of the launch table, from one end of its region to the other.
pub const LAUNCH_TABLE_SIZE: u64 = 0x4_0000;
/// The page in which a launcher leaves how its subject ended.
pub const FAULT_RECORD: u64 = 0x1f_0000;
/// First address after the launcher and its pages.
pub const LAUNCHER_END: u64 = PROGRAM;
/// Where linkers put a program: its segments follow from here, the RAM follows the last one. (Before ABI version 3 it was
/// 0x100000.)
pub const PROGRAM: u64 = 0x20_0000;
/// First address that programs and their RAM must stay below.
pub const PROGRAM_END: u64 = 0xd_0000_0000;
/// Guest-physical address of a subject's own page tables. They are not mapped in its virtual address space.
pub const GUEST_TABLES: u64 = 0xd_0000_0000;
/// Subject info.
pub const SUBJECT_INFO: u64 = 0xe_0000_0000;
/// Bytes of the subject-info region.
pub const SUBJECT_INFO_SIZE: u64 = 0x8000;
/// Scheduling info (one page).
pub const SCHEDULING_INFO: u64 = 0xe_0000_8000;
/// Boot info, followed by the command line.
pub const BOOT_INFO: u64 = 0xe_0001_0000;
/// Bytes of the boot-info region: the structure, and the longest command line.
pub const BOOT_INFO_SIZE: u64 = 3 * PAGE;
/// The status page, which its subject writes.
pub const STATUS: u64 = 0xe_0002_0000;
/// The timed-event page, which its subject writes and the kernel reads.
pub const TIMED_EVENT: u64 = 0xe_0002_1000;
/// The init stub that restores a subject's memory before its program starts (read and execute).
pub const INIT_STUB: u64 = 0xe_0003_0000;
/// The init stub's table (read only).
pub const INIT_TABLE: u64 = 0xe_0003_1000;
/// The kernel's report page (supervisor and drivers).
pub const REPORT: u64 = 0xe_0004_0000;
/// The crash record (log subject).
pub const CRASH_RECORD: u64 = 0xe_0005_0000;
/// A native subject's configuration.
pub const CONFIG: u64 = 0xe_0006_0000;
/// The platform page: functions of the process that hosts the subject (read only). On a kernel it does not exist.
pub const PLATFORM: u64 = 0xe_0007_0000;
/// Top of the guarded stack of a program that asks for one; the stack grows down from here.
pub const STACK_TOP: u64 = 0xe_0800_0000;
/// Status pages of other subjects, in the order of their identifiers (supervisor, read only).
pub const OTHER_STATUS: u64 = 0xe_0900_0000;
/// First channel.
pub const CHANNELS: u64 = 0xe_1000_0000;
/// Pristine copies of a program's writable data.
pub const PRISTINE: u64 = 0xe_8000_0000;
/// Data regions: files and sites that a description gives to a subject, each followed by an unmapped page.
pub const DATA: u64 = 0xf_0000_0000;
/// First address after the data regions.
pub const DATA_END: u64 = DEVICES;
/// A driver's devices: for each its configuration page, then its registers, each followed by an unmapped page.
pub const DEVICES: u64 = 0xf_8000_0000;
/// Memory that a driver shares with its device.
pub const DMA: u64 = 0xf_a000_0000;
/// The time page.
pub const TIME_INFO: u64 = 0xf_ffd0_0000;

/// Rounds up to a page boundary; saturates at the last one.
#[must_use]
pub const fn page_align_up(value: u64) -> u64 {
    match value.checked_add(PAGE - 1) {
        Some(v) => v & !(PAGE - 1),
        None => !(PAGE - 1),
    }
}
