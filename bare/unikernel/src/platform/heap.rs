//! The global allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::RefCell;
use core::ptr::{self, NonNull};

use critical_section::Mutex;
use talc::{ErrOnOom, Span, Talc};

use crate::memory::Figures;

/// Gives the heap its memory.
pub(crate) fn start(memory: &'static mut [u8]) {
    HEAP.with(|heap| {
        // SAFETY: the memory is valid for ever, and this reference was the only way to it. An error means that it is too
        // small for a heap; then there is none, and allocations fail.
        let _ = unsafe { heap.talc.claim(Span::from(memory)) };
    });
}

/// What is used and free.
pub(crate) fn figures() -> Figures {
    HEAP.with(|heap| {
        let counters = heap.talc.get_counters();
        Figures { used: counters.allocated_bytes, peak: heap.peak, free: counters.available_bytes }
    })
}

struct Heap(Mutex<RefCell<Counted>>);

struct Counted {
    talc: Talc<ErrOnOom>,
    peak: usize,
}

impl Heap {
    /// Nothing that is done with the heap comes back to it, so the borrow cannot fail.
    fn with<R>(&self, action: impl FnOnce(&mut Counted) -> R) -> R {
        critical_section::with(|section| action(&mut self.0.borrow_ref_mut(section)))
    }
}

// SAFETY: `Talc` allocates as the trait demands; the critical section gives each call the heap for itself.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|heap| {
            // SAFETY: the caller vouches for a size other than 0.
            let block = unsafe { heap.talc.malloc(layout) };
            heap.peak = heap.peak.max(heap.talc.get_counters().allocated_bytes);
            block.map_or(ptr::null_mut(), NonNull::as_ptr)
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the caller got the block from `alloc` with this layout.
        self.with(|heap| unsafe { heap.talc.free(block, layout) });
    }
}

#[global_allocator]
static HEAP: Heap = Heap(Mutex::new(RefCell::new(Counted { talc: Talc::new(ErrOnOom), peak: 0 })));
