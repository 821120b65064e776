//! Takes messages several at once: each writes an object to the bucket `out`, its body being the key,
//! and publishes it to the topic `out` where that is granted. The body `bad` fails its own message,
//! `reject` rejects it, and `panic` brings the whole batch down.

use kinglet_sdk::{Bucket, Failure, Message, Topic};

#[kinglet_sdk::message_batch]
#[expect(clippy::panic, reason = "what this guest is for")]
fn batch(event: Message) -> Result<(), Failure> {
    let body = event.text()?;
    Bucket::open("out")?.put(body, event.delivery().id(), "text/plain")?;
    if let Ok(topic) = Topic::open("out") {
        topic.publish(body)?;
    }
    match body {
        "bad" => Err("a bad message".into()),
        "reject" => Err(Failure::reject("a message of no use")),
        "panic" => panic!("a message to panic over"),
        _ => Ok(()),
    }
}
