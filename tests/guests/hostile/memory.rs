//! Takes memory.

use std::hint::black_box;

#[cfg(target_family = "wasm")]
use std::arch::wasm32::memory_grow;

use crate::Ended;

/// 200 MiB.
const PAGES: usize = 3_200;

pub fn grow_by_pages() -> Ended {
    for _ in 0..PAGES {
        grow(1);
    }
    Ok(())
}

pub fn grow_at_once() -> Ended {
    grow(PAGES);
    Ok(())
}

/// As a program does that keeps all it ever had.
pub fn hoard() -> Ended {
    let mut hoard = Vec::new();
    for _ in 0..PAGES {
        hoard.push(black_box(vec![1_u8; 64 << 10]));
    }
    Ok(())
}

#[cfg(target_family = "wasm")]
fn grow(pages: usize) {
    memory_grow::<0>(pages);
}

#[cfg(not(target_family = "wasm"))]
fn grow(_: usize) {}
