#[kinglet_sdk::message_batch]
struct Enrich;

fn main() {}
