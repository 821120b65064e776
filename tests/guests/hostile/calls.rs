//! Asks the host for too much, or for what isn't granted.

use std::hint::black_box;

use kinglet_sdk::{Bucket, KeyValue, Level, Topic};
use wasip2::clocks::monotonic_clock;
use wasip2::random::random::get_random_bytes;

use crate::{Ended, must_fail};

pub fn ask_the_time() -> Ended {
    for _ in 0..5_000_000 {
        black_box(monotonic_clock::now());
    }
    Ok(())
}

pub fn huge_line() -> Ended {
    kinglet_sdk::info!("{}", "x".repeat(48 << 20));
    Ok(())
}

/// What a terminal would obey, and lines that look like the host's own.
pub fn log_flood() -> Ended {
    for number in 0..100_000 {
        kinglet_sdk::log(
            Level::Error,
            "\u{1b}]0;title\u{7}",
            &format!("\u{1b}[2J\u{1b}[31m{number}\r\nforged: ready\u{202e}\0"),
        );
    }
    Ok(())
}

pub fn print_flood() -> Ended {
    for number in 0..100_000 {
        println!("\u{1b}[2J{number}\rforged: ready");
        eprint!("{}", "without an end ".repeat(100));
    }
    Ok(())
}

#[expect(clippy::panic, reason = "that is the attack")]
pub fn panic_at_length() -> Ended {
    panic!("{}", "\u{1b}[2J at length".repeat(1 << 20));
}

pub fn random_at_once() -> Ended {
    black_box(get_random_bytes(1 << 30));
    Ok(())
}

/// Gigabytes.
pub fn random_by_pieces() -> Ended {
    for _ in 0..32_768 {
        black_box(get_random_bytes(64 << 10));
    }
    Ok(())
}

pub fn open_ungranted() -> Ended {
    for name in ["secret", "", "out/..", "../secret", "Out", "out\0", "*"] {
        must_fail("a bucket", Bucket::open(name))?;
        must_fail("a topic", Topic::open(name))?;
        must_fail("a keyvalue bucket", KeyValue::open(name))?;
    }
    Ok(())
}

pub fn exit() -> Ended {
    std::process::exit(0);
}
