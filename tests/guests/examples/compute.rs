//! Computes for as many rounds as its setting `rounds` says, and does nothing else.

use kinglet_sdk::{Config, Failure, Message};

#[kinglet_sdk::message]
fn compute(_: Message) -> Result<(), Failure> {
    let rounds: u64 = Config::get_or("rounds", 0)?;
    let mut state = 1_u64;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state = std::hint::black_box(state ^ (state << 17));
    }
    match state {
        0 => Err(Failure::reject("xorshift never gives zero")),
        _ => Ok(()),
    }
}
