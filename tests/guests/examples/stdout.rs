//! Prints to both streams and logs at each level, a line each.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn stdout(_event: Message) -> Result<(), Failure> {
    println!("to standard output");
    eprintln!("to standard error");
    print!("without an end of line");
    kinglet_sdk::trace!("at trace");
    kinglet_sdk::debug!("at debug");
    kinglet_sdk::info!("at info");
    kinglet_sdk::warn!("at warn");
    kinglet_sdk::error!("at error");
    kinglet_sdk::critical!("at critical");
    Ok(())
}
