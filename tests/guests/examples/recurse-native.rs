//! Hostile: calls itself without end and keeps nothing on its own stack, so that the host's runs out: in the handler,
//! or where the message says `allocator`, in what the host calls to give a guest a list.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use kinglet_sdk::{Config, Failure, Message};

#[kinglet_sdk::message]
fn recurse_native(event: Message) -> Result<(), Failure> {
    if event.body() == b"allocator" {
        DEEP.store(true, Ordering::Relaxed);
        drop(Config::all());
    }
    kinglet_sdk::info!("{}", deeper(event.body().len() as u64));
    Ok(())
}

#[expect(unconditional_recursion, reason = "what this guest is for")]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    // Else it would be a loop.
    std::hint::black_box(deeper(depth.wrapping_mul(3))).wrapping_add(depth)
}

static DEEP: AtomicBool = AtomicBool::new(false);

struct Deep;

#[global_allocator]
static ALLOCATOR: Deep = Deep;

#[expect(unsafe_code, reason = "an allocator's contract, kept by the system's")]
// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Deep {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if DEEP.load(Ordering::Relaxed) && deeper(layout.size() as u64) == 0 {
            return std::ptr::null_mut();
        }
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
