//! Looks numbers up in a table of 20 MB that takes some time to compute: by an init, or by the first use.

use std::sync::LazyLock;

use kinglet_sdk::{Failure, Message};

const ENTRIES: u32 = 5 << 20;

/// Marsaglia's xorshift, with shifts of 13, 17 and 5: each number is made of the one before.
static TABLE: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut number = 2_463_534_242_u32;
    let next = |_| {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        number
    };
    (0..ENTRIES).map(next).collect()
});

#[kinglet_sdk::init]
fn prepare() {
    LazyLock::force(&TABLE);
    kinglet_sdk::info!("{} entries", TABLE.len());
}

/// Given a number, prints that entry, as a function whose init had printed couldn't any more. Given what it should be
/// as well, only compares.
#[kinglet_sdk::message]
fn look_up(event: Message) -> Result<(), Failure> {
    let mut words = event.text()?.split(' ');
    let at: usize = words
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(Failure::reject)?;
    let entry = TABLE
        .get(at)
        .ok_or_else(|| Failure::reject("past the end"))?;
    match words.next() {
        Some(expected) if *expected == entry.to_string() => {}
        Some(_) => return Err(Failure::reject(entry)),
        None => {
            println!("entry {at} is {entry}");
            eprintln!("of {}", TABLE.len());
        }
    }
    Ok(())
}
