//! Opens resources and never drops them.

use std::mem::forget;

use kinglet_sdk::{Bucket, Topic};
use wasip2::clocks::monotonic_clock::subscribe_duration;

use crate::Ended;

const MANY: u32 = 10_000_000;

pub fn open_topics() -> Ended {
    for _ in 0..MANY {
        forget(Topic::open("out")?);
    }
    Ok(())
}

pub fn open_pollables() -> Ended {
    for _ in 0..MANY {
        forget(subscribe_duration(u64::MAX));
    }
    Ok(())
}

/// Each has a file of the host's open.
pub fn open_writers() -> Ended {
    let bucket = Bucket::open("out")?;
    let mut writers = Vec::new();
    for number in 0..200 {
        writers.push(bucket.write(format!("{number}")).create()?);
    }
    Ok(())
}

/// As many as an instance may have, and goes.
pub fn leak() -> Ended {
    for _ in 0..1_000 {
        forget(Topic::open("out")?);
        forget(subscribe_duration(u64::MAX));
    }
    let bucket = Bucket::open("out")?;
    for number in 0..60 {
        forget(bucket.write(format!("leaked-{number}")).create()?);
    }
    Ok(())
}
