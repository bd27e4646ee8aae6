//! The end of a program.

use palisade_abi::status::Abort;
use palisade_services::text::Text;

use crate::arch;
use crate::event::{self, Event};
use crate::{boot, console, status};

/// Ends the program with this status, 0 for success.
pub fn exit(code: i32) -> ! {
    let line = Text::<60>::new().str("Solo5: solo5_exit(").signed(i64::from(code)).str(") called");
    boot::say(line.as_bytes());
    status::exited(code);
    halt()
}

/// Ends the program as failed, without an exit status.
pub fn abort() -> ! {
    boot::say(b"Solo5: solo5_abort() called");
    status::aborted(&Abort { vector: BREAKPOINT, error_code: 0, rip: 0, fault_address: 0 });
    halt()
}

/// Tells everybody that the program is over, and stops. Its status must have been written.
pub(crate) fn halt() -> ! {
    boot::say(b"Solo5: Halted");
    console::flush();
    event::raise_postponed();
    if let Some(event) = Event::named("solo5_exit") {
        event.raise();
    }
    arch::halt_forever()
}

/// The exception that stands for a program's own decision to give up.
const BREAKPOINT: u32 = 3;
