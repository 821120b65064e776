//! Takes time: the processor's, or the clock's.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::poll;

use crate::Ended;

/// Without end: what takes one machine some seconds, another does before the deadline.
pub fn spin() -> Ended {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Gigabytes by instructions that copy a megabyte each.
pub fn copy() -> Ended {
    const CHUNK: usize = 1 << 20;
    let mut bytes = vec![1_u8; 2 * CHUNK];
    for _ in 0..8_192 {
        bytes.copy_within(..CHUNK, CHUNK);
        black_box(&mut bytes);
    }
    Ok(())
}

/// Deeper than the stack that the guest keeps in its memory.
pub fn recurse() -> Ended {
    #[inline(never)]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 16]);
        if depth == u64::MAX {
            return 0;
        }
        deeper(depth + 1) + frame[0]
    }
    black_box(deeper(0));
    Ok(())
}

pub fn sleep() -> Ended {
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

/// By many short sleeps, each within the deadline.
pub fn doze() -> Ended {
    for _ in 0..1_500 {
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// On what never comes: in five hundred years.
pub fn block() -> Ended {
    subscribe_duration(u64::MAX).block();
    Ok(())
}

pub fn poll_many() -> Ended {
    let never: Vec<_> = (0..2_000).map(|_| subscribe_duration(u64::MAX)).collect();
    poll(&never.iter().collect::<Vec<_>>());
    Ok(())
}
