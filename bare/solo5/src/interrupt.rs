//! Interrupts: target events that the policy turns into an interrupt of this program.

pub use crate::arch::{
    disable_interrupts as disable, enable_interrupts as enable, suspend_interrupts as suspend,
};

use crate::arch::Global;

/// A function that handles the interrupt of a vector.
pub type Handler = fn(u8);

/// Calls `handler` with the vector's number whenever an interrupt arrives at `vector`. Exceptions cannot be handled.
///
/// Handlers run with interrupts disabled, between any two instructions of the program. Text that a handler writes while
/// it interrupts another write is lost.
pub fn set_handler(vector: u8, handler: Handler) {
    HANDLERS.with(|handlers| {
        if let Some(slot) = handlers.get_mut(usize::from(vector)) {
            *slot = Some(handler);
        }
    });
}

pub(crate) fn arrived(vector: u64) {
    let handler = HANDLERS.with(|handlers| handlers.get(vector as usize).copied().flatten());
    if let Some(handler) = handler.flatten() {
        handler(vector as u8);
    }
}

static HANDLERS: Global<[Option<Handler>; 256]> = Global::new([None; 256]);
