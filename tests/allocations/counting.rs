//! An allocator that counts what it is asked for: how often the present thread asked, and how often any thread did.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Hands everything on to the system's allocator.
pub struct Counting;

static BY_ALL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Needs no memory of its own and nothing to be done at the end of a thread, so it may be used at any time.
    static BY_THIS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has asked for memory.
pub fn by_this_thread() -> u64 {
    BY_THIS.get()
}

/// How often any thread has asked for memory.
pub fn by_all_threads() -> u64 {
    BY_ALL.load(Ordering::SeqCst)
}

fn count() {
    BY_THIS.set(BY_THIS.get() + 1);
    BY_ALL.fetch_add(1, Ordering::SeqCst);
}

// SAFETY: every method passes its arguments on to the same method of `System` and returns what that returns, so whoever
// keeps the contract of `GlobalAlloc` towards this type keeps it towards `System`, and `System` keeps it in return. What
// is done besides, counting, neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        System.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        System.alloc_zeroed(layout)
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        System.realloc(memory, layout, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        System.dealloc(memory, layout);
    }
}
