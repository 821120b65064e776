//! Hostile: logs and prints without measure, control characters and a line of a megabyte included. Config
//! `lines` bounds it; it is 100,000.

use kinglet_sdk::{Config, Failure, Message};

#[kinglet_sdk::message]
fn log_flood(_event: Message) -> Result<(), Failure> {
    let lines: u32 = Config::get_or("lines", 100_000)?;
    kinglet_sdk::warn!("\u{1b}[31mred\u{1b}[0m \u{7}bell\r\nforged line\0nul \u{202e}reversed");
    kinglet_sdk::log(
        kinglet_sdk::Level::Error,
        "\u{1b}]0;title\u{7}",
        "a context to beware of",
    );
    println!("\u{1b}[2Jcleared\r\nforged line");
    eprintln!("{}", "long ".repeat(200_000));
    kinglet_sdk::info!("{}", "long ".repeat(200_000));
    for line in 0..lines {
        kinglet_sdk::info!("line {line} of a flood");
        println!("printed {line}");
    }
    Ok(())
}
