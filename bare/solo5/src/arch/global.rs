//! State of the whole program.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value that the program and its interrupt handlers use one after the other.
pub(crate) struct Global<T> {
    used: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `used` lets one caller at a time reach the value.
unsafe impl<T: Send> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { used: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Uses the value, unless the caller is a handler that interrupted another use.
    pub(crate) fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> Option<R> {
        let busy = self.used.swap(true, Ordering::Acquire);
        if busy && !ABANDONED.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: either nobody uses the value, or whoever does never runs again. `used` keeps others away until this
        // reference is gone.
        let result = action(unsafe { &mut *self.value.get() });
        self.used.store(false, Ordering::Release);
        Some(result)
    }
}

/// Lets [`Global::with`] succeed even where the interrupted program was using the value.
///
/// # Safety
///
/// The interrupted program never runs again.
pub(super) unsafe fn abandon_interrupted() {
    ABANDONED.store(true, Ordering::Relaxed);
}

static ABANDONED: AtomicBool = AtomicBool::new(false);
