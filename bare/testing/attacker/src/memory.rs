//! Memory that the subject does not have, or not with this right.

use core::hint::black_box;

use palisade_abi::layout;
use palisade_abi::volatile::Memory;
use solo5::{StartInfo, shared_memory};

use crate::Attack;

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    ("null-read", |_| read(0)),
    ("null-write", |_| write(0)),
    ("null-call", |_| call(0)),
    ("write-text", |_| write(layout::PROGRAM)),
    ("write-rodata", |_| write(READ_ONLY.as_ptr() as u64)),
    ("execute-rodata", |_| call(READ_ONLY.as_ptr() as u64)),
    ("execute-data", |_| call((&raw const WRITABLE) as u64)),
    ("execute-stack", |_| execute_stack()),
    ("execute-heap", |start| call(start.heap().map_or(0, |heap| heap.as_ptr() as u64))),
    ("stack-overflow", |_| overflow(0)),
    ("read-kernel", |_| read(layout::IMAGE_BASE)),
    ("write-kernel", |_| write(layout::IMAGE_BASE)),
    ("read-beyond-ram", |_| read(0x4000_0000)),
    ("write-beyond-ram", |_| write(0x4000_0000)),
    ("read-page-tables", |_| read(layout::GUEST_TABLES)),
    ("write-page-tables", |_| write(layout::GUEST_TABLES)),
    ("read-local-apic", |_| read(0xfee0_0020)),
    ("write-local-apic", |_| write(0xfee0_00b0)),
    ("read-device-config", |_| read(0xb001_8000)),
    ("write-device-config", |_| write(0xb001_8000)),
    ("write-device-registers", |_| write(0xfe00_0000)),
    ("write-msix-table", |_| write(0xfe01_0000)),
    ("read-drivers-device", |_| read(layout::DEVICES)),
    ("write-drivers-memory", |_| write(layout::DMA)),
    ("non-canonical", |_| read(1 << 63)),
    ("write-subject-info", |_| write(layout::SUBJECT_INFO)),
    ("write-scheduling-info", |_| write(layout::SCHEDULING_INFO)),
    ("write-boot-info", |_| write(layout::BOOT_INFO)),
    ("write-time-info", |_| write(layout::TIME_INFO)),
    ("write-init-stub", |_| write(layout::INIT_STUB)),
    ("write-init-table", |_| write(layout::INIT_TABLE)),
    ("write-pristine", |_| write(layout::PRISTINE)),
    ("read-report", |_| read(layout::REPORT)),
    ("read-crash-record", |_| read(layout::CRASH_RECORD)),
    ("read-other-status", |_| read(layout::OTHER_STATUS)),
    ("write-read-only-channel", write_channel),
];

fn read(address: u64) {
    // SAFETY: none is claimed: whether this is contained is what the test finds out.
    black_box(unsafe { (address as *const u64).read_volatile() });
}

fn write(address: u64) {
    // SAFETY: none is claimed: whether this is contained is what the test finds out.
    unsafe { (address as *mut u64).write_volatile(0x6666_6666_6666_6666) }
}

fn call(address: u64) {
    // SAFETY: none is claimed: whether this is contained is what the test finds out.
    unsafe { core::arch::asm!("call {}", in(reg) address, clobber_abi("sysv64")) }
}

fn execute_stack() {
    let code = black_box([0xc3_u8; 8]);
    call(black_box(&code).as_ptr() as u64);
}

fn overflow(depth: u64) {
    let page = black_box([depth; 128]);
    if page[(depth % 128) as usize] == depth {
        overflow(depth + 1);
    }
    black_box(page);
}

/// Writes to the channel named by the second argument, of which the subject is the reader.
fn write_channel(start: &StartInfo) {
    if let Some(channel) = start.arguments().nth(1).and_then(shared_memory) {
        channel.store(0, 0x6666_6666_6666_6666);
    }
}

/// The instruction `ret`, eight times.
const RETURN: [u8; 8] = [0xc3; 8];
static READ_ONLY: [u8; 8] = RETURN;
static mut WRITABLE: [u8; 8] = RETURN;
