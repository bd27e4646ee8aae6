//! Finds what the program's macro defined.

use crate::program::Entry;

/// The program's `main`.
pub(crate) fn entry() -> &'static Entry {
    unsafe extern "Rust" {
        static SOLO5_ENTRY: Entry;
    }
    // SAFETY: the program's macro defines it with this type; without a macro, or with two, linking fails.
    unsafe { &SOLO5_ENTRY }
}
