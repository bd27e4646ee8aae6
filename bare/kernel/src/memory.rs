//! Where plan addresses become memory. The kernel's page tables map every page it uses at its physical address.

use core::ptr;
use core::slice;

use palisade_abi::layout::PAGE;
use palisade_abi::plan::{Cpu, Header, MemoryRange, Partition, Plan, Subject};
use palisade_abi::scheduling_info::SchedulingInfo;
use palisade_abi::timed_event::TimedEvent;
use palisade_abi::volatile::Shared;
use palisade_kernel_core::device::DeviceRegisters;

use crate::arch::registers::Registers;

/// A page that others change at any time, or that hardware reads: it is accessed by single words only.
pub(crate) type Page = Shared<'static>;

/// The pages that a checked plan gives to the kernel. The methods name what a page is for, so that nothing but the plan's
/// own addresses is ever turned into memory.
#[derive(Clone, Copy)]
pub(crate) struct PlanMemory<'p> {
    plan: &'p Plan<'p>,
}

impl<'p> PlanMemory<'p> {
    /// The memory of `plan`.
    ///
    /// # Safety
    /// The plan is the builder's, unchanged (its checksum matched); its ranges are memory of this machine; the page tables in use
    /// map its pages at their physical addresses.
    pub(crate) const unsafe fn new(plan: &'p Plan<'p>) -> Self {
        Self { plan }
    }

    /// A CPU's page for its virtualisation extension.
    pub(crate) fn host_area(cpu: &Cpu) -> Page {
        page(cpu.host_area)
    }

    /// A subject's control block.
    pub(crate) fn control(subject: &Subject) -> Page {
        page(subject.control)
    }

    /// A subject's XSAVE area.
    pub(crate) fn extended_state(subject: &Subject) -> Page {
        page(subject.xsave)
    }

    /// A subject's saved registers.
    pub(crate) fn registers(subject: &Subject) -> *mut Registers {
        subject.state as *mut Registers
    }

    /// A subject's timed event, if it has the page for one.
    pub(crate) fn timed_event(&self, subject: usize) -> Option<TimedEvent<'static>> {
        self.plan
            .subjects
            .get(subject)
            .filter(|s| s.timed_event != 0)
            .map(|s| TimedEvent(page(s.timed_event)))
    }

    /// A partition's scheduling info.
    pub(crate) fn scheduling_info(partition: &Partition) -> SchedulingInfo<'static> {
        SchedulingInfo(page(partition.scheduling_info))
    }

    /// The first page of a subject's subject info.
    pub(crate) fn subject_info(subject: &Subject) -> Page {
        page(subject.subject_info)
    }

    /// The first page of a subject's boot info.
    pub(crate) fn boot_info(subject: &Subject) -> Page {
        page(subject.boot_info)
    }

    /// The report page.
    pub(crate) fn report(&self) -> Page {
        page(self.plan.header.report)
    }

    /// The crash record.
    pub(crate) fn crash_record(plan: &Plan<'_>) -> Page {
        page(plan.header.crash_record)
    }

    /// The three bytes at guest address `virt` of a subject, if they lie in its code.
    pub(crate) fn code_bytes(&self, subject: &Subject, virt: u64) -> Option<[u8; 3]> {
        let ranges = palisade_abi::plan::slice(self.plan.code, subject.first_code, subject.codes);
        let range = ranges
            .iter()
            .find(|r| virt.checked_sub(r.virt).is_some_and(|at| at < r.size && r.size - at >= 3))?;
        let address = range.phys + (virt - range.virt);
        // SAFETY: code ranges are mapped for reading, and nobody can write them (the verifier's `wx` rule).
        Some(unsafe { ptr::read(address as *const [u8; 3]) })
    }

    /// Clears the memory that the plan wants cleared.
    ///
    /// # Safety
    /// The machine has memory at every range, and the boot page tables are in use, which map it.
    pub(crate) unsafe fn clear(ranges: &[MemoryRange]) {
        for range in ranges {
            // SAFETY: promised by the caller; the plan's check keeps the ranges outside the image and the crash record.
            unsafe { ptr::write_bytes(range.start as *mut u8, 0, range.size as usize) };
        }
    }
}

// Only `kernel-core::device` and `kernel-core::iommu` use these, with addresses of the plan: configuration pages, MSI-X tables,
// registers and queues of IOMMUs. At boot also with those of the other functions on the devices' buses, of which the former
// writes command and base address registers.
impl DeviceRegisters for PlanMemory<'_> {
    fn read(&self, address: u64) -> u32 {
        // SAFETY: the page is mapped, registers are uncached, and it is no memory of Rust's; the address is a multiple of 4.
        unsafe { ptr::read_volatile(address as *const u32) }
    }

    fn write(&self, address: u64, value: u32) {
        // SAFETY: as above. What is written lets a device reach memory only if its driver has it started. An IOMMU confines it
        // then (the verifier's `device-confined` rule); without one the driver is trusted like the kernel (`drivers-trusted`).
        unsafe { ptr::write_volatile(address as *mut u32, value) }
    }
}

/// The page at an address of the plan. (The empty page stands for address 0, which a checked plan does not give.)
fn page(address: u64) -> Page {
    // SAFETY: `PlanMemory` exists only for a checked plan whose pages are mapped; no Rust reference to any of them exists.
    unsafe { Shared::new(address, PAGE) }.unwrap_or(Shared::from(&[][..]))
}

/// The bytes of the plan that begins on the page after the kernel, as far as its header says.
pub(crate) fn plan_bytes() -> &'static [u8] {
    unsafe extern "C" {
        static kernel_end: u8;
    }
    let start = &raw const kernel_end;
    // SAFETY: the image is at least the kernel and the page after it; the boot tables map it; nobody writes it. A length
    // beyond any image is cut, so the slice stays inside the mapped 4 GiB.
    unsafe {
        let size = ptr::read(start.cast::<Header>()).total_size.min(MAX_PLAN);
        slice::from_raw_parts(start, size as usize)
    }
}

/// More bytes than any plan has.
const MAX_PLAN: u64 = 16 << 20;
