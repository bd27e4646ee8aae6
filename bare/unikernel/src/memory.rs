//! The heap: all memory between the program and the end of its RAM.

use crate::platform;

/// What is used and free of the heap, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Allocated now.
    pub used: usize,
    /// Most that was ever allocated at once.
    pub peak: usize,
    /// Not allocated. One allocation can get this much only as long as the heap is not fragmented.
    pub free: usize,
}

/// The figures of this moment.
#[must_use]
pub fn figures() -> Figures {
    platform::heap_figures()
}
