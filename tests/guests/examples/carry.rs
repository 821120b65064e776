//! Hostile: goes on with one kind of host call for ever; the message says with which.

use std::io::Write;

use kinglet_sdk::{Bucket, Config, Failure, KeyValue, Message};

#[kinglet_sdk::message]
fn carry(event: Message) -> Result<(), Failure> {
    let way = event.text()?;
    let large = "x".repeat(24 << 20);
    let line = large.get(..4_000).unwrap_or_default();
    let mut held = Vec::new();
    loop {
        match way {
            // The output is looked at by nobody: an error of it mustn't end the guest either.
            "print" => drop(std::io::stdout().write_all(line.as_bytes())),
            "log" => kinglet_sdk::info!("{line}"),
            "config" => drop(Config::all()?),
            "random" => drop(wasip2::random::random::get_random_bytes(4_096)),
            "insecure" => drop(wasip2::random::insecure::get_insecure_random_bytes(4_096)),
            "read" => drop(Bucket::open("in")?.read("object")?),
            "list" => drop(Bucket::open("in")?.list("").count()),
            "key" => drop(KeyValue::open("keys")?.get(line.get(..1_000).unwrap_or_default())?),
            "write" => drop(
                Bucket::open("in")?
                    .put("object", line, "text/plain")
                    .is_ok(),
            ),
            // The same megabytes twice in one call: more than the guest can have.
            "arguments" => kinglet_sdk::log(kinglet_sdk::Level::Info, &large, &large),
            "handles" => held.push(Bucket::open("in")?),
            _ => return Err(Failure::reject("there is no such way")),
        }
    }
}
