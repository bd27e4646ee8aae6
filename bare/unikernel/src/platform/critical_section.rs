//! Critical sections: what must not be interrupted runs with interrupts disabled.
//!
//! A subject has one CPU. Nothing runs beside the program but its interrupt handlers, so disabling interrupts keeps
//! everybody else away. Programs run with interrupts disabled anyhow, unless they enable them for handlers of their own.

use core::arch::asm;

use critical_section::RawRestoreState;

struct OneProcessor;

critical_section::set_impl!(OneProcessor);

// SAFETY: between `acquire` and the `release` that belongs to it no handler runs, and there is no other CPU.
unsafe impl critical_section::Impl for OneProcessor {
    unsafe fn acquire() -> RawRestoreState {
        let flags: u64;
        // SAFETY: reads the flags and clears the interrupt flag. Not `nomem`: memory accesses stay on their side.
        unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
        flags & INTERRUPT_FLAG != 0
    }

    unsafe fn release(were_enabled: RawRestoreState) {
        if were_enabled {
            // SAFETY: interrupts were enabled when this section was entered.
            unsafe { asm!("sti", options(nostack)) };
        }
    }
}

/// RFLAGS.IF (Intel SDM volume 1, 3.4.3).
const INTERRUPT_FLAG: u64 = 1 << 9;
