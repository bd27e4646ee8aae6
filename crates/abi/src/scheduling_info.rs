//! Scheduling info: the page in which the kernel tells a partition's subjects about the current minor frame.

#![forbid(unsafe_code)]

use crate::volatile::{Memory, Shared};

/// The page, as the kernel writes it and subjects read it. Offsets that do not exist read as 0.
#[derive(Debug, Clone, Copy)]
pub struct SchedulingInfo<'a>(pub Shared<'a>);

impl SchedulingInfo<'_> {
    /// Time at which the current minor frame started.
    #[must_use]
    pub fn frame_start(&self) -> u64 {
        self.0.load(FRAME_START).unwrap_or(0)
    }

    /// Time at which the current minor frame ends.
    #[must_use]
    pub fn frame_end(&self) -> u64 {
        self.0.load(FRAME_END).unwrap_or(0)
    }

    /// Number of bits by which the time-stamp counter is shifted left to give the time of all pages: see
    /// [`crate::time_info::clock_shift`].
    #[must_use]
    pub fn clock_shift(&self) -> u32 {
        self.0.load_u32(CLOCK_SHIFT).unwrap_or(0)
    }

    /// Kernel: says when the current minor frame started and will end.
    pub fn set_frame(&self, start: u64, end: u64) -> Option<()> {
        self.0.store(FRAME_START, start)?;
        self.0.store(FRAME_END, end)
    }

    /// Kernel: says how the time is made from the time-stamp counter.
    pub fn set_clock_shift(&self, shift: u32) -> Option<()> {
        self.0.store_u32(CLOCK_SHIFT, shift)
    }
}

/// Offset of the time at which the current minor frame started.
pub const FRAME_START: usize = 0;
/// Offset of the time at which the current minor frame ends.
pub const FRAME_END: usize = 8;
/// Offset of the clock shift, a `u32`; an extension that unmodified unikernels do not read.
pub const CLOCK_SHIFT: usize = 16;

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn subjects_read_what_the_kernel_wrote() {
        let words = [const { AtomicU64::new(0) }; 3];
        let page = SchedulingInfo(Shared::from(words.as_slice()));
        assert_eq!(page.set_clock_shift(2), Some(()));
        assert_eq!(page.set_frame(100, 200), Some(()));
        assert_eq!((page.frame_start(), page.frame_end(), page.clock_shift()), (100, 200, 2));
        assert_eq!(words.map(AtomicU64::into_inner), [100, 200, 2]);
    }
}
