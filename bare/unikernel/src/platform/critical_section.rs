//! Critical sections: what must not be interrupted runs with interrupts disabled.
//!
//! A subject has one CPU. Nothing runs beside the program but its interrupt handlers, so disabling interrupts keeps
//! everybody else away. Programs run with interrupts disabled anyhow, unless they enable them for handlers of their own.

use critical_section::RawRestoreState;
use solo5::interrupt;

struct OneProcessor;

critical_section::set_impl!(OneProcessor);

// SAFETY: between `acquire` and the `release` that belongs to it no handler runs, and there is no other CPU.
unsafe impl critical_section::Impl for OneProcessor {
    unsafe fn acquire() -> RawRestoreState {
        interrupt::suspend()
    }

    unsafe fn release(were_enabled: RawRestoreState) {
        if were_enabled {
            interrupt::enable();
        }
    }
}
