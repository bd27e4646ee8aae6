//! What the program runs on: a kernel, or a process of Linux.

use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU8, Ordering};

use palisade_abi::boot_info;
use palisade_abi::layout;
use palisade_abi::platform::{HOSTED, Platform};

use super::memory;

/// What the program runs on.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A kernel, which is called by `vmcall`.
    Kernel,
    /// A kernel on a processor of AMD's kind, which has `vmmcall`.
    KernelOnAmd,
    /// A process with these functions.
    Process(&'static Platform),
}

impl Place {
    pub(super) fn is_process(self) -> bool {
        matches!(self, Self::Process(_))
    }
}

/// What the program runs on: found out once, then one load and a branch.
pub(super) fn place() -> Place {
    match PLACE.load(Ordering::Relaxed) {
        KERNEL => Place::Kernel,
        KERNEL_ON_AMD => Place::KernelOnAmd,
        PROCESS => Place::Process(platform()),
        _ => find(),
    }
}

#[cold]
fn find() -> Place {
    let hosted =
        boot_info::read(memory::boot_info()).is_some_and(|(info, _)| info.host_features & HOSTED != 0);
    // CPUID leaf 0 spells the vendor in EBX, EDX, ECX: `AuthenticAMD` or `HygonGenuine`.
    let (number, place) = if hosted {
        (PROCESS, Place::Process(platform()))
    } else if matches!(&__cpuid(0).ebx.to_le_bytes(), b"Auth" | b"Hygo") {
        (KERNEL_ON_AMD, Place::KernelOnAmd)
    } else {
        (KERNEL, Place::Kernel)
    };
    PLACE.store(number, Ordering::Relaxed);
    place
}

/// The host's functions. Only for programs whose boot info says that they are hosted.
fn platform() -> &'static Platform {
    // SAFETY: the boot info says that the page is there (checked by the caller). The host wrote it before the program
    // began, and mapped it read-only for as long as the process lives.
    unsafe { &*(layout::PLATFORM as *const Platform) }
}

/// What [`place`] found. It is part of the data segment, so it is found anew after a restart.
static PLACE: AtomicU8 = AtomicU8::new(0);
const KERNEL: u8 = 1;
const KERNEL_ON_AMD: u8 = 2;
const PROCESS: u8 = 3;
