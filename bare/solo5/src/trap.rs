//! Exceptions: reported in full on the console and in the status page, then the program ends.

use core::sync::atomic::{AtomicBool, Ordering};

use palisade_abi::platform::ExceptionFrame;
use palisade_abi::status::Abort;
use palisade_services::text::Text;

use crate::arch::halt_forever;
use crate::{console, exit, status};

/// Reports an exception and ends the program. If it is a page fault, an access to `address` caused it.
pub(crate) fn report(frame: &ExceptionFrame, address: u64) -> ! {
    static REPORTING: AtomicBool = AtomicBool::new(false);
    if REPORTING.swap(true, Ordering::Relaxed) {
        // The report itself faults.
        halt_forever();
    }
    let address = if frame.vector == PAGE_FAULT { address } else { 0 };
    status::aborted(&Abort {
        vector: frame.vector as u32,
        error_code: frame.error_code as u32,
        rip: frame.rip,
        fault_address: address,
    });
    let line = Text::<160>::new()
        .str("Solo5: trap: ")
        .str(NAMES.get(frame.vector as usize).copied().unwrap_or("unknown"))
        .str(", error code ")
        .hex(frame.error_code)
        .str(", rip ")
        .hex(frame.rip)
        .str(", rsp ")
        .hex(frame.rsp)
        .str(", rflags ")
        .hex(frame.rflags);
    console::write_line(line.as_bytes());
    if frame.vector == PAGE_FAULT {
        console::write_line(Text::<60>::new().str("Solo5: trap: address ").hex(address).as_bytes());
    }
    exit::halt()
}

const PAGE_FAULT: u64 = 14;

/// Names of the exceptions by vector (Intel SDM volume 3, table 6-1; AMD APM volume 2, table 8-1).
const NAMES: [&str; 32] = [
    "#DE divide error",
    "#DB debug",
    "NMI",
    "#BP breakpoint",
    "#OF overflow",
    "#BR bound range",
    "#UD invalid opcode",
    "#NM no x87 device",
    "#DF double fault",
    "vector 9",
    "#TS invalid task state",
    "#NP segment not present",
    "#SS stack segment",
    "#GP general protection",
    "#PF page fault",
    "vector 15",
    "#MF x87 error",
    "#AC alignment check",
    "#MC machine check",
    "#XM SIMD error",
    "#VE virtualisation",
    "#CP control protection",
    "vector 22",
    "vector 23",
    "vector 24",
    "vector 25",
    "vector 26",
    "vector 27",
    "#HV hypervisor injection",
    "#VC VMM communication",
    "#SX security",
    "vector 31",
];
